"""The solvers, on scripted models and once on a real one."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from shuntyard.errors import UsageError
from shuntyard.evals.case import Case, Output, Score
from shuntyard.evals.suite import Means
from shuntyard.evals.suites.parallelqa import SUITE
from shuntyard.evals.suites.parallelqa.search import latency
from shuntyard.evals.suites.parallelqa.solve import TURNS, Work
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.settings import Settings

pytestmark = pytest.mark.anyio

WHICH = Case(
    id="which",
    input="If K2 were 20% lower and Aconcagua 10% higher, which of the two mountains would be higher?",
    target={"answer": "Aconcagua", "labels": ["most(k2*0.8, aconcagua*1.1)"]},
)
HOW_MUCH = Case(
    id="how much",
    input="What would be the average height in meters if K2 were 20% lower and Aconcagua 10% higher?",
    target={"answer": "7270", "labels": ["mean(k2*0.8, aconcagua*1.1)"]},
)
SEARCHES = '1. search(query="height of K2")\n2. search(query="height of Aconcagua")\n'
AVERAGE = SEARCHES + '3. calculator(expression="avg($1 * 0.8, $2 * 1.1)")\nreturn $3\n'
HIGHER = SEARCHES + '3. choose(condition="$1 * 0.8 > $2 * 1.1", yes="K2", no="Aconcagua")\nreturn $3\n'


async def solved(name: str, case: Case, model: ScriptedModel, folder: Path) -> tuple[Output, Score]:
    means = Means(settings=Settings(home=folder, workspace=folder), model=model)
    async with SUITE.solvers[name].open(means) as solver:
        output = await solver(case, seed=3)
    return output, await SUITE.scorer(case, output)


# --- planner -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("case", "lines"), [(WHICH, HIGHER), (HOW_MUCH, AVERAGE)], ids=["name", "number"])
async def test_a_right_plan_of_the_planner(case: Case, lines: str, tmp_path: Path) -> None:
    model = ScriptedModel([lines])
    output, score = await solved("planner", case, model, tmp_path)
    assert score.value == 1
    one, two = latency("height of K2"), latency("height of Aconcagua")
    assert score.parts["time_saved"] == pytest.approx(1 - max(one, two) / (one + two))
    work = Work.model_validate(output.value)
    assert (work.kind, work.sequential, work.critical) == ("plan", pytest.approx(one + two), max(one, two))
    assert output.usage.completion > 0
    assert output.transcript[-1]["role"] == "assistant"
    assert model.requests[0].seed == 3
    assert str(case.input) in model.requests[0].messages[-1].content


async def test_the_planner_is_shown_the_tools_of_the_suite(tmp_path: Path) -> None:
    model = ScriptedModel([AVERAGE])
    await solved("planner", HOW_MUCH, model, tmp_path)
    shown = model.requests[0].messages[-1].content
    offered = ("search(", "calculator(", "choose(", "query(", "write_file(")
    assert [name for name in offered if f"\n{name}" in shown] == ["search(", "calculator(", "choose("]


async def test_a_wrong_plan_of_the_planner(tmp_path: Path) -> None:
    lines = SEARCHES + '3. calculator(expression="avg($1 * 0.8, 6961 * 1.1)")\nreturn $3\n'
    _, score = await solved("planner", HOW_MUCH, ScriptedModel([lines] * 3), tmp_path)
    assert score.value == 0
    assert score.parts["searches"] == 1
    assert score.parts["arithmetic"] == 0


async def test_what_never_becomes_a_plan_scores_nothing_in_every_part(tmp_path: Path) -> None:
    output, score = await solved("planner", HOW_MUCH, ScriptedModel(lambda request: "1. fly(to=1)\n"), tmp_path)
    assert output.error == ""
    assert "fly" in output.text
    assert not score.answered
    assert score.value == 0
    assert set(score.parts.values()) == {0.0}
    assert output.usage.total > 0


async def test_a_refusal_of_the_planner_is_no_answer(tmp_path: Path) -> None:
    refusal = 'outside(reason="no tool knows mountains")'
    output, score = await solved("planner", HOW_MUCH, ScriptedModel(lambda request: refusal), tmp_path)
    assert not score.answered
    assert "no tool knows mountains" in score.explanation
    assert output.text == "no tool knows mountains"


async def test_solvers_say_that_they_need_a_model(tmp_path: Path) -> None:
    means = Means(settings=Settings(home=tmp_path), model=None)
    for info in SUITE.solvers.values():
        assert info.needs_model
        async with info.open(means) as solver:
            with pytest.raises(UsageError, match="--model"):
                await solver(WHICH, seed=0)


# --- agent ---------------------------------------------------------------------------------------


def agent_model(plan: str, answer: str) -> ScriptedModel:
    return ScriptedModel(
        lambda request: plan if request.role in ("compile", "repair", "replan") else f"ANSWER: {answer}"
    )


async def test_the_agent_searches_calculates_and_answers(tmp_path: Path) -> None:
    model = agent_model(AVERAGE, "The average height would be 7272.95 m.")
    output, score = await solved("agent", HOW_MUCH, model, tmp_path)
    assert output.text == "The average height would be 7272.95 m."
    assert score.value == 1
    assert score.parts["arithmetic"] == 1
    assert 0 < score.parts["time_saved"] < 1
    results = [item["result"] for item in output.transcript if "call" in item]
    assert results[0]["number"] == 8_611
    assert results[2] == pytest.approx((8_611 * 0.8 + 6_961 * 1.1) / 2)
    assert os.listdir(tmp_path) == []


async def test_one_call_at_a_time_is_judged_like_a_whole_plan(tmp_path: Path) -> None:
    lines = AVERAGE.splitlines()[:3]
    said = [*(f"Thought: next\n{line}" for line in lines), "Thought: done\nANSWER: The average would be 7272.95 m."]
    model = ScriptedModel(said)
    output, score = await solved("react", HOW_MUCH, model, tmp_path)
    assert score.value == 1 and score.parts["arithmetic"] == 1
    work = Work.model_validate(output.value)
    assert work.model_calls == 4 and work.critical < work.sequential
    shown = model.requests[0].messages[-1].content
    assert [name for name in ("search(", "calculator(", "query(") if f"\n{name}" in shown] == ["search(", "calculator("]


async def test_an_agent_that_answers_wrongly_from_a_right_plan_is_wrong(tmp_path: Path) -> None:
    _, score = await solved("agent", WHICH, agent_model(HIGHER, "It is K2, not Aconcagua."), tmp_path)
    assert score.value == 0
    assert score.answer == "K2"
    assert score.parts["arithmetic"] == 1


async def test_an_agent_that_does_not_come_to_a_plan_has_no_answer(tmp_path: Path) -> None:
    output, score = await solved("agent", WHICH, ScriptedModel(lambda request: "nothing"), tmp_path)
    assert score.value == 0
    assert set(score.parts.values()) == {0.0}
    assert any("plan" in str(item.get("content")) for item in output.transcript)


async def test_an_agent_that_refuses_has_no_answer(tmp_path: Path) -> None:
    refusal = 'outside(reason="7270 m is not known")'
    output, score = await solved("agent", HOW_MUCH, ScriptedModel(lambda request: refusal), tmp_path)
    assert output.text == "7270 m is not known"
    assert not score.answered
    assert score.value == 0
    assert "refused" in score.explanation


# --- sequential ----------------------------------------------------------------------------------


async def test_one_line_at_a_time(tmp_path: Path) -> None:
    script = [
        "search: K2 height",
        'search: "Aconcagua height"',
        "calculator: (8611*0.8 + 6961*1.1)/2",
        "answer: 7272.95",
    ]
    model = ScriptedModel(script)
    output, score = await solved("sequential", HOW_MUCH, model, tmp_path)
    assert score.value == 1
    assert score.parts == {}
    said = [item["content"] for item in output.transcript]
    assert said[0] == HOW_MUCH.input
    assert said[1::2] == script
    assert '"number": 8611' in said[2]
    assert said[6] == "7272.95"
    work = Work.model_validate(output.value)
    assert work.sequential == work.critical == pytest.approx(latency("K2 height") + latency("Aconcagua height"))
    assert output.usage.completion == sum(-(-len(line) // 4) for line in script)
    assert [request.seed for request in model.requests] == [3] * 4


async def test_lines_that_are_no_calls_and_calls_that_fail_are_told(tmp_path: Path) -> None:
    script = ["Let me think.", "search: the moon", "calculator: 8611 m * 2", "ANSWER: Aconcagua\nsearch: K2"]
    output, score = await solved("sequential", WHICH, ScriptedModel(script), tmp_path)
    said = [item["content"] for item in output.transcript]
    assert "begins with search:" in said[2]
    assert re.match("error: no article fits 'the moon'", said[4])
    assert said[6].startswith("error: ")
    assert output.text == "Aconcagua"
    assert score.value == 1


async def test_who_goes_round_in_circles_runs_out_of_turns(tmp_path: Path) -> None:
    model = ScriptedModel(lambda request: "search: height of K2")
    output, score = await solved("sequential", WHICH, model, tmp_path)
    assert len(model.requests) == TURNS
    assert output.text == ""
    assert not score.answered


# --- real ----------------------------------------------------------------------------------------


@pytest.mark.small_model
@pytest.mark.timeout(300)
async def test_the_small_model_can_be_run_on_it(tmp_path: Path, pulled: Callable[[str], str]) -> None:
    from shuntyard.serving.source import LocalSource

    settings = Settings(home=tmp_path, workspace=tmp_path)
    model = await LocalSource(settings).open(pulled("qwen2.5-coder-0.5b"))
    means = Means(settings=settings, model=model)
    for name in ("planner", "sequential"):
        async with SUITE.solvers[name].open(means) as solver:
            output = await solver(HOW_MUCH, seed=0)
        score = await SUITE.scorer(HOW_MUCH, output)
        assert output.error == ""
        assert output.usage.completion > 0
        assert 0 <= score.value <= 1
        assert output.transcript
