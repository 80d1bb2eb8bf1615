"""The example tasks: read from TOML, and judged by what a run answered, wrote or refused."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from ...errors import DataInvalid
from ...messages import Frozen
from ...steps import RunResult
from ..runs import lines

Kind = Literal["chain", "fanout", "join", "condition", "failing", "written", "impossible"]

_NUMBER = re.compile(r"(?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?")
_DENIAL = re.compile(r"\b(?:not?|missing|cannot|unable|without|lacks?|absent|unavailable|\w+n't)\b")


class Check(Frozen):
    """What must hold of the answer, or of the file that the task asks for."""

    file: str = ""
    """Path in the workspace; empty means the answer."""
    number: float | None = None
    numbers: tuple[float, ...] = ()
    within: Annotated[float, Field(ge=0)] = 0.0
    all: tuple[str, ...] = ()
    any: tuple[str, ...] = ()
    none: tuple[str, ...] = ()
    refused: bool = False
    missing: str = ""
    """A name that the run says is not there, in its answer, refusal or failure."""


class Task(Frozen):
    """One task in several wordings."""

    id: str
    kind: Kind
    depth: int
    """Calls in a row that each need the one before."""
    calls: int
    wordings: tuple[str, ...]
    check: tuple[Check, ...]


class Told(Frozen):
    """All of a run that a check may look at."""

    status: str
    answer: str = ""
    refusal: str = ""
    """Why nothing was planned."""
    failures: tuple[str, ...] = ()
    """What the run and its calls say of what failed, the run's own first."""
    files: dict[str, str] = {}
    """Texts of the files that the task asks for, where they were written."""
    plan: tuple[str, ...] = ()
    """One line for each call."""
    model_calls: int = 0


def read_tasks(text: str, *, place: str) -> tuple[Task, ...]:
    """Return the tasks in a TOML text; DataInvalid, naming ``place``, when it is not a list of tasks."""
    try:
        found = tomllib.loads(text)
        return tuple(Task.model_validate(item) for item in found.get("task", []))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise DataInvalid(f"{place!r} is not a list of tasks: {error}; mend that entry.") from None


def wanted_files(checks: Iterable[Check]) -> list[str]:
    """Paths of the files that the checks look into."""
    return sorted({check.file for check in checks if check.file})


def tell(result: RunResult, workspace: Path, files: Sequence[str]) -> Told:
    """Return what checks may look at, with the texts of those ``files`` that are in the workspace."""
    steps = [step.failure for step in result.results.values()]
    written = {name: workspace / name for name in files if (workspace / name).is_file()}
    return Told(
        status=result.status,
        answer=result.answer,
        refusal=result.plan.refusal if result.plan is not None else "",
        failures=tuple(failure.message for failure in (result.failure, *steps) if failure is not None),
        files={name: path.read_text(encoding="utf-8", errors="replace") for name, path in written.items()},
        plan=tuple(lines(result.plan)),
    )


def problems(checks: Sequence[Check], told: Told) -> list[str]:
    """Return why a run does not count as right; empty when it does."""
    found = [text for check in checks for text in _judge(check, told)]
    tolerant = any(check.refused or check.missing for check in checks)
    if told.status == "refused" and not tolerant:
        found.insert(0, "refused although it can be done")
    return found


def _judge(check: Check, told: Told) -> list[str]:
    said = "\n".join((told.answer, told.refusal, *told.failures))
    if check.refused:
        return [] if told.status == "refused" and said.strip() else ["not refused with a reason"]
    if check.missing:
        flat = _flat(said)
        fine = check.missing.casefold() in flat and _DENIAL.search(flat)
        return [] if fine else [f"does not say that {check.missing} is missing"]
    if not check.file:
        return _compare(check, told.answer, "answer")
    if check.file not in told.files:
        return [f"{check.file} was not written"]
    return _compare(check, told.files[check.file], check.file)


def _compare(check: Check, text: str, where: str) -> list[str]:
    flat = _flat(text)
    values = numbers(text)
    wanted = (*check.numbers, *(() if check.number is None else (check.number,)))
    found = [
        f"{where} lacks the number {number:g}"
        for number in wanted
        if not any(abs(value - number) <= check.within + 1e-9 for value in values)
    ]
    found += [f"{where} lacks {part!r}" for part in check.all if _flat(part) not in flat]
    found += [f"{where} contains {part!r}" for part in check.none if _flat(part) in flat]
    if check.any and not any(_flat(part) in flat for part in check.any):
        found.append(f"{where} has none of {list(check.any)!r}")
    return found


def numbers(text: str) -> list[float]:
    """Every number in ``text``; commas between thousands are read over."""
    return [float(match.group().replace(",", "")) for match in _NUMBER.finditer(text)]


def _flat(text: str) -> str:
    return " ".join(text.casefold().split())
