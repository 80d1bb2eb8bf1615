"""Reads before their condition is known, down the whole road: guard, journal, resume, record and ``show``."""

from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest

from shuntyard import Agent, Plan, tool
from shuntyard.cli.show import _early
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.settings import RuleSettings, Settings
from shuntyard.steps import Limits

pytestmark = pytest.mark.anyio


class World:
    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.holds = True
        self.patience = 0.5

    def tools(self) -> list[Any]:
        @tool
        async def check() -> bool:
            """Return whether it is so."""
            self.calls["check"] += 1
            await anyio.sleep(self.patience)
            return self.holds

        @tool(stability="stable")
        async def look(name: str) -> str:
            """Return what is there.

            Args:
                name: Where.
            """
            self.calls[f"look {name}"] += 1
            return f"saw {name}"

        return [check, look]


PLAN = Plan.model_validate(
    {
        "task": "t",
        "nodes": [
            {"id": "n1", "tool": "check"},
            {"id": "n2", "tool": "look", "args": {"name": "a"}, "when": {"$ref": "n1"}},
        ],
    }
)


@pytest.fixture
def world() -> World:
    return World()


def agent_of(world: World, tmp_path: Path, *rules: RuleSettings) -> Agent:
    settings = Settings(home=tmp_path / "home", workspace=tmp_path, memory=False, rules=rules)
    model = ScriptedModel(lambda request: "ANSWER: so it is")
    return Agent(world.tools(), settings=settings, model=model, builtin=False)


@pytest.mark.parametrize("holds", [True, False])
async def test_it_is_called_once_and_the_record_says_what_it_was_for(world: World, tmp_path: Path, holds: bool) -> None:
    world.holds = holds
    agent = agent_of(world, tmp_path)
    result = await agent.run("look", plan=PLAN)
    assert result.status == "done" and world.calls == {"check": 1, "look a": 1}
    end = result.results["n2"]
    assert (end.status, end.value) == (("done", "saw a") if holds else ("skipped", None)) and end.ahead > 0.3
    async with agent._opened(()) as rooms:
        (kept,) = [step.result for step in rooms.runs.steps(result.run) if step.path == "n2"]
        told = rooms.runs.get(result.run).result
    assert kept is not None and kept.ok and told is not None and told.results["n2"].ahead == end.ahead
    (line,) = _early(told.results)
    assert line.startswith("early  1 read before the condition: ")
    again = await agent.resume(result.run)
    assert again.status == "done" and world.calls == {"check": 1, "look a": 1}
    assert again.results["n2"].status == end.status
    assert (await agent.replay(result.run)).equal


async def test_a_resume_does_not_repeat_what_was_guessed_before_the_stop(world: World, tmp_path: Path) -> None:
    world.patience = 60
    agent = agent_of(world, tmp_path)
    first = await agent.run("look", plan=PLAN, limits=Limits(deadline=1.0))
    assert first.status == "spent" and world.calls == {"check": 1, "look a": 1}
    world.patience = 0
    second = await agent.resume(first.run)
    assert second.status == "done" and second.results["n2"].value == "saw a"
    assert world.calls == {"check": 2, "look a": 1}


async def test_what_asks_is_not_guessed_and_asks_only_when_it_is_needed(world: World, tmp_path: Path) -> None:
    rule = RuleSettings(tool="look", decision="ask", reason="it is private")
    agent = agent_of(world, tmp_path, rule)
    world.holds = False
    assert (await agent.run("look", plan=PLAN)).status == "done"
    assert world.calls == {"check": 1} and await agent.questions() == []
    world.holds = True
    waiting = await agent.run("look", plan=PLAN)
    assert waiting.status == "waiting" and world.calls == {"check": 2}
    (question,) = await agent.questions(waiting.run)
    await agent.approve(question.id)
    assert (await agent.resume(waiting.run)).status == "done" and world.calls == {"check": 2, "look a": 1}


async def test_a_guess_cut_short_leaves_no_attempt(world: World, tmp_path: Path) -> None:
    agent = agent_of(world, tmp_path, RuleSettings(tool="look", decision="ask"))
    run = (await agent.run("look", plan=PLAN)).run
    async with agent._opened(()) as rooms:
        assert [(step.path, step.attempt, step.state) for step in rooms.runs.steps(run) if step.path == "n2"] == [
            ("n2", 1, "waiting")
        ]
