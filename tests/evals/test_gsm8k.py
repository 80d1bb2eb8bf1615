"""GSM8K: what counts as the answer, and that anything else is wrong."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from shuntyard.errors import DataInvalid, DataMissing
from shuntyard.evals.case import Case, Output
from shuntyard.evals.data import Data
from shuntyard.evals.suite import Means
from shuntyard.evals.suites.gsm8k import SOURCE, SUITE, judge, read_answer
from shuntyard.messages import Completion, ModelInfo, ModelRequest, TokenLogprob
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.settings import Settings

pytestmark = pytest.mark.anyio
needs_data = pytest.mark.skipif("SHUNTYARD_DATA" not in os.environ, reason="SHUNTYARD_DATA is not set")


def case(target: str, question: str = "How many?") -> Case:
    return Case(id="gsm8k/1", input=question, target=target)


@pytest.mark.parametrize(
    "text",
    [
        "#### 18",
        "#### $18",
        "#### 18 dollars a day",
        "####18.",
        "#### 18.00",
        "#### **18**",
        "#### \\boxed{18}",
        "#### $18$",
        "#### 16 - 3 - 4 = 9 * 2 = 18",
        "9 * 2 = 18\n####\n18",
        "3 + 4 = 7\n#### 7\nNo, wrong.\n#### 18",
        "She makes $18 every day.",
        "18",
        "It is 18, so the answer is 18.",
    ],
)
def test_right_answers(text: str) -> None:
    found = judge(case("18"), text)
    assert (found.value, found.letter) == (1, "C"), found


@pytest.mark.parametrize(
    "text",
    [
        "#### 17",
        "#### 19",
        "#### -18",
        "#### 1.8",
        "#### 18.5",
        "#### 180",
        "#### 118",
        "#### 1,800",
        "#### 18,5",
        "#### 18 * 2",
        "#### 18/2",
        "#### 18 - 20",
        "#### 9 eggs, or 18 dollars",
        "The right answer is 18.\n#### 20",
        "#### 18\n#### 20",
        "18 is what I thought.\n####",
        "She has 16 eggs and makes 18 dollars.",
        "a18b",
        "eighteen",
        "",
    ],
)
def test_wrong_answers(text: str) -> None:
    found = judge(case("18"), text)
    assert found.value == 0
    assert found.letter in {"I", "N"}
    assert found.explanation


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("#### 1,450,000", "1450000"),
        ("#### $1,234.50", "1234.5"),
        ("#### -$10", "-10"),
        ("#### $-10", "-10"),
        ("#### −10", "-10"),
        ("#### 0.5", "0.5"),
        ("#### €2,125 in all", "2125"),
        ("#### 25%", "25"),
    ],
)
def test_numbers_as_people_write_them(text: str, number: str) -> None:
    assert read_answer(text) == Decimal(number)


def test_no_answer_is_told_apart_from_a_wrong_one() -> None:
    assert judge(case("18"), "16 eggs, 3 eaten").letter == "N"
    assert judge(case("18"), "#### 3").letter == "I"


@needs_data
async def test_every_published_answer_is_right_and_every_near_miss_wrong() -> None:
    data = Data(SUITE.sources)
    cases = list(SUITE.cases(data))
    assert len(cases) == len({item.digest for item in cases}) == 1319
    assert [use.sha256[:8] for use in data.used] == ["3730d312"]
    for item in cases:
        truth = Decimal(str(item.target))
        for said, right in ((truth, 1), (truth + 1, 0), (truth - 1, 0), (-truth - 1, 0), (truth * 10 + 5, 0)):
            assert judge(item, f"12 + 7 = 19\n#### {said:,}").value == right, (item.id, said)
        assert judge(item, f"It is {truth}.\n#### {truth + 2}").value == 0


@needs_data
def test_baselines_are_low_and_stay_the_same() -> None:
    cases = list(SUITE.cases(Data(SUITE.sources)))
    for name, baseline in SUITE.baselines.items():
        first, second = baseline(cases), baseline(cases)
        assert first == second, name
        assert 0 < sum(score.value for score in first.values()) / len(cases) < 0.15, name


def test_a_question_without_numbers_has_no_baseline_answer() -> None:
    for baseline in SUITE.baselines.values():
        assert baseline([case("1")])["gsm8k/1"].letter == "N"
        assert baseline([case("7", "A crate holds 7 jars.")])["gsm8k/1"].letter == "C"


def written(folder: Path, monkeypatch: pytest.MonkeyPatch, *rows: str) -> Data:
    (folder / "gsm8k").mkdir()
    (folder / "gsm8k" / "test.jsonl").write_text("\n".join(rows))
    monkeypatch.setenv("SHUNTYARD_DATA", str(folder))
    return Data(SUITE.sources)


def test_broken_data_names_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = json.dumps({"question": "1 and 1?", "answer": "#### 2"})
    data = written(tmp_path, monkeypatch, good, json.dumps({"question": "?", "answer": "two"}))
    with pytest.raises(DataInvalid, match="line 2"):
        list(SUITE.cases(data))


def test_cut_data_names_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = json.dumps({"question": "1 and 1?", "answer": "#### 2"})
    with pytest.raises(DataInvalid, match="line 2"):
        list(SUITE.cases(written(tmp_path, monkeypatch, good, good[:20])))


def test_missing_data_says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHUNTYARD_DATA", str(tmp_path))
    with pytest.raises(DataMissing, match="SHUNTYARD_DATA"):
        list(SUITE.cases(Data((SOURCE.model_copy(update={"url": ""}),))))


async def test_the_model_is_shown_how_and_asked_last() -> None:
    model = ScriptedModel(["2 + 2 = 4\n#### 4"])
    async with SUITE.solvers["model"].open(Means(Settings(), model, temperature=0.7)) as solve:
        output = await solve(case("4", "Two and two?"), seed=5)
    (request,) = model.requests
    assert request.messages[-1].content == "Two and two?"
    assert (request.seed, request.temperature, request.logprobs) == (5, 0.7, 0)
    assert (await SUITE.scorer(case("4"), output)).value == 1
    assert output.confidence is None
    assert output.transcript[-1]["content"] == "2 + 2 = 4\n#### 4"


class Sure(ScriptedModel):
    """Tells probabilities: certain of everything but the number."""

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> Completion:
        done = await super().complete(request, on_text=on_text)
        chances = [("It is 7.\n", 0.0), ("####", 0.0), (" 4", math.log(0.5)), ("2", math.log(0.9))]
        tokens = tuple(TokenLogprob(token=token, logprob=chance) for token, chance in chances)
        return done.model_copy(update={"logprobs": tokens})


async def test_confidence_is_the_probability_of_the_number() -> None:
    info = ModelInfo(name="sure", kind="scripted", logprobs=True)
    async with SUITE.solvers["model"].open(Means(Settings(), Sure(["It is 7.\n#### 42"], info=info))) as solve:
        output = await solve(case("42"), seed=0)
    assert output.confidence == pytest.approx(0.45)


async def test_an_agent_solves_with_the_calculator_alone() -> None:
    def answer(request: ModelRequest) -> str:
        return "ANSWER: #### 18" if "RESULTS" in request.messages[-1].content else '1. calculator(expression="9 * 2")\n'

    model = ScriptedModel(answer)
    async with SUITE.solvers["agent"].open(Means(Settings(), model)) as solve:
        output = await solve(case("18", "9 eggs at 2 dollars: how much is that?"), seed=0)
    assert (await SUITE.scorer(case("18"), output)).value == 1, output
    assert "run_python" not in model.requests[0].messages[0].content
    assert {"call": 'n1 calculator({"expression": "9 * 2"})', "result": 18} in output.transcript


async def test_an_agent_that_fails_scores_nothing() -> None:
    model = ScriptedModel(lambda _: "no plan at all")
    async with SUITE.solvers["agent"].open(Means(Settings(), model)) as solve:
        output = await solve(case("18", "9 eggs at 2 dollars: how much is that?"), seed=0)
    assert (await SUITE.scorer(case("18"), Output(text=output.text))).value == 0
