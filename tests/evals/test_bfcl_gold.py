"""Every published answer is fed to the scorer, as it is and spoilt in every way that must be told from right."""

import copy
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from shuntyard.evals.case import Case
from shuntyard.evals.data import Data
from shuntyard.evals.suites.bfcl.cases import CATEGORIES, SOURCE, answered, cases
from shuntyard.evals.suites.bfcl.gold import always, gold, never, oracle
from shuntyard.evals.suites.bfcl.score import judge

pytestmark = pytest.mark.skipif("SHUNTYARD_DATA" not in os.environ, reason="SHUNTYARD_DATA is not set")

SIZES = [400, 100, 50, 200, 200, 200, 240, 258, 1053, 16, 24, 884, 16]
UNANSWERABLE = {
    "live_simple_106-63-0": "auto_loan_payment_start",  # required, but no value is acceptable
    "live_simple_112-68-0": "acc_routing_start",  # required, but no value is acceptable
    "live_multiple_862-181-3": "journey_start_time",  # wanted, but the function does not take it
    "live_multiple_964-207-0": "statement",  # required, but the answer does not have it
}
Calls = list[dict[str, Any]]


@pytest.fixture(scope="module")
def all_cases() -> list[Case]:
    return list(cases(Data([SOURCE])))


def with_answers(all_cases: list[Case]) -> Iterator[tuple[Case, Calls]]:
    for case in all_cases:
        if answered(case.category) and case.id not in UNANSWERABLE:
            yield case, gold(case)


def spoilt(case: Case, calls: Calls) -> Iterator[tuple[str, Calls]]:
    """Wrong answers, each with what is wrong in it."""
    truth: Any = case.target
    functions = {each["name"]: each["parameters"] for each in case.input["functions"]}
    if len(calls) > 1:
        yield "dropped call", calls[:-1]
    yield "no call", []
    yield "added call", [*calls, calls[0]]
    for place, call in enumerate(calls):
        wanted = truth[place][call["name"]]

        def put(place: int = place, **changed: Any) -> Calls:
            return [{**each, **changed} if at == place else each for at, each in enumerate(calls)]

        yield "wrong name", put(name=call["name"] + "_x")
        for other in functions:
            if all(other not in each for each in truth):
                yield "wrong name", put(name=other)
        yield "extra argument", put(arguments={**call["arguments"], "qx7": "1"})
        for name, value in call["arguments"].items():
            rest = {key: each for key, each in call["arguments"].items() if key != name}
            if name in functions[call["name"]].get("required", []) or "" not in wanted[name]:
                yield "missing argument", put(arguments=rest)
            for wrong in wrong_values(value, wanted[name]):
                yield "wrong value", put(arguments={**rest, name: wrong})
            for wrong in wrong_types(value, wanted[name]):
                yield "wrong type", put(arguments={**rest, name: wrong})


def wrong_values(value: Any, wanted: list[Any]) -> Iterator[Any]:
    made: dict[type, Any] = {
        str: lambda: f"{value} qx7",
        bool: lambda: not value,
        int: lambda: value + 1009,
        float: lambda: value + 1009.5,
        list: lambda: [*value, value[0] if value else "qx7"],
        dict: lambda: {**value, "qx7": 1},
        type(None): lambda: "qx7",
    }
    wrong = made[type(value)]()
    if wrong not in wanted:
        yield wrong
    if isinstance(value, list) and len(value) > 1 and value[::-1] not in [value, *wanted]:
        yield value[::-1]
    if isinstance(value, dict):
        for key, alternatives in wanted[0].items() if isinstance(wanted[0], dict) else ():
            if key in value and isinstance(alternatives, list) and "" not in alternatives:
                yield {name: each for name, each in value.items() if name != key}
                yield {**value, key: "qx7"}


def wrong_types(value: Any, wanted: list[Any]) -> Iterator[Any]:
    others = ["qx7", 4711, 47.11, ["qx7"], {"qx7": 1}, None]
    if isinstance(value, int) and not isinstance(value, bool):
        others += [float(value), str(value), bool(value)]
    if isinstance(value, float):
        others += [str(value), True]
    if isinstance(value, bool):
        others += [int(value), str(value)]
    for other in others:
        same_type = type(other) is type(value)
        int_for_float = type(value) is float and type(other) is int
        if (
            not same_type
            and not int_for_float
            and not any(type(each) is type(other) and each == other for each in wanted)
        ):
            yield other


def test_all_cases_are_there(all_cases: list[Case]) -> None:
    counted = Counter(case.category for case in all_cases)
    assert [counted[category] for category in CATEGORIES] == SIZES
    assert len({case.id for case in all_cases}) == len(all_cases)


def test_published_answers_are_accepted_except_four_that_nothing_can_meet(all_cases: list[Case]) -> None:
    scores = oracle(all_cases)
    rejected = {id: score.explanation for id, score in scores.items() if score.value < 1}
    assert rejected.keys() == UNANSWERABLE.keys()
    assert all(UNANSWERABLE[id] in why for id, why in rejected.items())
    assert 1 - len(rejected) / sum(answered(case.category) for case in all_cases) >= 0.995


@pytest.mark.parametrize("kind", ["wrong name", "missing argument", "wrong type", "wrong value", "extra argument"])
def test_every_spoilt_argument_is_rejected_with_a_reason(all_cases: list[Case], kind: str) -> None:
    count, accepted = 0, []
    for case, calls in with_answers(all_cases):
        for spoiled, wrong in spoilt(case, calls):
            if spoiled != kind:
                continue
            count += 1
            score = judge(case, wrong)
            if score.value or not score.explanation:
                accepted.append((case.id, wrong))
            assert score.parts["arguments"] < 1
            assert (score.parts["names"] < 1) == (kind == "wrong name")
    assert accepted == []
    assert count > 2500


@pytest.mark.parametrize("kind", ["dropped call", "no call", "added call"])
def test_another_number_of_calls_is_rejected(all_cases: list[Case], kind: str) -> None:
    found = [
        judge(case, wrong)
        for case, calls in with_answers(all_cases)
        for spoiled, wrong in spoilt(case, calls)
        if spoiled == kind
    ]
    assert len(found) > 400
    assert all(score.value == 0 and score.parts["names"] == 0 and score.explanation for score in found)


def test_calls_may_come_in_any_order(all_cases: list[Case]) -> None:
    several = [(case, calls) for case, calls in with_answers(all_cases) if len(calls) > 1]
    assert len(several) > 430
    assert [case.id for case, calls in several if judge(case, calls[::-1]).value != 1] == []
    assert [case.id for case, calls in several if judge(case, [*calls[1:], calls[0]]).value != 1] == []


def test_letters_spaces_and_points_do_not_matter_in_texts(all_cases: list[Case]) -> None:
    checked = 0
    for case, calls in with_answers(all_cases):
        shouted = copy.deepcopy(calls)
        functions = {each["name"]: each["parameters"]["properties"] for each in case.input["functions"]}
        for call in shouted:
            for name, value in call["arguments"].items():
                text = isinstance(value, str) and functions[call["name"]][name]["type"] == "string"
                if text and value.upper().lower() == value.lower():
                    call["arguments"][name] = f" {value.upper()}."
                    checked += 1
        assert judge(case, shouted).value == 1, (case.id, judge(case, shouted).explanation)
    assert checked > 2000


def test_baselines_are_right_where_they_must_be(all_cases: list[Case]) -> None:
    silent, calling = never(all_cases), always(all_cases)
    for case in all_cases:
        assert silent[case.id].value == case.category.endswith("irrelevance"), case.id
        if case.category == "live_relevance":
            assert calling[case.id].value == 1
    unlucky = [case for case in all_cases if case.category in {"irrelevance", "parallel"}]
    assert all(calling[case.id].value == 0 for case in unlucky)
    assert always(all_cases) == calling
