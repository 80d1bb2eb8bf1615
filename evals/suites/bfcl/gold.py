"""Answers without a model: the published ones, a random call, no call."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from ...case import Case, Score
from .cases import answered, functions, language
from .literals import Language, write
from .match import KINDS
from .score import judge


def gold(case: Case) -> list[JsonValue]:
    """Return calls that the published answers ask for, with the first acceptable value of every argument.

    Where no answers are published: no call, or a call without arguments when any call will do.
    """
    if not answered(case.category):
        due = not case.category.endswith("irrelevance")
        return [{"name": functions(case)[0]["name"], "arguments": {}}] if due else []
    truth: Any = case.target
    schemas = {each["name"]: each.get("parameters") or {} for each in functions(case)}
    return [
        {"name": name, "arguments": _arguments(answers, schemas.get(name, {}), language(case.category))}
        for call in truth
        for name, answers in call.items()
    ]


def _arguments(answers: Mapping[str, Sequence[Any]], schema: Mapping[str, Any], spoken: Language) -> dict[str, Any]:
    properties = schema.get("properties") or {}
    required = schema.get("required") or ()
    chosen: dict[str, Any] = {}
    for name, wanted in answers.items():
        real = [each for each in wanted if each != ""]
        if name in required or (real and "" not in wanted):
            about = properties.get(name, {})
            value = _plain(real[0], about, KINDS[spoken].get(str(about.get("type")))) if real else ""
            item = str((about.get("items") or {}).get("type", ""))
            kind = str(about.get("type", "any"))
            chosen[name] = value if spoken == "python" else write(value, kind, item=item, language=spoken)
    return chosen


def _plain(value: Any, schema: Mapping[str, Any], kind: type | None) -> Any:
    """An acceptable value with one value for each key of its dictionaries."""
    if isinstance(value, dict):
        # Only the outermost dictionary lists alternatives; what lies deeper is meant as it stands.
        picked = {key: next((each for each in wants if each != ""), None) for key, wants in value.items()}
        return {key: each for key, each in picked.items() if each is not None or None in value[key]}
    if isinstance(value, list) and (schema.get("items") or {}).get("type") == "dict":
        return [_plain(each, {}, dict) for each in value]
    return float(value) if kind is float and type(value) is int else value


def random_call(case: Case) -> list[JsonValue]:
    """Return one call of a function chosen by the hash of the case, without arguments."""
    names = [each["name"] for each in functions(case)]
    return [{"name": random.Random(case.digest).choice(names), "arguments": {}}] if names else []


def oracle(cases: Sequence[Case]) -> Mapping[str, Score]:
    """Score the published answers themselves: what is below 1 cannot be right by the published rules."""
    return {case.id: judge(case, gold(case)) for case in cases}


def always(cases: Sequence[Case]) -> Mapping[str, Score]:
    """Score one random call without arguments a case: right where any call will do."""
    return {case.id: judge(case, random_call(case)) for case in cases}


def never(cases: Sequence[Case]) -> Mapping[str, Score]:
    """Score no call at all: right where none is due."""
    return {case.id: judge(case, []) for case in cases}
