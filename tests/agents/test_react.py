"""Tasks done one call at a time, with a scripted model and everything else real."""

from pathlib import Path
from typing import Any

import pytest

from shuntyard import Agent, tool
from shuntyard.errors import ModelUnavailable, SettingsInvalid
from shuntyard.messages import Completion, ModelRequest
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.settings import Settings, load

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    workspace = tmp_path / "work"
    workspace.mkdir()
    (workspace / "sales.csv").write_text("region,amount\nnorth,10\nsouth,32\n")
    return Settings(
        home=tmp_path / "home", cache=tmp_path / "cache", workspace=workspace, memory=False, planner="react"
    )


def agent_of(settings: Settings, *said: str, tools: Any = ()) -> tuple[Agent, ScriptedModel]:
    model = ScriptedModel(list(said))
    return Agent(tools=tools, settings=settings, model=model), model


SUM = 'Thought: I need the sum.\n1. query(sql="SELECT sum(amount) AS total FROM sales")'
TWICE = 'Thought: Now twice of it.\n2. calculator(expression="$1 * 2")'


async def test_each_call_is_decided_after_the_results_before_it(settings: Settings) -> None:
    agent, model = agent_of(settings, SUM, TWICE, "Thought: That is it.\nANSWER: It is 84.")
    result = await agent.run("twice the sum of the amounts")
    assert (result.status, result.answer) == ("done", "It is 84.")
    assert [node.id for node in result.plan.nodes] == ["n1", "n2"] and result.results["n2"].value == 84
    assert [request.role for request in model.requests] == ["compile"] * 3, "no call of a join"
    second, third = (request.messages for request in model.requests[1:])
    assert second[-2].content == SUM and second[-1].content == "RESULT\n| 42"
    assert third[: len(second)] == second, "what was said stays, so that its KV prefix stays warm"


async def test_it_may_refuse_at_once_but_not_answer(settings: Settings) -> None:
    agent, model = agent_of(settings, 'Thought: None.\noutside(reason="no tool can sing")')
    result = await agent.run("sing")
    assert (result.status, result.answer) == ("refused", "no tool can sing")
    assert "answer" not in (model.requests[0].grammar or "").split("\n")[0]


async def test_a_call_that_failed_is_seen_and_made_again(settings: Settings) -> None:
    @tool
    def stock(lamp: str) -> int:
        """How many lamps there are."""
        if lamp != "hall":
            raise ValueError(f"no lamp {lamp}")
        return 7

    agent, model = agent_of(
        settings,
        'Thought: a\n1. stock(lamp="hal")',
        'Thought: b\n2. stock(lamp="hall")',
        "Thought: c\nANSWER: There are 7.",
        tools=[stock],
    )
    result = await agent.run("how many hall lamps?")
    assert (result.status, result.answer) == ("done", "There are 7.")
    assert "no lamp hal" in model.requests[1].messages[-1].content


async def test_a_call_that_cannot_be_is_asked_for_again_and_never_run(settings: Settings) -> None:
    agent, model = agent_of(
        settings, 'Thought: a\n1. query(sql="SELECT x FROM nowhere")', SUM, "Thought: b\nANSWER: 42"
    )
    result = await agent.run("the sum of the amounts")
    assert result.status == "done" and [request.role for request in model.requests][1] == "repair"
    assert "nowhere" in model.requests[1].messages[-1].content


async def test_numbers_out_of_nowhere_are_marked(settings: Settings) -> None:
    agent, _ = agent_of(settings, SUM, "Thought: b\nANSWER: It is 4,200.")
    assert (await agent.run("the sum")).answer == "It is 4,200. (In no result: 4,200.)"


async def test_what_was_done_before_a_crash_is_not_done_again(settings: Settings) -> None:
    calls: list[int] = []

    @tool
    def count() -> int:
        """A number."""
        calls.append(1)
        return 3

    class Dies(ScriptedModel):
        async def complete(self, request: ModelRequest, **more: Any) -> Completion:
            if len(self.requests) == 1:
                raise ModelUnavailable("gone")
            return await super().complete(request, **more)

    first = Agent(tools=[count], settings=settings, model=Dies(["Thought: a\n1. count()"]))
    stopped = await first.run("count")
    assert stopped.status == "failed" and calls == [1]
    model = ScriptedModel(["Thought: b\nANSWER: It is 3."])
    result = await Agent(tools=[count], settings=settings, model=model).resume(stopped.run)
    assert (result.status, result.answer, calls) == ("done", "It is 3.", [1])
    assert len(model.requests) == 1


async def test_it_ends_after_a_dozen_calls(settings: Settings) -> None:
    def say(request: ModelRequest) -> str:
        made = sum(message.role == "assistant" for message in request.messages) - 6
        return "ANSWER: enough" if request.role == "join" else f'Thought: more\n{made + 1}. calculator(expression="1")'

    model = ScriptedModel(say)
    result = await Agent(settings=settings, model=model).run("go on")
    assert len(result.plan.nodes) == 12 and model.requests[-1].role == "join"


def test_a_planner_that_is_not_there_is_told_of() -> None:
    with pytest.raises(SettingsInvalid, match="planner"):
        load({"planner": "tree"})
