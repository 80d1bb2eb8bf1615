"""The contract of docs/stopping.md: what is kept, what is undone (nothing), and what a resume sees."""

from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest

from shuntyard import Agent, tool
from shuntyard.errors import ToolError, UnknownName
from shuntyard.messages import Completion, ModelRequest
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.settings import Settings
from shuntyard.steps import Limits, Plan, RunResult

pytestmark = pytest.mark.anyio


class World:
    """Tools that count their calls and do what the test wants of them."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.broken = {"3"}
        self.slow: set[str] = set()

    def tools(self) -> list[Any]:
        @tool
        async def measure(name: str) -> str:
            """Return the measure of a thing.

            Args:
                name: What.
            """
            self.calls[name] += 1
            if name in self.slow:
                await anyio.sleep(30)
            if name in self.broken:
                raise ToolError(f"{name!r} cannot be measured; wait.")
            return f"measured {name}"

        @tool(effect="write")
        async def store(name: str) -> str:
            """Store a thing and say so.

            Args:
                name: What.
            """
            self.calls[name] += 1
            if name in self.slow:
                await anyio.sleep(30)
            return f"stored {name}"

        return [measure, store]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def agent(world: World, tmp_path: Path) -> Agent:
    settings = Settings(home=tmp_path / "home", workspace=tmp_path, approve=("store",), memory=False)
    model = ScriptedModel(lambda request: "ANSWER: so it is")
    return Agent(world.tools(), settings=settings, model=model, builtin=False)


def node(number: int, *, tool: str = "measure", **more: Any) -> dict[str, Any]:
    return {"id": f"n{number}", "tool": tool, "args": {"name": str(number)}, **more}


def plan(*nodes: dict[str, Any]) -> Plan:
    return Plan.model_validate({"task": "t", "nodes": nodes})


def statuses(result: RunResult) -> dict[str, str]:
    return {id: step.status for id, step in sorted(result.results.items())}


# --- failures ------------------------------------------------------------------------------------


async def test_of_ten_siblings_nine_are_kept_and_the_resume_runs_one(agent: Agent, world: World) -> None:
    first = await agent.run("measure", plan=plan(*(node(at) for at in range(1, 11))))
    assert first.status == "failed" and sum(step.ok for step in first.results.values()) == 9
    world.calls.clear()
    world.broken.clear()
    second = await agent.resume(first.run)
    assert second.status == "done" and all(step.ok for step in second.results.values())
    assert world.calls == {"3": 1}


async def test_a_failure_that_asks_ends_the_run_waiting_and_resuming_tries_it_again(agent: Agent, world: World) -> None:
    asked = plan(node(1), node(3, policy={"on_failure": "ask"}), node(4, after=["n3"]))
    first = await agent.run("measure", plan=asked)
    assert first.status == "waiting" and first.failure is not None and first.failure.exit_code == 5
    assert "n3 failed" in first.failure.message and f"resume {first.run}" in first.failure.message
    assert statuses(first) == {"n1": "done", "n3": "waiting", "n4": "cancelled"}
    still = await agent.resume(first.run)
    assert still.status == "waiting" and world.calls == {"1": 1, "3": 2}
    world.broken.clear()
    done = await agent.resume(first.run)
    assert done.status == "done" and world.calls == {"1": 1, "3": 3, "4": 1}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("failed", {"n1": "done", "n3": "failed", "n4": "skipped"}),
        ("done", {"n1": "done", "n3": "done", "n4": "done"}),
    ],
)
async def test_a_person_can_settle_a_failure(agent: Agent, world: World, word: Any, expected: dict[str, str]) -> None:
    asked = plan(node(1), node(3, policy={"on_failure": "ask"}), node(4, after=["n3"]))
    first = await agent.run("measure", plan=asked)
    world.calls.clear()
    settled = await agent.resume(first.run, assume={"n3": word})
    assert statuses(settled) == expected
    assert world.calls["3"] == 0 and world.calls["1"] == 0
    verdict = settled.results["n3"].verdict
    assert verdict is not None and verdict.by == "person"


async def test_an_effect_that_ran_out_of_time_is_tried_again_only_by_a_persons_word(agent: Agent, world: World) -> None:
    world.slow = {"1"}
    asked = plan(node(1, tool="store", policy={"on_failure": "ask", "timeout": 0.2}))
    first = await agent.run("store", plan=asked)
    assert first.status == "waiting" and first.failure is not None and "n1=not-done" in first.failure.message
    world.slow.clear()
    assert (await agent.resume(first.run)).status == "waiting" and world.calls == {"1": 1}
    done = await agent.resume(first.run, assume={"n1": "not-done"})
    assert done.status == "done" and world.calls == {"1": 2}


async def test_a_run_with_a_substitute_is_done_and_keeps_the_failure(agent: Agent) -> None:
    whole = plan(node(3, policy={"on_failure": "substitute", "substitute": "nothing"}), node(4, after=["n3"]))
    result = await agent.run("measure", plan=whole)
    assert result.status == "done" and statuses(result) == {"n3": "done", "n4": "done"}
    assert result.results["n3"].value == "nothing"
    assert result.results["n3"].failure is not None and "cannot be measured" in result.results["n3"].failure.message
    async with agent._opened(()) as rooms:
        (kept,) = [step.result for step in rooms.runs.steps(result.run) if step.path == "n3"]
    assert kept is not None and kept.status == "failed"


# --- deadline and cancelling ---------------------------------------------------------------------


async def test_a_deadline_keeps_what_finished_and_a_resume_runs_the_rest(agent: Agent, world: World) -> None:
    world.slow = {"2"}
    whole = plan(node(1), node(2), node(4, after=["n1"]), node(5, after=["n2"]))
    first = await agent.run("measure", plan=whole, limits=Limits(deadline=1.0))
    assert first.status == "spent" and first.failure is not None and first.failure.exit_code == 4
    assert f"shuntyard resume {first.run}" in first.failure.message
    assert statuses(first) == {"n1": "done", "n4": "done"}
    world.calls.clear()
    world.slow.clear()
    second = await agent.resume(first.run)
    assert second.status == "done" and world.calls == {"2": 1, "5": 1}


async def test_cancelling_undoes_nothing_and_an_effect_under_way_is_in_doubt(agent: Agent, world: World) -> None:
    world.slow = {"2"}
    whole = plan(node(1, tool="store"), node(2, tool="store"), node(4, after=["n2"]))
    run = ""
    with anyio.move_on_after(1.0):
        async for event in agent.stream("store", plan=whole):
            run = event.run
    assert world.calls == {"1": 1, "2": 1}
    world.calls.clear()
    world.slow.clear()
    doubtful = await agent.resume(run)
    assert doubtful.status == "doubt" and statuses(doubtful) == {"n1": "done", "n2": "doubt", "n4": "cancelled"}
    assert world.calls == {}
    done = await agent.resume(run, assume={"n2": "not-done"})
    assert done.status == "done" and world.calls == {"2": 1, "4": 1}


async def test_a_deadline_of_zero_starts_nothing(agent: Agent, world: World) -> None:
    result = await agent.run("measure", plan=plan(node(1)), limits=Limits(deadline=0))
    assert result.status == "spent" and world.calls == {}


# --- limits --------------------------------------------------------------------------------------


async def test_a_limit_for_what_no_tool_is_or_uses_is_refused(agent: Agent, world: World) -> None:
    with pytest.raises(UnknownName, match="unknown tool or resource 'mesure'; did you mean measure"):
        await agent.run("measure", plan=plan(node(1)), limits=Limits(at_once={"mesure": 2}))
    assert world.calls == {}


# --- early start ---------------------------------------------------------------------------------


async def test_a_call_runs_while_the_model_still_writes_the_plan(tmp_path: Path) -> None:
    called = anyio.Event()

    @tool
    async def look(name: str) -> str:
        """Return what is there.

        Args:
            name: Where.
        """
        called.set()
        return f"saw {name}"

    class Waiting(ScriptedModel):
        """Goes on with its plan only when the first call has been made."""

        async def complete(self, request: ModelRequest, *, on_text: Any = None) -> Completion:
            if request.role == "compile":
                on_text('1. look(name="a")\n')
                with anyio.fail_after(20):
                    await called.wait()
                on_text('2. look(name="b")\n')
            return await super().complete(request, on_text=None)

    model = Waiting(
        lambda request: '1. look(name="a")\n2. look(name="b")\n' if request.role == "compile" else "ANSWER: a and b"
    )
    settings = Settings(home=tmp_path / "home", workspace=tmp_path, memory=False)
    result = await Agent([look], settings=settings, model=model, builtin=False).run("look at a and b")
    assert result.status == "done" and statuses(result) == {"n1": "done", "n2": "done"}
