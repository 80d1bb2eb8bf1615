"""People in the loop, down the whole road: several questions at once, edits, and kill -9 around the answer."""

import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shuntyard import Agent, Edited, Plan, tool
from shuntyard.errors import EditInvalid, PolicyDenied, UnknownName, UsageError
from shuntyard.memory.approvals import Question, SqlApprovals
from shuntyard.memory.store import Store
from shuntyard.messages import ModelRequest
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.settings import RuleSettings, Settings

pytestmark = pytest.mark.anyio
PROGRAM = Path(__file__).with_name("approving.py")


class World:
    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def tools(self) -> list[Any]:
        @tool(effect="write", paths=("path",))
        async def store(path: str, value: int = 0) -> str:
            """Store a value and say where.

            Args:
                path: Where.
                value: What.
            """
            self.calls.append((path, value))
            return f"stored {path}"

        return [store]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def agent(world: World, tmp_path: Path) -> Agent:
    return agent_of(world, tmp_path)


def agent_of(world: World, tmp_path: Path, **more: Any) -> Agent:
    rule = RuleSettings(tool="store", args={"path": "secret*"}, decision="deny", reason="that is private")
    settings = Settings(home=tmp_path / "home", workspace=tmp_path, memory=False, rules=(rule,))
    model = more.pop("model", None) or ScriptedModel(lambda request: "ANSWER: so it is")
    return Agent(world.tools(), settings=settings, model=model, builtin=False, **more)


def plan(count: int = 3) -> Plan:
    nodes = [
        {"id": f"n{at}", "tool": "store", "args": {"path": f"{at}.txt", "value": at}} for at in range(1, count + 1)
    ]
    return Plan.model_validate({"task": "t", "nodes": nodes})


async def asked(agent: Agent, count: int = 3) -> tuple[str, dict[str, Question]]:
    waiting = await agent.run("store", plan=plan(count))
    assert waiting.status == "waiting"
    return waiting.run, {question.path: question for question in await agent.questions(waiting.run)}


@pytest.mark.parametrize("order", list(itertools.permutations(["n1", "n2", "n3"]))[::2])
async def test_answers_come_in_any_order_and_each_call_is_made_once(
    agent: Agent, world: World, order: tuple[str, ...]
) -> None:
    run, open_ = await asked(agent)
    assert len({question.id for question in open_.values()}) == 3
    made: list[tuple[str, int]] = []
    for node in order:
        await agent.approve(open_[node].id)
        result = await agent.resume(run)
        made.append((f"{node[1:]}.txt", int(node[1:])))
        # What was made before is not made again, what is open still waits.
        assert world.calls == made
        assert result.status == ("done" if len(made) == 3 else "waiting")
    assert await agent.questions(run) == []
    assert (await agent.resume(run)).status == "done" and world.calls == made


async def test_an_edited_call_is_made_once_and_the_record_has_both(agent: Agent, world: World) -> None:
    run, open_ = await asked(agent, 2)
    await agent.approve(open_["n1"].id, Edited({"path": "b.txt"}, by="ann"))
    await agent.approve(open_["n2"].id, Edited({"path": "c.txt"}, whole=True, by="bob"))
    done = await agent.resume(run)
    assert done.status == "done" and sorted(world.calls) == [("b.txt", 1), ("c.txt", 0)]
    first = done.results["n1"]
    assert first.verdict is not None and first.verdict.edit is not None and first.verdict.by == "person"
    assert (first.verdict.edit.by, first.verdict.edit.was, first.verdict.edit.now) == (
        "ann", 'path="1.txt"', 'path="b.txt"',
    )  # fmt: skip
    assert "person" in first.label.sources
    assert (await agent.resume(run)).results["n1"].verdict == first.verdict and len(world.calls) == 2
    async with agent._opened(()) as rooms:
        steps = {step.path: step.result for step in rooms.runs.steps(run)}
    kept = steps["n2"]
    assert kept is not None and kept.verdict is not None and kept.verdict.edit is not None
    assert "value=2" in kept.verdict.edit.was and kept.verdict.edit.now == 'path="c.txt"'
    replayed = await agent.replay(run)
    assert replayed.equal and replayed.result.results["n1"].verdict == first.verdict
    for late in (True, False, Edited({"path": "z.txt"})):
        with pytest.raises(UsageError, match="the call was made"):
            await agent.approve(open_["n1"].id, late)
    assert len(world.calls) == 2


@pytest.mark.parametrize(
    ("edit", "error", "says"),
    [
        (Edited({"pth": "b"}), EditInvalid, "'pth' is unknown; the parameters are path, value"),
        (Edited({"value": "many"}), EditInvalid, "'value' = 'many' should be a valid integer"),
        (Edited({"value": 2}, whole=True), EditInvalid, "'path' is missing"),
        (Edited({"path": "../b"}), EditInvalid, "leads out of the workspace"),
        (Edited({"path": "secret.txt"}), PolicyDenied, "that is private"),
        (Edited({"path": ".git/x"}), PolicyDenied, "the question stays open"),
        (Edited({"path": "ghp_" + "a1" * 20}), EditInvalid, "hold a secret"),
    ],
)
async def test_a_wrong_edit_is_refused_and_the_question_stays_open(
    agent: Agent, world: World, edit: Edited, error: type[Exception], says: str
) -> None:
    run, open_ = await asked(agent, 1)
    with pytest.raises(error, match=says):
        await agent.approve(open_["n1"].id, edit)
    assert [question.id for question in await agent.questions(run)] == [open_["n1"].id]
    assert (await agent.resume(run)).status == "waiting" and world.calls == []


async def test_an_unknown_question_and_an_unknown_tool_are_named(agent: Agent, tmp_path: Path) -> None:
    _, open_ = await asked(agent, 1)
    with pytest.raises(UnknownName, match="nothere"):
        await agent.approve("nothere", Edited({"path": "b"}))
    bare = Agent(settings=agent.settings, model=ScriptedModel([]), builtin=False)
    with pytest.raises(UnknownName, match=r"unknown tool 'store'.*--tools FILE\.py"):
        await bare.approve(open_["n1"].id, Edited({"path": "b"}))


async def test_an_approver_may_edit_and_one_that_says_yes_still_works(world: World, tmp_path: Path) -> None:
    class Person:
        async def decide(self, step: Any, *_: Any) -> Any:
            return Edited({"path": "mine.txt"}, by="ann") if step.key.path == "n1" else True

    result = await agent_of(world, tmp_path, approver=Person()).run("store", plan=plan(2))
    assert result.status == "done" and sorted(world.calls) == [("2.txt", 2), ("mine.txt", 1)]


@pytest.mark.parametrize("within", [False, True], ids=["call", "body"])
async def test_the_answer_does_not_miss_a_file_in_whose_place_a_person_put_another(
    world: World, tmp_path: Path, within: bool
) -> None:
    asked: list[str] = []

    def answer(request: ModelRequest) -> str:
        asked.append(request.messages[-1].content)
        return "ANSWER: stored"

    agent = agent_of(world, tmp_path, model=ScriptedModel(answer))
    call = {"id": "n2", "tool": "store", "args": {"path": "gone.txt"}, "effect": "write"}
    node = {"id": "n1", "effect": "write", "body": {"nodes": [call]}} if within else call
    given = Plan.model_validate({"task": "t", "nodes": [node]})
    for path, missed in (("b.txt", False), ("old/gone.txt", True)):
        waiting = await agent.run("Which of gone.txt, other.txt was stored?", plan=given)
        [question] = await agent.questions(waiting.run)
        await agent.approve(question.id, Edited({"path": path}))
        done = await agent.resume(waiting.run)
        assert done.status == "done" and world.calls[-1] == (path, 0)
        assert ("no file gone.txt" in asked[-1]) is missed
        # What the person left as it was is missed still.
        told = "There is no file gone.txt. There is no file other.txt." if missed else "There is no file other.txt."
        assert done.answer.endswith(told) and ("gone.txt" in done.answer) is missed


# --- processes -----------------------------------------------------------------------------------


def program(point: str, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(PROGRAM), point, str(folder), *more],
        capture_output=True, text=True, env={**os.environ, "PYTHONSAFEPATH": "1"}, timeout=100,
    )  # fmt: skip


@pytest.mark.parametrize("point", ["taken", "intended", "called", "committed"])
def test_killed_between_the_answer_and_the_record_no_call_is_made_twice(point: str, tmp_path: Path) -> None:
    started = json.loads(program("none", tmp_path).stdout)
    assert started["statuses"] == {"n1": "waiting", "n2": "waiting"}
    store = Store.open(tmp_path / "home")
    approvals = SqlApprovals(store)
    for question in approvals.list_pending():
        approvals.decide(question.id, True, edited=Edited({"path": f"edited-{question.path}.txt"}))
    assert program(point, tmp_path, started["run"]).returncode == -signal.SIGKILL
    resumed = json.loads(program(point, tmp_path, started["run"]).stdout)
    log = tmp_path / "log"
    calls = sorted(log.read_text().split()) if log.exists() else []
    assert len(calls) == len(set(calls)) and set(calls) <= {"edited-n1.txt=1", "edited-n2.txt=2"}
    in_doubt = point in ("intended", "called")
    assert resumed["status"] == ("doubt" if in_doubt else "done")
    # Made before the kill or after it, but once; in doubt it waits for a person, whose answer now comes too late.
    assert len(calls) == (1 if point == "intended" else 2)
    for question in approvals.questions():
        with pytest.raises(UsageError, match="cannot be answered any more"):
            approvals.decide(question.id, False)
    store.close()
