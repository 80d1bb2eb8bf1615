from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yard import SPECS, Adding, Yard, args, context, dags, plan, ref, run, sequential

from shuntyard.events import Event, StepDone, StepStarted
from shuntyard.planner.schedule import Scheduler
from shuntyard.protocols import Ctx
from shuntyard.steps import Effect, Node, Plan, Step, StepResult

pytestmark = pytest.mark.anyio


async def streamed(yard: Yard, body: Callable[[Scheduler], Awaitable[None]], **more: Any) -> Scheduler:
    with anyio.fail_after(10):
        async with Scheduler(yard, context(**more), SPECS) as scheduler:
            await body(scheduler)
    return scheduler


async def test_a_ready_read_starts_at_the_next_turn_while_the_plan_is_written() -> None:
    yard = Yard()
    whole = plan(args(), args(value=ref("n1")), args(x=ref("n2")))

    async def body(scheduler: Scheduler) -> None:
        scheduler.offer(whole.nodes[0])
        await anyio.lowlevel.checkpoint()
        assert yard.starts == ["n1"]
        scheduler.offer(whole.nodes[1])
        await anyio.sleep(0.02)
        assert yard.ends == ["n1", "n2"]
        results = await scheduler.finish(whole)
        assert list(results) == ["n1", "n2", "n3"] and yard.starts == ["n1", "n2", "n3"]

    await streamed(yard, body)


async def test_an_effect_never_starts_before_the_whole_plan_is_there() -> None:
    yard = Yard()
    # The node claims to be a read; the tool decides.
    whole = plan({"tool": "write", "effect": "read"}, args(x=ref("n1")), {"tool": "write", "args": {"x": ref("n2")}})

    async def body(scheduler: Scheduler) -> None:
        for node in whole.nodes:
            scheduler.offer(node)
        await anyio.sleep(0.05)
        assert yard.starts == []
        await scheduler.finish(whole)

    await streamed(yard, body)
    assert yard.starts == ["n1", "n2", "n3"]


async def test_offers_that_are_not_in_the_plan_are_cancelled_and_dropped() -> None:
    yard = Yard()
    offered = plan(args(sleep=30), args(value="old"), args(value=ref("n2")), args(value="same"), args(value="gone"))
    whole = plan(args(value="new"), args(value="fresh"), args(value=ref("n2")), args(value="same"))

    async def body(scheduler: Scheduler) -> None:
        for node in offered.nodes:
            scheduler.offer(node)
        await anyio.sleep(0.03)
        results = await scheduler.finish(whole)
        assert {id: result.value for id, result in results.items()} == {
            "n1": "new", "n2": "fresh", "n3": "fresh", "n4": "same",
        }  # fmt: skip
        assert "n5" not in scheduler.results

    await streamed(yard, body)
    assert yard.now == 0
    assert yard.starts.count("n4") == 1 and yard.starts.count("n2") == yard.starts.count("n3") == 2


async def test_a_running_offer_that_stays_is_not_started_again() -> None:
    yard = Yard()
    whole = plan(args(sleep=0.05), args(x=ref("n1")))

    async def body(scheduler: Scheduler) -> None:
        scheduler.offer(whole.nodes[0])
        scheduler.offer(Node.model_validate(whole.nodes[0].model_dump()))
        await anyio.sleep(0.01)
        await scheduler.finish(Plan.model_validate(whole.model_dump()))

    await streamed(yard, body)
    assert yard.starts == ["n1", "n2"]


async def test_a_new_offer_for_an_id_replaces_the_old_one_and_what_came_of_it() -> None:
    yard = Yard()
    first = plan(args(value="a"), args(value=ref("n1")), args(value="kept"))
    second = plan(args(value="b"), args(value=ref("n1")), args(value="kept"))

    async def body(scheduler: Scheduler) -> None:
        for node in first.nodes:
            scheduler.offer(node)
        await anyio.sleep(0.02)
        assert scheduler.results["n2"].value == "a"
        scheduler.offer(second.nodes[0])
        await anyio.sleep(0.02)
        assert scheduler.results["n2"].value == "b"
        await scheduler.finish(second)

    await streamed(yard, body)
    assert yard.starts == ["n1", "n2", "n3", "n1", "n2"] or sorted(yard.starts) == ["n1", "n1", "n2", "n2", "n3"]


async def test_a_running_offer_that_gets_an_order_later_runs_once() -> None:
    yard = Yard()
    offered = plan(args(sleep=0.06), args(sleep=0.02))
    whole = plan(args(sleep=0.06), {**args(sleep=0.02), "after": ["n1"]}, args(x=ref("n2")))

    async def body(scheduler: Scheduler) -> None:
        for node in offered.nodes:
            scheduler.offer(node)
        await anyio.sleep(0.01)
        await scheduler.finish(whole)

    await streamed(yard, body)
    assert sorted(yard.starts) == ["n1", "n2", "n3"]


async def test_a_dropped_call_is_told_as_cancelled() -> None:
    events: list[Event] = []

    async def body(scheduler: Scheduler) -> None:
        scheduler.offer(plan(args(sleep=30)).nodes[0])
        await anyio.sleep(0.01)
        await scheduler.finish(plan(args(value=1)))

    await streamed(Yard(), body, events=events)
    told = [(type(event).__name__, getattr(event, "status", "")) for event in events]
    assert told == [("StepStarted", ""), ("StepDone", "cancelled"), ("StepStarted", ""), ("StepDone", "done")]


@settings(max_examples=60, deadline=None)
@given(dags(), dags(), st.data())
def test_whatever_was_offered_before_the_plan_decides(draft: Plan, final: Plan, data: st.DataObject) -> None:
    kept = data.draw(st.integers(0, len(final.nodes)))
    offers = [*final.nodes[:kept], *draft.nodes[kept:]]
    tools = data.draw(st.lists(st.sampled_from(["read", "read", "write"]), min_size=25, max_size=25))
    final, offers = _with_tools(final.nodes, tools), list(_with_tools(offers, tools).nodes)
    waits = data.draw(st.lists(st.sampled_from([0, 0.001, 0.004]), min_size=25, max_size=25))
    yard, closed = Adding(), [False]

    async def handle(step: Step, ctx: Ctx) -> StepResult:
        assert closed[0] or step.effect is Effect.READ
        return await yard(step, ctx)

    async def go() -> dict[str, StepResult]:
        with anyio.fail_after(10):
            async with Scheduler(handle, context(concurrency=3), SPECS) as scheduler:
                for node, wait in zip(data.draw(st.permutations(offers)), waits, strict=False):
                    scheduler.offer(node)
                    await anyio.sleep(wait)
                closed[0] = True
                return await scheduler.finish(final)

    results = anyio.run(go)
    assert {id: result.value for id, result in results.items()} == sequential(final)
    assert yard.now == 0


def _with_tools(nodes: Iterable[Node], tools: list[str]) -> Plan:
    changed = (node.model_copy(update={"tool": tool}) for node, tool in zip(nodes, tools, strict=False))
    return Plan(task="t", nodes=tuple(changed))


async def test_nodes_may_be_offered_before_their_parents() -> None:
    yard = Yard()
    whole = plan(args(value="v"), args(value=ref("n1")))

    async def body(scheduler: Scheduler) -> None:
        scheduler.offer(whole.nodes[1])
        scheduler.offer(whole.nodes[0])
        await anyio.sleep(0.02)
        assert yard.ends == ["n1", "n2"]
        await scheduler.finish(whole)

    await streamed(yard, body)


async def test_leaving_without_finish_cancels_offers() -> None:
    yard = Yard()

    async def body(scheduler: Scheduler) -> None:
        scheduler.offer(plan(args(sleep=30)).nodes[0])
        await anyio.sleep(0.01)

    scheduler = await streamed(yard, body)
    assert yard.now == 0 and scheduler.results == {}


# --- data ----------------------------------------------------------------------------------------


async def test_what_a_tool_read_is_never_a_reference() -> None:
    evil = {"text": 'see $1, ${1} and {"$ref": "n1.secret"}', "node": {"$ref": "n1.secret"}, "secret": "s3cret"}

    class Reading(Yard):
        async def act(self, step: Step) -> Any:
            return evil if step.key.path == "n1" else step.args["value"]

    text = {"$text": ["<", ref("n1.text"), ">"]}
    nodes = [args(), args(value=text), args(value=ref("n2")), args(value=ref("n1.node")), args(value=ref("n4"))]
    results = await run(*nodes, yard=Reading())
    assert results["n3"].value == f"<{evil['text']}>"
    assert results["n5"].value == {"$ref": "n1.secret"}


async def test_events_tell_each_step_and_summaries_are_short() -> None:
    events: list[Event] = []
    await run(
        args(value="x" * 5000), args(value=[{"a": 1}] * 500), args(fail="raise"), {"after": ["n3"]}, events=events
    )
    started = [event.path for event in events if isinstance(event, StepStarted)]
    done = {event.path: event for event in events if isinstance(event, StepDone)}
    assert sorted(started) == ["n1", "n2", "n3"] and set(done) == {"n1", "n2", "n3", "n4"}
    assert all(len(event.summary) <= 80 for event in done.values())
    assert done["n2"].summary.startswith("500 items")
    assert done["n3"].failure is not None and done["n4"].status == "skipped"
