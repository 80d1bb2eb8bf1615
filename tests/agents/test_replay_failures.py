"""Replays of runs in which a node's policy said what its failure means."""

from pathlib import Path

import pytest

from shuntyard import Agent, PlanBuilder, tool
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.settings import Settings
from shuntyard.steps import Plan

pytestmark = pytest.mark.anyio


class World:
    """An agent over two tools that count their calls; one of them fails."""

    def __init__(self, home: Path) -> None:
        self.calls: list[str] = []

        @tool
        def measure(name: str) -> int:
            """Return the size of a thing.

            Args:
                name: What to measure.
            """
            self.calls.append(name)
            raise ValueError(f"there is no {name}")

        @tool
        def double(number: int) -> int:
            """Return twice a number.

            Args:
                number: The number.
            """
            self.calls.append(str(number))
            return 2 * number

        settings = Settings(home=home / "home", workspace=home, memory=False)
        self.agent = Agent(
            [measure, double], settings=settings, model=ScriptedModel(lambda request: "ANSWER: so"), builtin=False
        )

    async def equal(self, run: str) -> bool:
        """Whether a replay from the record makes no call and differs in nothing."""
        before = list(self.calls)
        found = await self.agent.replay(run)
        return found.equal and self.calls == before


def plan(**policy: object) -> Plan:
    builder = PlanBuilder("measure and double")
    measured = builder.measure(name="a").policy(**policy)
    builder.double(number=measured)
    builder.double(number=4)
    return builder.build()


async def test_a_substitute_stands_in_its_place_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    done = await world.agent.run("measure", plan=plan(on_failure="substitute", substitute=21))
    assert done.status == "done" and done.results["n2"].value == 42
    assert await world.equal(done.run)
    found = await world.agent.replay(done.run, from_=["n2"])
    assert found.equal and world.calls.count("a") == 1 and world.calls.count("21") == 2


async def test_a_run_that_asked_and_one_that_was_told_replay_the_same(tmp_path: Path) -> None:
    world = World(tmp_path)
    asked = await world.agent.run("measure", plan=plan(on_failure="ask"))
    assert asked.status == "waiting" and asked.results["n3"].ok
    assert await world.equal(asked.run)
    told = await world.agent.resume(asked.run, assume={"n1": "failed"})
    assert told.status == "failed" and world.calls.count("a") == 1
    assert await world.equal(asked.run)


async def test_a_run_that_a_failure_stopped_stops_there_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    stopped = await world.agent.run("measure", plan=plan(on_failure="stop"))
    assert stopped.status == "failed"
    assert await world.equal(stopped.run)
