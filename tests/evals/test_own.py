"""A person's own cases: reading, built-in scorers, scorer functions, the model and the agent as solvers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from shuntyard.errors import DataInvalid, DataMissing, UnknownName, UsageError
from shuntyard.evals.case import Case, Output
from shuntyard.evals.harness import Result, Setup, run
from shuntyard.evals.log import Configuration
from shuntyard.evals.own import own_suite, read_cases
from shuntyard.evals.scorers import BUILT_IN, load_scorer
from shuntyard.messages import ModelRequest
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.settings import Settings


def put(folder: Path, *rows: Any, name: str = "cases.jsonl") -> Path:
    path = folder / name
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_rows_become_cases_whose_ids_do_not_depend_on_their_place(tmp_path: Path) -> None:
    first, second = {"input": "1+1?", "target": 2}, {"id": "q2", "input": "2+2?", "target": 4, "category": "sums"}
    cases = list(read_cases(put(tmp_path, first, "", second)))
    assert cases[1] == Case(id="q2", category="sums", input="2+2?", target=4)
    moved = list(read_cases(put(tmp_path, {"input": "new"}, second, first)))
    assert moved[2] == cases[0] and cases[0].id.startswith("r")
    assert next(iter(read_cases(put(tmp_path, {"id": 7, "input": "x"})))).id == "7"


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ('{"input": "a", "target"', r"line 2 is not JSON .* mend it"),
        ('["a"]', r"line 2 is '\[\"a\"\]', not an object"),
        ({"target": "a"}, "line 2 has no input"),
        ({"input": "a", "answer": "b"}, "line 2 has the field 'answer'.*others go into meta"),
        ({"input": "a", "category": 3}, "line 2 has category = 3"),
        ({"id": "one", "input": "b"}, "line 2 has the id 'one' of line 1"),
    ],
)
def test_a_wrong_row_is_named_by_its_line_with_the_mend(tmp_path: Path, row: Any, told: str) -> None:
    path = put(tmp_path, {"id": "one", "input": "a", "target": "a"}, row)
    with pytest.raises(DataInvalid, match=told) as caught:
        list(read_cases(path))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("scorer", "target", "mend"),
    [
        ("number", "many", "write a number"),
        ("number", True, "write a number"),
        ("number", None, "write a number"),
        ("exact", None, "write text"),
        ("contains", [], "write text"),
        ("contains", "", "write text"),
        ("regex", "(", "no regular expression"),
        ("regex", 3, "write a regular expression"),
    ],
)
def test_a_target_that_the_scorer_cannot_use_is_told_before_anything_runs(
    tmp_path: Path, scorer: str, target: Any, mend: str
) -> None:
    path = put(tmp_path, {"input": "a", "target": target})
    with pytest.raises(DataInvalid, match=f"line 1 has the target .*{mend}"):
        list(read_cases(path, judge=BUILT_IN[scorer]))


@pytest.mark.parametrize(
    ("scorer", "target", "right", "wrong"),
    [
        ("exact", "Paris", ["Paris", " Paris\n"], ["paris", "Paris.", "", "Lyon"]),
        ("exact", ["4", "four"], ["4", "four"], ["for", "44", "4 four"]),
        ("exact", 42, ["42"], ["42.0", "-42"]),
        ("contains", "Paris", ["It is PARIS.", "paris"], ["Pari s", "", "Lyon"]),
        ("contains", ["yes", "right"], ["Right you are"], ["no"]),
        ("number", 1200, ["so 1,200", "1200.0", "first 3, then 1.2e3"], ["1,20", "1200 of 3", "-1200", "12000"]),
        ("number", "0.1", ["0.1", ".1 is not read, 0.1 is"], ["0.11", "1"]),
        ("regex", r"^\d{3}$", ["123"], ["1234", "x"]),
    ],
)
def test_built_in_scorers_accept_what_is_right_and_refuse_what_is_wrong(
    scorer: str, target: Any, right: list[str], wrong: list[str]
) -> None:
    judge = BUILT_IN[scorer]
    assert judge.needs(target) == ""
    assert [judge.score(target, text).value for text in right] == [1.0] * len(right)
    found = [judge.score(target, text) for text in wrong]
    assert [each.value for each in found] == [0.0] * len(wrong)
    assert all(each.explanation for each in found)


def test_an_answer_without_a_number_is_no_answer() -> None:
    score = BUILT_IN["number"].score(3, "I do not know")
    assert score.letter == "N" and "no number" in score.explanation


SCORER = """
from shuntyard.evals.case import Score

def score(case, output):
    return case.target in output.text

async def half(case, output):
    return 0.5

def whole(case, output):
    return Score(value=1.0, explanation="because", parts={"style": 0.25})

def strange(case, output):
    return "good"

def broken(case, output):
    raise LookupError("no table")
"""


@pytest.mark.parametrize(
    ("name", "value"), [("", 1.0), (":score", 1.0), (":half", 0.5), (":whole", 1.0)], ids=lambda item: str(item)
)
def test_a_function_scores_whether_async_or_not(tmp_path: Path, name: str, value: float) -> None:
    path = tmp_path / "my.py"
    path.write_text(SCORER)
    scorer = load_scorer(f"{path}{name}")
    case, output = Case(id="a", input="?", target="b"), Output(text="abc")
    assert anyio.run(scorer, case, output).value == value


def test_a_wrong_scorer_is_told(tmp_path: Path) -> None:
    path = tmp_path / "my.py"
    path.write_text(SCORER)
    with pytest.raises(UnknownName, match="did you mean half"):
        load_scorer(f"{path}:haf")
    for name, told in ((":strange", "'good'"), (":broken", "no table")):
        with pytest.raises((TypeError, LookupError), match=told):
            anyio.run(load_scorer(f"{path}{name}"), Case(id="a", input="?", target="b"), Output(text="b"))
    with pytest.raises(UsageError, match="exact, number, contains, regex"):
        load_scorer("levenshtein")
    path.write_text("def score(:\n")
    with pytest.raises(UsageError, match="line 1 cannot be loaded"):
        load_scorer(str(path))
    with pytest.raises(DataMissing, match="no file"):
        own_suite(tmp_path / "none.jsonl")


def evaluate(
    home: Path, path: Path, answers: Callable[[ModelRequest], str], *, solver: str = "model", **more: Any
) -> tuple[Result, ScriptedModel]:
    model = ScriptedModel(answers)

    async def opened() -> ScriptedModel:
        return model

    made = own_suite(path, **more)
    setup = Setup(
        settings=Settings(home=home, approve=("write_file",)),
        configuration=Configuration(solver=solver, model="scripted", temperature=0.5, seed=3),
        open_model=opened,
    )
    return anyio.run(run, made, setup), model


def test_the_model_is_asked_once_a_case_and_judged(tmp_path: Path) -> None:
    said = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "3+3?"}]
    path = put(
        tmp_path,
        {"input": "2+2?", "target": "4", "meta": {"max_tokens": 7}},
        {"input": said, "target": "6"},
        {"input": {"x": 1}, "target": "4"},
    )
    result, model = evaluate(tmp_path, path, lambda request: "4")
    asked = {request.messages[-1].content: request for request in model.requests}
    assert set(asked) == {"2+2?", "3+3?", '{"x": 1}'}
    assert asked["2+2?"].max_tokens == 7 and asked["3+3?"].messages[0].role == "system"
    assert {(request.temperature, request.seed) for request in model.requests} == {(0.5, 3)}
    assert result.log.header.suite == "cases" and result.figures[0].mean.value == pytest.approx(2 / 3)
    assert result.figures[0].baselines == {"majority": pytest.approx(2 / 3)}
    (wrong,) = [row for row in result.rows if row.score.value == 0]
    assert wrong.output.transcript[-1] == {"role": "assistant", "content": "4"} and wrong.target == "6"
    (used,) = result.log.header.data
    assert used.file == "cases.jsonl" and len(used.sha256) == 64


def test_a_changed_scorer_judges_anew_and_a_changed_row_runs_anew(tmp_path: Path) -> None:
    rows = [{"input": f"q{at}", "target": "A"} for at in range(4)]
    path, scorer = put(tmp_path, *rows), tmp_path / "my.py"
    scorer.write_text("def score(case, output): return True")
    first, model = evaluate(tmp_path, path, lambda request: "a", scorer=str(scorer))
    assert len(model.requests) == 4
    rows[0]["target"] = "B"
    second, model = evaluate(tmp_path, put(tmp_path, *rows), lambda request: "a", scorer=str(scorer))
    assert len(model.requests) == 1 and len(second.log.rows) == 4
    scorer.write_text("def score(case, output): return False")
    third, model = evaluate(tmp_path, path, lambda request: "a", scorer=str(scorer))
    assert third.log.path != first.log.path and third.figures[0].mean.value == 0


def test_the_agent_runs_each_task_in_a_copy_of_the_workspace(tmp_path: Path) -> None:
    place = tmp_path / "work"
    place.mkdir()
    (place / "note.txt").write_text("The code is 417.")
    path = put(
        tmp_path,
        {"input": "What code stands in note.txt?", "target": "417"},
        {"input": "Again: the code?", "target": "9"},
    )

    def answer(request: ModelRequest) -> str:
        if request.role in ("compile", "repair"):
            return '1. read_file(path="note.txt")\n2. write_file(path="copy.txt", content=$1)\n'
        return "ANSWER: The code is 417."

    result, _ = evaluate(tmp_path, path, answer, solver="agent", scorer="contains", workspace=place)
    by_target = {row.target: row for row in result.rows}
    assert by_target["417"].score.value == 1 and by_target["9"].score.value == 0
    assert by_target["417"].output.value == {
        "status": "done",
        "files": {"copy.txt": "The code is 417.\n"},
    }
    assert any("read_file" in str(turn.get("call")) for turn in by_target["417"].output.transcript)
    assert sorted(item.name for item in place.iterdir()) == ["note.txt"]
    (place / "note.txt").write_text("The code is 9.")
    assert own_suite(path, workspace=place).version != own_suite(path).version


def test_a_name_of_ours_is_not_taken(tmp_path: Path) -> None:
    assert own_suite(put(tmp_path, {"input": "a"}, name="bfcl.jsonl")).name == "own-bfcl"
    assert own_suite(put(tmp_path, {"input": "a"}, name="My Cases v2.jsonl")).name == "my-cases-v2"
