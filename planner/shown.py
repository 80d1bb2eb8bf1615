"""Results as a model is shown them: shortened, and quoted line by line so that data cannot pose as anything else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..steps import StepResult

_WORDS = {"skipped": "not run", "denied": "not allowed", "waiting": "waits for a person", "cancelled": "stopped"}


def shown(result: StepResult | None, *, limit: int = 2000) -> str:
    """Return a result or its failure, every line behind ``| `` or ``! ``, in about ``limit`` characters.

    A result may hold any text, also one that looks like instructions or like this frame: no line of it
    can leave the quotation, because every line break in it begins a quoted line again.
    """
    if result is None:
        return "! not run"
    if not result.ok:
        why = result.failure.message if result.failure is not None else ""
        state = _WORDS.get(result.status, "failed")
        return _quoted(f"{state}: {why}" if why else state, "! ", 400)
    value = _quoted(plain(result.value, limit=limit), "| ", limit)
    if result.verdict is not None and result.verdict.edit is not None:
        value = f"{_quoted(f'a person had it called with {result.verdict.edit.now}', '! ', 400)}\n{value}"
    if result.failure is not None:
        return f"{value}\n{_quoted(result.failure.message, '! ', 400)}"
    return value


def plain(value: Any, *, limit: int = 2000) -> str:
    """Return JSON data as compact text: a row a line, head and tail when it is long, numbers as they are."""
    if isinstance(value, str):
        return _clipped(value, limit) if value.strip() else "(empty text)"
    if isinstance(value, list):
        return _listed(value, limit)
    if isinstance(value, Mapping) and len(value) == 1:
        value = dict(value)
    return _clipped(_json(value), limit)


def _listed(rows: list[Any], limit: int) -> str:
    if not rows:
        return "(nothing found: 0 rows)"
    lines = [_clipped(_json(row), max(120, limit // 4)) for row in rows]
    if sum(len(line) + 3 for line in lines) <= limit:
        return "\n".join(lines) + (f"\n({len(rows)} in all)" if len(rows) > 3 else "")
    head: list[str] = []
    room = limit - len(lines[-1])
    for line in lines[:-1]:
        room -= len(line) + 3
        if room < 0:
            break
        head.append(line)
    left = len(rows) - len(head) - 1
    return "\n".join([*head, f"... {left} more ...", lines[-1], f"({len(rows)} in all)"])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _clipped(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    tail = limit // 4
    return f"{text[: limit - tail]} ... {len(text) - limit} characters left out ... {text[-tail:]}"


def _quoted(text: str, mark: str, limit: int) -> str:
    lines = text.splitlines() or [""]
    return "\n".join(mark + "".join(char if char.isprintable() else " " for char in line) for line in lines)
