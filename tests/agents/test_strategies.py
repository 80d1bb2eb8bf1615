"""Every planner on the same task, stopped anywhere, resumed; with a scripted model and everything else real."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import anyio
import pytest
from planning_parts import CALLS, LINES, MODEL_CALLS, OUTLINE, SAYS, TASK, TOOLS, calls, plain

from shuntyard import Agent, PlanBuilder
from shuntyard.errors import SettingsInvalid
from shuntyard.events import Chosen, Event, Repaired
from shuntyard.memory.runs import Runs
from shuntyard.memory.store import Store
from shuntyard.messages import Completion, ModelRequest
from shuntyard.planner.auto import AUTO
from shuntyard.planner.strategies import STRATEGIES
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.settings import Settings, load
from shuntyard.steps import Limits

pytestmark = pytest.mark.anyio
NAMES = sorted(SAYS)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    workspace = tmp_path / "work"
    workspace.mkdir()
    return Settings(home=tmp_path / "home", cache=tmp_path / "cache", workspace=workspace, memory=False, approve=("*",))


def agent_of(settings: Settings, says: Callable[[ModelRequest], str] | list[str], **more: Any) -> Agent:
    return Agent(tools=TOOLS, settings=settings, model=ScriptedModel(says), builtin=False, **more)


def by(settings: Settings, planner: str) -> Settings:
    return Settings.model_validate({**settings.model_dump(), "planner": planner})


def test_every_planner_can_be_named_and_only_those() -> None:
    assert {*STRATEGIES, AUTO} == set(get_args(Settings.model_fields["planner"].annotation))
    with pytest.raises(SettingsInvalid, match="'fill', 'program', 'outline', 'reuse' or 'auto'"):
        load({"planner": "tree"})


@pytest.mark.parametrize("planner", NAMES)
async def test_every_planner_comes_to_the_same(planner: str, settings: Settings) -> None:
    model = ScriptedModel(SAYS[planner])
    agent = Agent(tools=TOOLS, settings=by(settings, planner), model=model, builtin=False)
    result = await agent.run(TASK)
    assert (result.status, result.answer.split(" Also")[0]) == ("done", "The sum is 6."), result.failure
    assert calls(settings.workspace) == CALLS and len(model.requests) == MODEL_CALLS[planner]
    assert plain(result.plan.nodes)[2:] == [
        ("add", {"first": {"$ref": "n1"}, "second": {"$ref": "n2"}}),
        ("store", {"value": {"$ref": "n3"}}),
    ]
    assert all(source != "person" for node in result.plan.nodes for source in node.sources.values())


class Stops(ScriptedModel):
    """Ends the run when it is asked once more than ``most`` times."""

    def __init__(self, says: Callable[[ModelRequest], str], scope: anyio.CancelScope, most: int) -> None:
        super().__init__(says)
        self._scope, self._most = scope, most

    async def complete(self, request: ModelRequest, **more: Any) -> Completion:
        if len(self.requests) >= self._most:
            self._scope.cancel()
            await anyio.sleep_forever()
        return await super().complete(request, **more)


def only_run(settings: Settings) -> str:
    store = Store.open(settings.home)
    try:
        return Runs(store).get("last").run
    finally:
        store.close()


@pytest.mark.parametrize(("planner", "most"), [(name, at) for name in NAMES for at in range(MODEL_CALLS[name])])
async def test_a_run_stopped_at_any_model_call_goes_on_there(planner: str, most: int, settings: Settings) -> None:
    with anyio.CancelScope() as scope:
        first = Stops(SAYS[planner], scope, most)
        await Agent(tools=TOOLS, settings=by(settings, planner), model=first, builtin=False).run(TASK)
    assert scope.cancelled_caught
    model = ScriptedModel(SAYS[planner])
    # What the settings say today is nothing to a run that began otherwise.
    other = "react" if planner == "dag" else "dag"
    agent = Agent(tools=TOOLS, settings=by(settings, other), model=model, builtin=False)
    result = await agent.resume(only_run(settings))
    assert result.status == "done" and calls(settings.workspace) == CALLS
    assert len(first.requests) + len(model.requests) == MODEL_CALLS[planner], "a finished call was made again"


@pytest.mark.parametrize("planner", ["react", "outline", "program", "fill"])
def test_a_killed_process_costs_no_call_twice(planner: str, tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("planning_crash.py")), planner, str(tmp_path)]
    places = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    env = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": places}
    first = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120)
    assert first.returncode == -signal.SIGKILL, first.stderr
    again = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120)
    assert again.returncode == 0, again.stderr
    told = json.loads(again.stdout)
    assert told["status"] == "done" and told["requests"] == 1, "only the call that was under way is made again"
    assert calls(tmp_path) == CALLS


@pytest.mark.parametrize("planner", NAMES)
async def test_a_refusal_ends_a_run_of_every_planner(planner: str, settings: Settings) -> None:
    refusal = 'outside(reason="no tool can sing")'
    model = ScriptedModel(lambda request: f"Thought: none\n{refusal}" if planner == "react" else refusal)
    agent = Agent(tools=TOOLS, settings=by(settings, planner), model=model, builtin=False)
    result = await agent.run("sing it")
    assert (result.status, result.answer) == ("refused", "no tool can sing") and calls(settings.workspace) == []


@pytest.mark.parametrize("planner", NAMES)
async def test_a_budget_stops_every_planner(planner: str, settings: Settings) -> None:
    result = await agent_of(by(settings, planner), SAYS[planner]).run(TASK, limits=Limits(max_tokens=10))
    assert result.status == "spent" and calls(settings.workspace) == []


@pytest.mark.parametrize("planner", NAMES)
async def test_nonsense_fails_after_some_repairs(planner: str, settings: Settings) -> None:
    heard: list[Event] = []

    class Ear:
        def __call__(self, event: Event) -> None:
            heard.append(event)

        def close(self) -> None:
            pass

    agent = agent_of(by(settings, planner), lambda request: "fly(to=", sinks=[Ear()])
    result = await agent.run("fly, and come back")
    assert result.status == "failed" and result.failure is not None and result.failure.code == "plan_invalid"
    assert planner == "react" or any(isinstance(event, Repaired) for event in heard)
    chosen = [event for event in heard if isinstance(event, Chosen)]
    assert [event.planner for event in chosen] == ["dag" if planner == "auto" else planner]
    assert bool(chosen[0].reason) == (planner == "auto")


@pytest.mark.parametrize("planner", NAMES)
@pytest.mark.parametrize(
    "piece", ['1. measure(name="oak")\n', "r1 = measure(name='oak')\n", "- (text) oak\n", "and so on "]
)
async def test_going_round_ends(planner: str, piece: str, settings: Settings) -> None:
    model = ScriptedModel(lambda request: piece * 400, piece=400)
    agent = Agent(tools=TOOLS, settings=by(settings, planner), model=model, builtin=False)
    with anyio.fail_after(60):
        result = await agent.run("Measure 'oak'.")
    assert result.status in ("done", "failed") and len(model.requests) < 20
    assert set(calls(settings.workspace)) <= {"measure oak"}


async def test_an_outline_runs_no_effect_before_its_last_phase(settings: Settings) -> None:
    def says(request: ModelRequest) -> str:
        if request.messages[0].content.startswith("You outline"):
            return OUTLINE
        if request.role == "compile":
            assert "store(" not in (request.grammar or "") and "store(" not in request.messages[-1].content
            return LINES
        return SAYS["outline"](request)

    result = await agent_of(by(settings, "outline"), says).run(TASK)
    store = Store.open(settings.home)
    gathered, whole = Runs(store).plans(result.run)
    store.close()
    assert [node.tool for node in gathered.nodes] == ["measure", "measure"]
    assert whole.nodes[:2] == gathered.nodes and [node.tool for node in whole.nodes[2:]] == ["add", "store"]
    # The sum began while the plan that was sent back was being written: a read may.
    assert result.status == "done" and calls(settings.workspace).count("store 6") == 1


async def test_what_an_outline_did_not_find_is_looked_for_once_more(settings: Settings) -> None:
    seen: list[str] = []

    def says(request: ModelRequest) -> str:
        seen.append(request.role)
        if request.messages[0].content.startswith("You outline"):
            return OUTLINE
        if request.role in ("compile", "repair"):
            return '1. measure(name="oak")\nreturn $1\n'
        if request.role == "replan" and "not found yet: (number) the measure of 'elm'" in request.messages[-1].content:
            return '2. measure(name="elm")\nreturn $2\n'
        return SAYS["outline"](request)

    result = await agent_of(by(settings, "outline"), says).run(TASK)
    assert result.status == "done" and seen == ["compile", "compile", "repair", "replan", "replan", "join"]
    assert calls(settings.workspace) == CALLS and result.plan.revision == 2


async def test_an_outline_with_nothing_to_do_is_answered_from_what_was_found(settings: Settings) -> None:
    says = [OUTLINE.partition("\nTHEN")[0] + "\nTHEN", "\n".join(LINES.splitlines()[:2]), "ANSWER: 3 and 3"]
    result = await agent_of(by(settings, "outline"), says).run("Measure 'oak' and 'elm'.")
    assert (result.status, len(result.plan.nodes), result.plan.revision) == ("done", 2, 0)


async def test_a_similar_task_is_done_without_planning(settings: Settings) -> None:
    settings = settings.model_copy(update={"memory": True})
    await agent_of(settings, SAYS["dag"]).run(TASK)
    (settings.workspace / "log").unlink()
    for planner in ("reuse", "auto"):
        model = ScriptedModel(["ANSWER: The sum is 12."])
        agent = Agent(tools=TOOLS, settings=by(settings, planner), model=model, builtin=False)
        result = await agent.run("Measure 'birch' and 'cypress', add both and store the sum.")
        assert result.status == "done" and [request.role for request in model.requests] == ["join"]
        assert result.plan.origin == "memory"
        assert calls(settings.workspace) == ["add 5 7", "measure birch", "measure cypress", "store 12"]
        (settings.workspace / "log").unlink()


async def test_values_that_stand_elsewhere_cost_one_short_call(settings: Settings) -> None:
    settings = settings.model_copy(update={"memory": True})
    await agent_of(settings, SAYS["dag"]).run(TASK)
    (settings.workspace / "log").unlink()
    task = "Store the sum: measure and add both 'birch' and 'cypress'."
    model = ScriptedModel(['v1 = "birch"\nv2 = "cypress"', "ANSWER: The sum is 12."])
    agent = Agent(tools=TOOLS, settings=by(settings, "reuse"), model=model, builtin=False)
    result = await agent.run(task)
    assert result.status == "done" and calls(settings.workspace)[1:3] == ["measure birch", "measure cypress"]
    (compile_, _) = model.requests
    assert compile_.max_tokens <= 120 and "store(" not in (compile_.grammar or "")


@pytest.mark.parametrize("said", ["different", 'v1 = "birch"\nv2 = "willow"', 'v1 = "birch"', "v1 = v1 = v1 = " * 9])
async def test_a_task_that_is_another_is_planned_as_ever(said: str, settings: Settings) -> None:
    settings = settings.model_copy(update={"memory": True})
    await agent_of(settings, SAYS["dag"]).run(TASK)
    lines = LINES.replace("oak", "birch").replace("elm", "cypress")
    model = ScriptedModel([said, lines, "ANSWER: The sum is 12."])
    agent = Agent(tools=TOOLS, settings=by(settings, "reuse"), model=model, builtin=False)
    result = await agent.run("Store the sum: measure and add both 'birch' and 'cypress'.")
    assert result.status == "done" and result.plan.origin == "model" and len(model.requests) == 3


async def test_how_a_run_was_planned_is_kept_with_it(settings: Settings) -> None:
    settings = settings.model_copy(update={"memory": True, "planner": "auto"})
    await agent_of(settings, SAYS["dag"]).run(TASK)
    result = await agent_of(settings, SAYS["dag"]).run(TASK)
    store = Store.open(settings.home)
    row = Runs(store).get(result.run)
    store.close()
    assert row.planner == "auto" and row.choice is not None and row.choice.planner == "reuse"
    assert "did the same task" in row.choice.reason and row.choice.hints[0].exact


async def test_a_persons_plan_is_run_by_no_planner(settings: Settings) -> None:
    builder = PlanBuilder(TASK)
    builder.call("measure", name="oak")
    result = await agent_of(by(settings, "react"), ["ANSWER: 3"]).run(TASK, plan=builder.build())
    assert result.status == "done" and calls(settings.workspace) == ["measure oak"]
