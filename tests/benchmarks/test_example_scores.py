from pathlib import Path
from typing import Any

import pytest

from shuntyard.benchmarks.examples import chosen, describe, score
from shuntyard.errors import DataInvalid, DataMissing
from shuntyard.evals.data import Data
from shuntyard.evals.suites.example_checks import Check, numbers, read_tasks, tell, wanted_files
from shuntyard.evals.suites.example_checks import problems as problems_told
from shuntyard.evals.suites.examples import SUITE, always_refuse
from shuntyard.steps import Failure, Plan, RunResult, StepResult

Checks = tuple[Check, ...]


def task(*check: Check) -> Checks:
    return check


def problems(checks: Checks, result: RunResult, workspace: Path) -> list[str]:
    return problems_told(checks, tell(result, workspace, wanted_files(checks)))


def said(answer: str, **more: Any) -> RunResult:
    return RunResult.model_validate({"run": "r", "task": "w", "status": "done", "answer": answer} | more)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It is 1,234.5 in all.", [1234.5]),
        ("-3 and 4.0, then 12", [-3.0, 4.0, 12.0]),
        ("13 kPa (253-240)", [13.0, 253.0, 240.0]),
        ("version 1.2.3", [1.2]),
        ("none", []),
    ],
)
def test_numbers(text: str, found: list[float]) -> None:
    assert numbers(text) == found


def test_a_number_must_be_near_and_be_there(tmp_path: Path) -> None:
    near = task(Check(number=15.4, within=0.01))
    assert problems(near, said("That day brings 15.40."), tmp_path) == []
    assert problems(near, said("15.42"), tmp_path)
    assert problems(near, said("no idea"), tmp_path)
    assert problems(near, said("It is 115.4"), tmp_path)


def test_texts_are_compared_without_case_and_breaks(tmp_path: Path) -> None:
    texts = task(Check(all=("shade cloth",), none=("frost",), any=("may", "june")))
    assert problems(texts, said("Shade\n  cloth in May"), tmp_path) == []
    assert len(problems(texts, said("frost in July"), tmp_path)) == 3


def test_a_file_must_be_written(tmp_path: Path) -> None:
    wanted = task(Check(file="out.txt", all=("fine",)))
    assert problems(wanted, said("I wrote fine into out.txt"), tmp_path) == ["out.txt was not written"]
    (tmp_path / "out.txt").write_text("all FINE\n")
    assert problems(wanted, said(""), tmp_path) == []


def test_refusals(tmp_path: Path) -> None:
    impossible = task(Check(refused=True))
    assert problems(impossible, said("There is no tool for it.", status="refused"), tmp_path) == []
    assert problems(impossible, said("", status="refused"), tmp_path)
    assert problems(impossible, said("Sent!"), tmp_path)
    assert problems(task(Check(any=("a",))), said("a", status="refused"), tmp_path)


def test_missing_may_be_told_by_the_answer_a_failure_or_a_refusal(tmp_path: Path) -> None:
    missing = task(Check(missing="x.csv"))
    failure = Failure(code="path_refused", message="'x.csv' does not exist; the workspace has a.csv.")
    assert problems(missing, said("There is no file x.csv."), tmp_path) == []
    assert problems(missing, said("", status="failed", results={"n1": StepResult(failure=failure)}), tmp_path) == []
    assert problems(missing, said("", plan=Plan(task="w", nodes=(), refusal="x.csv is missing")), tmp_path) == []
    assert problems(missing, said("x.csv has 12 rows."), tmp_path)


def test_the_shipped_tasks_can_be_read_and_chosen() -> None:
    cases = list(SUITE.cases(Data(SUITE.sources)))
    tasks = {case.id.rpartition("/")[0] for case in cases}
    assert len(chosen(cases, "", 0)) == len(cases) == 3 * len(tasks)
    assert len(tasks) >= 20
    assert {case.category for case in chosen(cases, "join, impossible", 0)} == {"join", "impossible"}
    assert [case.id for case in chosen(cases, "mail", 0)] == ["mail/1", "mail/2", "mail/3"]
    assert len(chosen(cases, "", 2)) == 6


def test_unreadable_tasks_name_the_mend() -> None:
    with pytest.raises(DataInvalid, match="mend that entry"):
        read_tasks('[[task]]\nid = "x"\n', place="tasks.toml")
    with pytest.raises(DataInvalid, match=r"tasks\.toml"):
        read_tasks("[[task", place="tasks.toml")


def test_a_wheel_says_that_a_checkout_is_needed() -> None:
    (source,) = SUITE.sources
    bare = source.model_copy(update={"package_folder": "not_shipped"})
    with pytest.raises(DataMissing, match="checkout"):
        list(SUITE.cases(Data((bare,))))


def test_the_data_that_was_used_is_told() -> None:
    data = Data(SUITE.sources)
    sample = {case.meta["sample"] for case in SUITE.cases(data)}
    assert len(sample) == 1
    assert {"tasks.toml", "data/harvest.csv", "data/notes/may.txt"} <= {use.file for use in data.used}


def test_refusing_everything_is_right_for_impossible_tasks_alone() -> None:
    cases = list(SUITE.cases(Data(SUITE.sources)))
    scores = always_refuse(cases)
    assert {case.category for case in cases if scores[case.id].value} == {"impossible"}
    assert all(scores[case.id].value for case in cases if case.category == "impossible")


def test_scores_are_summed_by_model_and_kind() -> None:
    models = {
        model: score(
            [
                {"model": model, "task": "t", "kind": "impossible", "wording": number, "right": right}
                | {"status": "refused", "tokens": 100, "seconds": 2.0}
                for number, right in enumerate(rights)
            ]
        )
        for model, rights in (("big", (True, True, False)), ("little", (True, False, False)))
    }
    assert models["big"]["share"] == 0.6667
    assert models["big"]["refused_tasks"] == 1
    assert models["little"]["refused_tasks"] == 0
    text = describe({"models": models})
    assert "2/3" in text
    assert "big: 67% of 3 wordings right, 1 of 1 impossible tasks refused" in text
