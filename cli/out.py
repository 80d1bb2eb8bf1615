"""Where output goes: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any


def result(text: str) -> None:
    """Print a result on stdout."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def result_json(value: Any) -> None:
    """Print one JSON value on stdout."""
    result(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def note(text: str) -> None:
    """Print a line for the person on stderr; a closed stderr is no error."""
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        return


def abandon_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush of a closed pipe stays quiet."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    except (OSError, ValueError):
        return


def table(rows: Sequence[tuple[str, ...]], *, header: tuple[str, ...]) -> str:
    """Align ``rows`` under ``header``; the last column is cut to the terminal's width."""
    import shutil

    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    room = shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else 10_000
    lines = []
    for row in [header, *rows]:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        lines.append(line if len(line) <= room else line[: room - 1] + "…")
    return "\n".join(lines)


def size(count: float) -> str:
    """Bytes for people: ``1.1 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def money(cost: Any) -> str:
    """Dollars for people, small amounts with four digits; None is a price that nobody knows."""
    if cost is None:
        return "price unknown"
    value = float(cost)
    return "$0" if value == 0 else f"${value:.2f}" if value >= 1 else f"${value:.4f}"
