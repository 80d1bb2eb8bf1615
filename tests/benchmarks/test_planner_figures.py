from datetime import UTC, datetime

from shuntyard.benchmarks.planners import compared, describe
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
    found = compared(dag, react)
    assert (found["cases"], found["both_right"]) == (3, 1)
    assert found["dag"] == {
        "right": 2,
        "calls_per_solved": 3.0,
        "tokens_per_solved": 1500,
        "fresh_tokens_per_solved": 750,
        "seconds_per_solved": 15.0,
    }
    assert found["react"]["calls_per_solved"] == 15.0
    assert found["right_dag_minus_react"]["better"] == 1 and found["seconds_dag_to_react"]["value"] == 0.5
    text = describe({"model": "m", **found})
    assert "dag / react where both are right (1): 0.50" in text and "1,500" in text


def test_nothing_solved_is_no_ratio() -> None:
    wrong = {"a": row("a", right=False, calls=2, tokens=10, seconds=1)}
    found = compared(wrong, wrong)
    assert found["seconds_dag_to_react"] is None and "dag / react where" not in describe({"model": "m", **found})
