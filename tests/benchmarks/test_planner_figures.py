from datetime import UTC, datetime

import pytest

from shuntyard.benchmarks.planners import compared, describe, planners_of
from shuntyard.errors import UnknownName, UsageError
from shuntyard.evals.case import Case, Output, Score
from shuntyard.evals.log import RunRow
from shuntyard.messages import Usage


def row(id: str, *, right: bool, calls: int, tokens: int, seconds: float) -> RunRow:
    case = Case(id=id, input="a task")
    return RunRow(
        id=id,
        category="chain",
        digest=case.digest,
        split=case.split,
        epoch=0,
        input=case.input,
        target=None,
        output=Output(
            value={"model_calls": calls},
            usage=Usage(prompt=tokens, cached=tokens // 2, completion=0),
            seconds=seconds,
        ),
        score=Score(value=float(right)),
        at=datetime.now(UTC),
    )


def test_what_a_solved_task_took_counts_the_failures_too() -> None:
    dag = {id: row(id, right=id != "c", calls=2, tokens=1000, seconds=10) for id in "abc"}
    react = {id: row(id, right=id == "a", calls=5, tokens=4000, seconds=20 if id == "a" else 40) for id in "abcd"}
    found = compared({"dag": dag, "react": react})
    against = found["against"]["react"]
    assert (found["cases"], against["both_right"]) == (3, 1)
    assert found["planners"]["dag"] == {
        "right": 2,
        "calls_per_solved": 3.0,
        "tokens_per_solved": 1500,
        "fresh_tokens_per_solved": 750,
        "seconds_per_solved": 15.0,
    }
    assert found["planners"]["react"]["calls_per_solved"] == 15.0
    assert against["right"]["better"] == 1 and against["seconds"]["value"] == 0.5
    text = describe({"model": "m", "suite": "examples", **found})
    assert "dag / react where both are right (1): 0.50" in text and "1,500" in text


def test_nothing_solved_is_no_ratio() -> None:
    wrong = {"a": row("a", right=False, calls=2, tokens=10, seconds=1)}
    found = compared({"dag": wrong, "react": wrong})
    assert found["against"]["react"]["seconds"] is None
    assert "dag / react where" not in describe({"model": "m", "suite": "examples", **found})


def test_planners_are_compared_where_the_suite_has_them() -> None:
    assert planners_of("program, dag,program", "examples") == ["program", "dag"]
    with pytest.raises(UnknownName, match="outline"):
        planners_of("dag,outline", "parallelqa")
    with pytest.raises(UnknownName, match="suite 'gsm'"):
        planners_of("dag,react", "gsm")
    with pytest.raises(UsageError, match="two or more"):
        planners_of("dag", "parallelqa")


def test_three_ways_stand_side_by_side() -> None:
    one, two = ({id: row(id, right=right, calls=1, tokens=9, seconds=2) for id in "ab"} for right in (True, False))
    found = compared({"dag": one, "fill": one, "program": two})
    assert list(found["against"]) == ["fill", "program"] and found["against"]["program"]["right"]["better"] == 2
    assert "dag - program" in describe({"model": "m", "suite": "examples", **found})
