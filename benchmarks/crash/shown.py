"""The rows as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_COLUMNS = {
    "runs": "runs",
    "finished": "finished nodes",
    "rerun": "run again",
    "wrong": "wrong",
    "twice": "effects twice",
    "unknown": "not on record",
    "doubt_done": "doubt: done",
    "doubt_not_done": "doubt: not done",
    "replayed": "nodes replayed",
}


def describe(result: Mapping[str, Any]) -> str:
    """Return the rows as a table; sums over the runs of a row."""
    lines = [f"{'executor':12}{'point':>6}" + "".join(f"{text:>17}" for text in _COLUMNS.values())]
    for row in result["rows"]:
        lines.append(f"{row['executor']:12}{row['point']:>6}" + "".join(f"{row[key]:>17,}" for key in _COLUMNS))
    longest = max((row["outlived"] for row in result["rows"]), default=0.0)
    lines.append(
        f"plans of {result['nodes']} nodes, killed after that many were finished; "
        f"workers outlived the driver by at most {longest:.1f} s"
    )
    return "\n".join(lines)
