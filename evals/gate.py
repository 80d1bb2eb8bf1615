"""Recorded figures that later runs must not fall below, in a TOML file that a person can read and edit.

    [[gate]]
    suite = "bfcl"
    solver = "planner"
    model = "qwen2.5-coder-1.5b"
    category = "parallel"
    figure = 0.85
    tolerance = 0.05
    cases = 40

Without ``category`` the figure over all cases is meant; ``at_least`` is a floor that recording does not move.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterable
from math import floor
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from ..errors import StoreUnwritable, UsageError
from ..messages import Frozen
from .figures import ALL, Figure, figures
from .log import RunLog, headers, read

_HEAD = "# Figures that `shuntyard eval gate` holds later runs to; `--record` writes those of the newest runs.\n"
Share = Annotated[float, Field(ge=0, le=1)]


class Gate(Frozen):
    """One recorded figure. Empty ``solver`` and ``model`` take any."""

    suite: str
    solver: str = ""
    model: str = ""
    category: str = ALL
    figure: Share | None = None
    tolerance: Share = 0.0
    """How far below ``figure`` is still well."""
    at_least: Share | None = None
    """Counts instead of ``figure`` and ``tolerance``."""
    cases: Annotated[int, Field(ge=0)] = 0
    """A run with fewer cases of the category proves nothing and fails."""
    run: str = ""
    """Where the figure was recorded."""

    @model_validator(mode="after")
    def _has_a_floor(self) -> Gate:
        if self.figure is None and self.at_least is None:
            raise ValueError("give figure or at_least")
        return self

    @property
    def floor(self) -> float:
        """The least that passes."""
        return self.at_least if self.at_least is not None else max((self.figure or 0.0) - self.tolerance, 0.0)


class Passed(Frozen):
    """A gate, and how the newest finished run that it is about does."""

    gate: Gate
    run: str = ""
    value: float | None = None
    cases: int = 0
    ok: bool
    why: str = ""
    """Empty when it is well."""


def read_gates(path: Path) -> list[Gate]:
    """Return the gates of a file. Raises UsageError naming the entry, the value and the mend."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
        entries = found.get("gate", [])
        if not isinstance(entries, list) or not entries or set(found) != {"gate"}:
            raise UsageError(f"{str(path)!r} has no [[gate]] entries, or others than those; `--record` writes some.")
        return [_entry(path, number, entry) for number, entry in enumerate(entries, 1)]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{str(path)!r} cannot be read ({error}); `--record` makes it of the newest runs.") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{str(path)!r} is not valid TOML: {error}; mend that line.") from None


def check(gates: Iterable[Gate], place: Path) -> list[Passed]:
    """Hold the newest finished run of each gate's suite, solver and model against it. A missing run fails."""
    known = _Runs(place)
    return [_check(gate, known) for gate in gates]


def record(path: Path, place: Path) -> list[Gate]:
    """Write the figures of the newest finished runs into ``path`` and return what it holds now.

    The file's entries keep their tolerance and ``at_least``; without a file every suite, solver and model that
    was run gets entries. Comments are not kept. Raises UsageError, StoreUnwritable.
    """
    known = _Runs(place)
    gates = [_recorded(gate, known) for gate in read_gates(path)] if path.is_file() else _every(known)
    if not gates:
        raise UsageError(f"there is no finished run in {str(place)!r} to record; `shuntyard eval run SUITE` makes one.")
    fresh = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        fresh.write_text(_HEAD + "".join(map(_toml, gates)), encoding="utf-8")
        os.replace(fresh, path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise StoreUnwritable(f"{str(path)!r} cannot be written: {error.strerror}; name another file.") from None
    return gates


class _Runs:
    """The newest finished runs, each read once."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self.headers = headers(place)
        self._logs: dict[str, RunLog] = {}
        self._figures: dict[str, dict[str, Figure]] = {}

    def newest(self, suite: str, solver: str, model: str) -> RunLog | None:
        for header in self.headers:
            made = header.configuration
            if header.suite == suite and solver in ("", made.solver) and model in ("", made.model):
                log = self._read(header.run)
                if log.finished:
                    return log
        return None

    def figures(self, log: RunLog) -> dict[str, Figure]:
        if log.header.run not in self._figures:
            self._figures[log.header.run] = {figure.category: figure for figure in figures(log.rows)}
        return self._figures[log.header.run]

    def _read(self, run: str) -> RunLog:
        if run not in self._logs:
            self._logs[run] = read(self._place / f"{run}.jsonl")
        return self._logs[run]


def _check(gate: Gate, known: _Runs) -> Passed:
    log = known.newest(gate.suite, gate.solver, gate.model)
    if log is None:
        return Passed(gate=gate, ok=False, why="no finished run")
    figure = known.figures(log).get(gate.category)
    if figure is None:
        return Passed(gate=gate, run=log.header.run, ok=False, why="no case of this category was run")
    why = ""
    if figure.cases < gate.cases:
        why = f"{figure.cases} of {gate.cases} cases"
    elif figure.mean.value < gate.floor - 1e-9:
        why = f"below {gate.floor:.4g}"
    return Passed(gate=gate, run=log.header.run, value=figure.mean.value, cases=figure.cases, ok=not why, why=why)


def _recorded(gate: Gate, known: _Runs) -> Gate:
    log = known.newest(gate.suite, gate.solver, gate.model)
    figure = known.figures(log).get(gate.category) if log is not None else None
    if log is None or figure is None:
        return gate
    return gate.model_copy(update={"figure": _down(figure.mean.value), "cases": figure.cases, "run": log.header.run})


def _down(value: float) -> float:
    """Four digits, never rounded up: the run that is recorded must pass."""
    return floor(round(value * 10_000, 6)) / 10_000


def _every(known: _Runs) -> list[Gate]:
    gates = []
    sets = {(h.suite, h.configuration.solver, h.configuration.model): None for h in known.headers}
    for suite, solver, model in sorted(sets):
        log = known.newest(suite, solver, model)
        for category in known.figures(log) if log is not None else ():
            gates.append(_recorded(Gate(suite=suite, solver=solver, model=model, category=category, figure=0), known))
    return gates


def _entry(path: Path, number: int, entry: Any) -> Gate:
    try:
        return Gate.model_validate(entry)
    except ValidationError as error:
        item: Any = error.errors()[0]
        where = ".".join(str(part) for part in item["loc"]) or "entry"
        raise UsageError(
            f"{str(path)!r}, gate {number}: {where} = {item['input']!r}: {item['msg']}; correct it."
        ) from None


def _toml(gate: Gate) -> str:
    values = gate.model_dump(exclude_defaults=True)
    # Quoted as in JSON: every such string is one of TOML's too.
    lines = (f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items())
    return "\n".join(("", "[[gate]]", *lines, ""))
