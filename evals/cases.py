"""Cases of a suite: read from TOML, and judged by what a run answered, wrote or refused."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from ..errors import PathRefused, SettingsInvalid
from ..messages import Frozen
from ..steps import RunResult

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


class Case(Frozen):
    """One task in several wordings."""

    id: str
    kind: Kind
    depth: int
    """Calls in a row that each need the one before."""
    calls: int
    wordings: tuple[str, ...]
    check: tuple[Check, ...]

    @property
    def impossible(self) -> bool:
        """True when no tool can do it."""
        return self.kind == "impossible"


def read_cases(path: Path) -> tuple[Case, ...]:
    """Return the tasks of a TOML file; PathRefused or SettingsInvalid when it cannot be read."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
        return tuple(Case.model_validate(item) for item in found.get("task", []))
    except OSError as error:
        raise PathRefused(f"{str(path)!r} cannot be read ({error.strerror}); run this from a checkout.") from None
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise SettingsInvalid(f"{str(path)!r} is not a list of tasks: {error}; mend that entry.") from None


def problems(task: Case, result: RunResult, workspace: Path) -> list[str]:
    """Return why the run does not count as right; empty when it does."""
    found = [text for check in task.check for text in _judge(check, result, workspace)]
    tolerant = any(check.missing for check in task.check)
    if result.status == "refused" and not task.impossible and not tolerant:
        found.insert(0, "refused although it can be done")
    return found


def _judge(check: Check, result: RunResult, workspace: Path) -> list[str]:
    if check.refused:
        return [] if result.status == "refused" and _said(result).strip() else ["not refused with a reason"]
    if check.missing:
        said = _flat(_said(result))
        fine = check.missing.casefold() in said and _DENIAL.search(said)
        return [] if fine else [f"does not say that {check.missing} is missing"]
    if not check.file:
        return _compare(check, result.answer, "answer")
    path = workspace / check.file
    if not path.is_file():
        return [f"{check.file} was not written"]
    return _compare(check, path.read_text(encoding="utf-8", errors="replace"), check.file)


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


def _said(result: RunResult) -> str:
    parts = [result.answer, result.plan.refusal if result.plan is not None else ""]
    failures = [step.failure for step in result.results.values()]
    parts += [failure.message for failure in (result.failure, *failures) if failure is not None]
    return "\n".join(parts)
