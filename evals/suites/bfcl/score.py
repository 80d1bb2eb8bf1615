"""The verdict on a case: are the calls the published ones, in any order, one to one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import JsonValue

from ...case import Case, Output, Score
from .cases import answered, functions, language
from .literals import Language
from .match import unlike


class Call(NamedTuple):
    """One call that was made."""

    name: str
    arguments: Mapping[str, Any]

    def __str__(self) -> str:
        """``name(a=1, b="x")``."""
        given = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in self.arguments.items())
        return f"{self.name}({given})"


async def scorer(case: Case, output: Output) -> Score:
    """Judge ``output.value``, a list of ``{"name": ..., "arguments": {...}}``."""
    return judge(case, output.value)


def judge(case: Case, value: JsonValue) -> Score:
    """Return 1 when the calls in ``value`` are those of the case, else 0 with the reason.

    ``parts``: ``names`` is 1 when exactly the right functions are called, as often as wanted; ``arguments`` is the
    share of calls that are wholly right, of those wanted or those made, whichever are more.
    """
    try:
        made = calls(value)
    except ValueError as error:
        return Score(value=0, answer=str(value), explanation=str(error))
    answer = "; ".join(map(str, made)) or "no call"
    if not answered(case.category):
        wanted = not case.category.endswith("irrelevance")
        why = "" if bool(made) == wanted else "a call is due, none was made" if wanted else "no call is due"
        return Score(value=float(not why), answer=answer, explanation=why)
    return _against(case, made, answer)


def calls(value: JsonValue) -> list[Call]:
    """Read the calls of an output. Raises ValueError, naming the entry that is none."""
    found = []
    for entry in value if isinstance(value, list) else [value]:
        arguments = entry.get("arguments") if isinstance(entry, dict) else None
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not isinstance(arguments, dict):
            raise ValueError(f"{entry!r} is not a call: it has no name with an object of arguments")
        found.append(Call(name, arguments))
    return found


def _against(case: Case, made: Sequence[Call], answer: str) -> Score:
    truth: Any = case.target
    schemas = {each["name"]: each.get("parameters") or {} for each in functions(case)}
    wanted = [next(iter(each.items())) for each in truth]
    spoken = language(case.category)
    faults = [
        [wrong(call, name, answers, schemas.get(name, {}), spoken=spoken) for call in made] for name, answers in wanted
    ]
    found = pairs([[not fault for fault in row] for row in faults])
    names = Counter(call.name for call in made) == Counter(name for name, _ in wanted)
    parts = {"names": float(names), "arguments": len(found) / max(len(wanted), len(made), 1)}
    if len(found) == len(wanted) == len(made):
        return Score(value=1, answer=answer, parts=parts)
    explanation = _explained(made, [name for name, _ in wanted], faults, found)
    return Score(value=0, answer=answer, explanation=explanation, parts=parts)


def wrong(
    call: Call, name: str, answers: Mapping[str, Sequence[Any]], schema: Mapping[str, Any], *, spoken: Language
) -> str:
    """Return why ``call`` is not the wanted one; empty when it is."""
    if call.name != name:
        return f"{call.name} is called instead of {name}"
    properties: Mapping[str, Any] = schema.get("properties") or {}
    for required in schema.get("required") or ():
        if required not in call.arguments:
            return f"the required argument {required!r} is missing"
    for argument, value in call.arguments.items():
        if argument not in properties or argument not in answers:
            return f"the argument {argument!r} is not wanted"
        if why := unlike(value, answers[argument], properties[argument], language=spoken):
            return f"{argument} = {why}"
    for argument, wanted in answers.items():
        if argument not in call.arguments and "" not in wanted:
            return f"the argument {argument!r} is missing, one of {list(wanted)!r} is wanted"
    return ""


def pairs(fits: Sequence[Sequence[bool]]) -> dict[int, int]:
    """Return the largest pairing of rows with columns that fit, each used once (augmenting paths, Kuhn 1955).

    Taking the first call that fits would reject right answers: it may be the only one that fits another row.
    """
    owner: dict[int, int] = {}

    def place(row: int, seen: set[int]) -> bool:
        for column, fit in enumerate(fits[row]):
            if fit and column not in seen:
                seen.add(column)
                if column not in owner or place(owner[column], seen):
                    owner[column] = row
                    return True
        return False

    for row in range(len(fits)):
        place(row, set())
    return {row: column for column, row in owner.items()}


def _explained(
    made: Sequence[Call], wanted: Sequence[str], faults: Sequence[Sequence[str]], found: Mapping[int, int]
) -> str:
    spare = [column for column in range(len(made)) if column not in found.values()]
    said = [] if len(made) == len(wanted) else [f"{len(wanted)} calls are wanted, {len(made)} were made"]
    for row, name in enumerate(wanted):
        if row in found:
            continue
        near = next((column for column in spare if made[column].name == name), None)
        if near is None:
            other = [made[column].name for column in spare]
            said.append(f"{name} is not called" + (f" but {', '.join(other)}" if other else ""))
        else:
            spare.remove(near)
            said.append(f"{name}: {faults[row][near]}")
    if spare and len(made) > len(wanted):
        said.append(f"too much: {'; '.join(str(made[column]) for column in spare)}")
    return "; ".join(said)
