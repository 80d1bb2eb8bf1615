"""Recorded runs replayed: from the record without a call, or from a node on, with what differs told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from shuntyard import Agent, tool
from shuntyard.agents.diff import NodeDiff, Replay, Sides
from shuntyard.errors import UnknownName, UsageError
from shuntyard.memory.compact import compact
from shuntyard.messages import ModelRequest
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.settings import Settings
from shuntyard.steps import Limits

pytestmark = pytest.mark.anyio

PLAN = """1. measure(name="a")
2. measure(name="b")
3. add(first=$1, second=$2)
4. double(number=$3)
5. measure(name="c")
"""


class Yard:
    """An agent over tools that count their calls and can be changed between runs."""

    def __init__(self, home: Path, plan: str = PLAN, answer: str = "ANSWER: it is 84 and 7", **settings: Any) -> None:
        self.calls: list[str] = []
        self.sizes = {"a": 10, "b": 32, "c": 7}
        self.plan, self.answer = plan, answer
        self.model = ScriptedModel(self.say)
        self.settings = Settings(home=home / "home", workspace=home, memory=False, **settings)
        self.agent = Agent(self.tools(), settings=self.settings, model=self.model, builtin=False)

    def say(self, request: ModelRequest) -> str:
        return self.plan if request.role in ("compile", "repair", "replan") else self.answer

    def tools(self) -> list[Callable[..., Any]]:
        @tool
        async def measure(name: str) -> int:
            """Return the size of a thing.

            Args:
                name: What to measure.
            """
            self.calls.append(f"measure {name}")
            await anyio.sleep(0.01 if name == "a" else 0)
            if name not in self.sizes:
                raise ValueError(f"there is no {name}")
            return self.sizes[name]

        @tool
        def add(first: int, second: int) -> int:
            """Return the sum of two numbers.

            Args:
                first: One number.
                second: The other.
            """
            self.calls.append(f"add {first} {second}")
            return first + second

        @tool
        def double(number: int) -> int:
            """Return twice a number, at most 84.

            Args:
                number: The number.
            """
            self.calls.append(f"double {number}")
            return min(2 * number, 84)

        @tool(effect="write")
        def store(value: int) -> str:
            """Store a value.

            Args:
                value: What to store.
            """
            self.calls.append(f"store {value}")
            return f"stored {value}"

        @tool
        def rows(count: int) -> list[dict[str, int]]:
            """Return rows.

            Args:
                count: How many.
            """
            self.calls.append(f"rows {count}")
            return [{"id": i, "size": i * self.sizes["a"]} for i in range(count)]

        return [measure, add, double, store, rows]

    def forget_calls(self) -> None:
        self.calls.clear()
        self.model.requests.clear()

    async def replay(self, run: str, *from_: str, **more: Any) -> Replay:
        self.forget_calls()
        return await self.agent.replay(run, from_=from_, **more)

    def rooms(self) -> Any:
        return self.agent._opened(())


def told(found: Replay) -> dict[str, str]:
    return {node.node: node.outcome for node in found.nodes}


def of(found: Replay, id: str) -> NodeDiff:
    return next(node for node in found.nodes if node.node == id)


async def test_a_replay_from_the_record_calls_nothing_and_writes_nothing(tmp_path: Path) -> None:
    yard = Yard(tmp_path)
    done = await yard.agent.run("measure")
    assert (done.status, done.answer) == ("done", "it is 84 and 7")
    async with yard.rooms() as rooms:
        before = rooms.runs.get(done.run), rooms.runs.steps(done.run), rooms.runs.plans(done.run)
    yard.sizes["a"] = 999
    found = await yard.replay(done.run)
    assert (yard.calls, yard.model.requests) == ([], [])
    assert found.equal and found.replay == "" and found.run == done.run
    assert told(found) == dict.fromkeys(("n1", "n2", "n3", "n4", "n5"), "same")
    assert not any(node.ran for node in found.nodes)
    assert found.answer == "it is 84 and 7" and found.status == "done"
    async with yard.rooms() as rooms:
        assert (rooms.runs.get(done.run), rooms.runs.steps(done.run), rooms.runs.plans(done.run)) == before
        assert len(rooms.runs.list()) == 1


async def test_a_replay_needs_no_model(tmp_path: Path) -> None:
    yard = Yard(tmp_path)
    done = await yard.agent.run("measure")
    bare = Agent(yard.tools(), settings=yard.settings.model_copy(update={"model": ""}), builtin=False)
    assert (await bare.replay(done.run)).equal


async def test_from_a_node_on_all_that_follows_is_run_and_nothing_else(tmp_path: Path) -> None:
    yard = Yard(tmp_path)
    done = await yard.agent.run("measure")
    yard.sizes.update(a=11, c=8)
    yard.answer = "ANSWER: it is 84 and 7, again"
    found = await yard.replay(done.run, "n1")
    assert sorted(yard.calls) == ["add 11 32", "double 43", "measure a"]
    assert [request.role for request in yard.model.requests] == ["join"]
    assert told(found) == {"n1": "changed", "n2": "same", "n3": "changed", "n4": "same", "n5": "same"}
    assert of(found, "n1").value == Sides(before="10", after="11") and of(found, "n1").call is None
    assert of(found, "n3").value == Sides(before="42", after="43")
    assert of(found, "n3").call == Sides(place="first", before="10", after="11")
    # Same result of another call: visible, and not equal.
    assert of(found, "n4").call == Sides(place="number", before="42", after="43")
    assert not of(found, "n4").same and of(found, "n5").same
    assert {node.node for node in found.nodes if node.ran} == {"n1", "n3", "n4"}
    assert (found.equal, found.answer_before, found.answer) == (False, "it is 84 and 7", "it is 84 and 7, again")
    async with yard.rooms() as rooms:
        new = rooms.runs.get(found.replay)
        assert (new.parent, new.status) == (done.run, "done")
        assert rooms.runs.get(done.run).result.answer == "it is 84 and 7", "the record stays"
    again = await yard.replay(found.replay)
    assert again.equal and yard.calls == [], "a replay can be replayed"


async def test_several_nodes_and_an_unchanged_world_are_equal(tmp_path: Path) -> None:
    yard = Yard(tmp_path)
    done = await yard.agent.run("measure")
    found = await yard.replay(done.run, "n5", "n4")
    assert sorted(yard.calls) == ["double 42", "measure c"]
    assert found.equal and {node.node for node in found.nodes if node.ran} == {"n4", "n5"}
    answer = await yard.replay(done.run, "join")
    assert yard.calls == [] and len(yard.model.requests) == 1 and answer.equal


async def test_a_failure_is_told_with_its_reason_and_skips_what_follows(tmp_path: Path) -> None:
    yard = Yard(tmp_path)
    done = await yard.agent.run("measure", limits=Limits(max_replans=0))
    del yard.sizes["b"]
    found = await yard.replay(done.run, "n2", limits=Limits(max_replans=0))
    assert told(found) == {"n1": "same", "n2": "failed", "n3": "failed", "n4": "failed", "n5": "same"}
    reason = of(found, "n2").value
    assert reason is not None and reason.before == "32" and "there is no b" in reason.after
    assert (found.status_before, found.status, found.equal) == ("done", "failed", False)
    mended = await yard.replay(found.replay)
    assert mended.equal, "a failed run replays as it failed"
    yard.sizes["b"] = 32
    assert told(await yard.replay(found.replay, "n2", limits=Limits(max_replans=0)))["n4"] == "changed"


async def test_maps_replay_per_element_and_new_elements_are_run(tmp_path: Path) -> None:
    plan = "1. rows(count=3)\n2. double(number=$item.size) for each $1\n"
    yard = Yard(tmp_path, plan)
    done = await yard.agent.run("double the rows")
    assert done.results["n2"].value == [0, 20, 40]
    assert (await yard.replay(done.run)).equal and yard.calls == []
    yard.sizes["a"] = 11
    found = await yard.replay(done.run, "n1")
    assert of(found, "n1").value == Sides(place="[1].size", before="10", after="11")
    assert of(found, "n2").value == Sides(place="[1]", before="20", after="22")
    assert of(found, "n2").call == Sides(place="number", before="10", after="11")


async def test_effects_ask_as_ever_and_go_on_under_the_new_run(tmp_path: Path) -> None:
    yard = Yard(tmp_path, '1. measure(name="a")\n2. store(value=$1)\n')
    waiting = await yard.agent.run("store a")
    async with yard.rooms() as rooms:
        (question,) = rooms.approvals.list_pending(waiting.run)
        rooms.approvals.decide(question.id, True)
    done = await yard.agent.resume(waiting.run)
    assert done.status == "done" and yard.calls == ["measure a", "store 10"]
    assert (await yard.replay(done.run)).equal and yard.calls == []

    found = await yard.replay(done.run, "n2")
    assert yard.calls == [], "a yes to the recorded run is none to this one"
    assert told(found) == {"n1": "same", "n2": "failed"}
    assert (found.status, found.equal) == ("waiting", False)
    async with yard.rooms() as rooms:
        (question,) = rooms.approvals.list_pending(found.replay)
        rooms.approvals.decide(question.id, True)
    resumed = await yard.agent.resume(found.replay)
    assert resumed.status == "done" and yard.calls == ["store 10"], "what the record answered is not run again"


async def test_kept_effects_are_not_done_again(tmp_path: Path) -> None:
    yard = Yard(tmp_path, '1. measure(name="a")\n2. store(value=$1)\n3. measure(name="c")\n', approve=("store",))
    done = await yard.agent.run("store a")
    found = await yard.replay(done.run, "n3")
    assert yard.calls == ["measure c"] and found.equal


async def test_an_extended_plan_is_replayed_by_revision(tmp_path: Path) -> None:
    yard = Yard(tmp_path)
    answers = {
        "compile": '1. measure(name="a")\n2. measure(name="zzz")\n',
        "replan": '3. measure(name="b")\n4. add(first=$1, second=$3)\n',
        "join": ["REPLAN: zzz is missing", "ANSWER: 42"],
    }

    def say(request: ModelRequest) -> str:
        found = answers[request.role]
        return found if isinstance(found, str) else found.pop(0) if len(found) > 1 else found[0]

    yard.say = say  # type: ignore[method-assign]
    yard.model._answers = say
    yard.agent = Agent(yard.tools(), settings=yard.settings, model=yard.model, builtin=False)
    done = await yard.agent.run("measure")
    assert done.answer == "42" and done.plan is not None and done.plan.revision == 1
    found = await yard.replay(done.run)
    assert found.equal and (yard.calls, yard.model.requests) == ([], [])
    later = await yard.replay(done.run, "n3")
    assert yard.calls == ["measure b", "add 10 32"] and later.equal
    assert [request.role for request in yard.model.requests] == ["join"]


async def test_stopped_runs_replay_as_far_as_their_record_goes(tmp_path: Path) -> None:
    yard = Yard(tmp_path)
    spent = await yard.agent.run("measure", limits=Limits(max_tokens=0))
    assert spent.status == "spent" and (await yard.replay(spent.run)).equal
    refused = Yard(tmp_path / "b", '1. outside(reason="no tool sends mail")\n')
    (tmp_path / "b").mkdir()
    run = (await refused.agent.run("send a mail")).run
    found = await refused.replay(run)
    assert found.equal and found.status == "refused" and refused.model.requests == []


async def test_a_run_without_a_plan_fails_again_without_a_model(tmp_path: Path) -> None:
    yard = Yard(tmp_path, '1. measure(name="a")\n2. unheard(of="it")\n')
    done = await yard.agent.run("measure")
    assert done.status == "failed" and done.plan is None
    found = await yard.replay(done.run)
    assert found.equal and (yard.calls, yard.model.requests) == ([], [])
    with pytest.raises(UnknownName, match="has no plan"):
        await yard.replay(done.run, "n1")


async def test_a_cancelled_run_replays_what_it_finished(tmp_path: Path) -> None:
    @tool
    async def hang(seconds: float) -> float:
        """Return after a while.

        Args:
            seconds: How long.
        """
        await anyio.sleep(seconds)
        return seconds

    plan = "1. hang(seconds=0.01)\n2. hang(seconds=60.0)\n3. hang(seconds=$2)\n"
    settings = Settings(home=tmp_path / "home", workspace=tmp_path, memory=False)
    agent = Agent([hang], settings=settings, model=ScriptedModel(lambda request: plan), builtin=False)
    late = await agent.run("wait", limits=Limits(deadline=1))
    assert late.status == "spent"
    found = await agent.replay(late.run)
    assert found.equal and told(found)["n1"] == "same", found.nodes


async def test_a_plan_that_is_not_allowed_any_more_is_told(tmp_path: Path) -> None:
    yard = Yard(tmp_path)
    done = await yard.agent.run("measure")
    fewer = Agent(yard.tools()[:2], settings=yard.settings, model=yard.model, builtin=False)
    found = await fewer.replay(done.run)
    assert told(found) == dict.fromkeys(("n1", "n2", "n3", "n4", "n5"), "gone")
    assert (found.equal, found.status) == (False, "denied")
    assert found.result.failure is not None and "double" in found.result.failure.message


async def test_a_run_that_stopped_at_its_budget_stops_there_again(tmp_path: Path) -> None:
    from decimal import Decimal

    @tool(cost=Decimal("0.10"))
    async def consult(topic: str) -> str:
        """Return advice.

        Args:
            topic: About what.
        """
        await anyio.sleep(0.01)
        return topic

    plan = "".join(f'{i}. consult(topic="{"$" + str(i - 3) if i > 3 else i}")\n' for i in range(1, 10))
    settings = Settings(home=tmp_path / "home", workspace=tmp_path, memory=False)
    agent = Agent([consult], settings=settings, model=ScriptedModel(lambda request: plan), builtin=False)
    done = await agent.run("consult", limits=Limits(max_cost=Decimal("0.55"), concurrency=2))
    assert done.status == "spent" and 4 <= sum(item.ok for item in done.results.values()) <= 5
    found = await agent.replay(done.run)
    assert found.equal, [node for node in found.nodes if not node.same]


async def test_what_cannot_be_replayed_is_named(tmp_path: Path) -> None:
    yard = Yard(tmp_path)
    done = await yard.agent.run("measure")
    with pytest.raises(UnknownName, match=r"'n9'.*n1, n2, n3, n4, n5, join"):
        await yard.replay(done.run, "n1", "n9")
    with pytest.raises(UnknownName, match="shuntyard runs"):
        await yard.replay("zzz")
    planned = await yard.agent.plan("measure")
    with pytest.raises(UsageError, match="only planned"):
        await yard.replay(planned.run)
    async with yard.rooms() as rooms:
        going = rooms.runs.start("still going")
        with pytest.raises(UsageError, match="has not ended"):
            await yard.replay(going)
        assert len(rooms.runs.list()) == 3, "nothing was begun"


async def test_big_values_and_compacted_runs_replay_the_same(tmp_path: Path) -> None:
    yard = Yard(tmp_path, "1. rows(count=20000)\n2. rows(count=2)\n")
    done = await yard.agent.run("many rows")
    async with yard.rooms() as rooms:
        assert rooms.runs.size().blobs == 1
        compact(rooms.store)
    assert (await yard.replay(done.run)).equal and yard.calls == []
    found = await yard.replay(done.run, "n2")
    assert found.equal and yard.calls == ["rows 2"]
    yard.sizes["a"] = 11
    changed = await yard.replay(done.run, "n1")
    assert of(changed, "n1").value == Sides(place="[1].size", before="10", after="11")
    async with yard.rooms() as rooms:
        assert rooms.runs.size().blobs == 2, "the kept value is shared, the changed one is new"
        rooms.runs.prune()
        assert rooms.runs.size().blobs == 0


async def test_secrets_in_results_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YARD_API_KEY", "hunter2hunter2")

    @tool
    def leak(word: str) -> str:
        """Return a word.

        Args:
            word: Any word.
        """
        return f"{word} hunter2hunter2"

    model = ScriptedModel(
        lambda request: '1. leak(word="a")\n2. leak(word=$1)\n' if request.role == "compile" else "ANSWER: b"
    )
    agent = Agent(
        [leak], settings=Settings(home=tmp_path / "h", workspace=tmp_path, memory=False), model=model, builtin=False
    )
    done = await agent.run("leak")
    assert (await agent.replay(done.run)).equal
    found = await agent.replay(done.run, from_=["n1"])
    assert found.equal and "hunter2" not in found.model_dump_json()
