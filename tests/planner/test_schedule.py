import random
import time
from collections.abc import Awaitable, Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shuntyard.errors import PlanInvalid, ToolRetry, ToolTimeout
from shuntyard.events import Event, StepDone, StepStarted
from shuntyard.messages import Usage
from shuntyard.planner.schedule import Scheduler
from shuntyard.planner.values import parents
from shuntyard.protocols import Ctx
from shuntyard.steps import Effect, Failure, Label, Limits, Node, Plan, Status, Step, StepKey, StepResult, ToolSpec

pytestmark = pytest.mark.anyio

SPECS = [
    ToolSpec(name="read", description="", parameters={"type": "object", "properties": {}}),
    ToolSpec(name="write", description="", parameters={"type": "object", "properties": {}}, effect=Effect.WRITE),
]


def ref(text: str) -> dict[str, str]:
    return {"$ref": text}


def plan(*nodes: dict[str, Any], task: str = "t") -> Plan:
    numbered = [{"id": f"n{at + 1}", "tool": "read", **node} for at, node in enumerate(nodes)]
    return Plan.model_validate({"task": task, "nodes": numbered})


def context(*, concurrency: int = 16, events: list[Event] | None = None) -> Ctx:
    heard: list[Event] = [] if events is None else events
    return Ctx(run="r", workspace=Path("/nowhere"), emit=heard.append, limits=Limits(concurrency=concurrency))


class Yard:
    """A handler that does what ``args`` say and writes down when."""

    def __init__(self) -> None:
        self.starts: list[str] = []
        self.ends: list[str] = []
        self.steps: list[Step] = []
        self.now = 0
        self.most = 0

    async def __call__(self, step: Step, ctx: Ctx) -> StepResult:
        path = step.key.path
        self.starts.append(path)
        self.steps.append(step)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await anyio.sleep(step.args.get("sleep", 0))
            value = await self.act(step)
        finally:
            self.now -= 1
        self.ends.append(path)
        return value if isinstance(value, StepResult) else StepResult.model_validate({"value": value})

    async def act(self, step: Step) -> Any:
        fail = step.args.get("fail")
        if fail == "raise":
            raise RuntimeError("boom")
        if fail == "retry" and step.attempt <= step.args.get("times", 1):
            raise ToolRetry("again, please")
        if fail == "hang":
            try:
                with anyio.fail_after(step.timeout):
                    await anyio.sleep_forever()
            except TimeoutError:
                raise ToolTimeout("too slow") from None
        if "status" in step.args:
            return StepResult(status=step.args["status"], failure=Failure(code="x", message="because", exit_code=5))
        return step.args.get("value", path_of(step))


def path_of(step: Step) -> str:
    return step.key.path


async def run(*nodes: dict[str, Any], yard: Yard | None = None, **more: Any) -> dict[str, StepResult]:
    with anyio.fail_after(10):
        return await Scheduler(yard or Yard(), context(**more), SPECS).run(plan(*nodes))


def statuses(results: dict[str, StepResult]) -> dict[str, Status]:
    return {id: result.status for id, result in sorted(results.items())}


def args(**values: Any) -> dict[str, Any]:
    return {"args": values}


# --- order ---------------------------------------------------------------------------------------


@st.composite
def dags(draw: st.DrawFn) -> Plan:
    size = draw(st.integers(1, 25))
    nodes = []
    for at in range(size):
        earlier = [f"n{i + 1}" for i in range(at)]
        used = draw(st.lists(st.sampled_from(earlier), max_size=3, unique=True)) if earlier else []
        after = draw(st.lists(st.sampled_from(earlier), max_size=2, unique=True)) if earlier else []
        sleep = draw(st.sampled_from([0, 0, 0.001, 0.003]))
        nodes.append({"args": {"in": [ref(id) for id in used], "add": at, "sleep": sleep}, "after": after})
    return plan(*nodes)


class Adding(Yard):
    async def act(self, step: Step) -> Any:
        return sum(step.args["in"]) + step.args["add"]


def sequential(dag: Plan) -> dict[str, int]:
    values: dict[str, int] = {}
    for node in dag.nodes:
        used: Any = node.args["in"]
        values[node.id] = sum(values[one["$ref"]] for one in used) + int(str(node.args["add"]))
    return values


@settings(max_examples=60, deadline=None)
@given(dags(), st.integers(1, 6))
def test_any_dag_runs_each_node_once_after_its_parents_with_the_sequential_results(dag: Plan, limit: int) -> None:
    yard = Adding()
    seen: dict[str, list[str]] = {}

    async def handle(step: Step, ctx: Ctx) -> StepResult:
        seen[step.key.path] = list(yard.ends)
        return await yard(step, ctx)

    results = anyio.run(lambda: Scheduler(handle, context(concurrency=limit), SPECS).run(dag))
    assert {id: result.value for id, result in results.items()} == sequential(dag)
    assert sorted(yard.starts) == sorted(node.id for node in dag.nodes)
    assert all(set(parents(node)) <= set(seen[node.id]) for node in dag.nodes)
    assert yard.most <= limit


async def test_a_node_does_not_wait_for_slower_nodes_that_it_does_not_need() -> None:
    yard = Yard()
    await run(args(sleep=0.2), args(), args(x=ref("n2")), yard=yard)
    assert yard.ends == ["n2", "n3", "n1"]


async def test_results_come_in_the_order_of_finishing() -> None:
    results = await run(args(sleep=0.05), args(sleep=0.01), args(x=ref("n2")))
    assert list(results) == ["n2", "n3", "n1"]


async def test_a_step_carries_key_effect_time_and_labels() -> None:
    yard = Yard()
    nodes = plan(
        {"args": {"q": "x"}, "sources": {"q": "task"}},
        {"tool": "write", "args": {"a": ref("n1")}, "policy": {"timeout": 7}},
    )
    results = await Scheduler(yard, context(), SPECS, revision=3).run(nodes)
    first, second = yard.steps
    assert first.key == StepKey("r", 3, "n1") and first.timeout == 60 and first.effect is Effect.READ
    assert first.labels == {"q": Label(sources=("task",))}
    assert second.effect is Effect.WRITE and second.timeout == 7
    assert second.labels["a"].tools == ("read",) and not second.labels["a"].trusted
    assert set(results["n2"].label.tools) == {"read", "write"}


async def test_ten_thousand_nodes_cost_a_constant_each() -> None:
    async def handle(step: Step, ctx: Ctx) -> StepResult:
        return StepResult(value=1)

    async def seconds(size: int, shape: Callable[[int], int]) -> float:
        big = plan(*(args(x=ref(f"n{shape(at)}")) if at else args() for at in range(size)))
        start = time.process_time()
        results = await Scheduler(handle, context(), SPECS).run(big)
        assert len(results) == size and all(result.ok for result in results.values())
        return time.process_time() - start

    chain = [await seconds(size, lambda at: at) for size in (1_000, 10_000)]
    fan = [await seconds(size, lambda at: 1) for size in (1_000, 10_000)]
    assert chain[1] < 30 * chain[0] and fan[1] < 30 * fan[0]
    assert max(chain[1], fan[1]) < 5


async def test_a_node_that_waits_for_nothing_real_fails_instead_of_hanging() -> None:
    looped = plan({"after": ["n2"]}, {"after": ["n1"]}, args(x=ref("n9")), args())
    with anyio.fail_after(2):
        results = await Scheduler(Yard(), context(), SPECS).run(looped)
    assert statuses(results) == {"n1": "failed", "n2": "failed", "n3": "failed", "n4": "done"}


async def test_ids_must_be_unique_and_an_unknown_tool_is_a_failure() -> None:
    with pytest.raises(PlanInvalid, match="same id"):
        await run(args(), {"id": "n1"})
    results = await run({"tool": "reed"}, args())
    assert results["n1"].failure is not None and "did you mean read" in results["n1"].failure.message
    assert results["n2"].ok


# --- failures ------------------------------------------------------------------------------------


async def test_one_failing_sibling_of_ten_costs_no_other() -> None:
    nodes = [args(sleep=0.02) for _ in range(9)]
    results = await run(args(fail="raise"), *nodes, {"args": {}, "after": ["n1"]})
    assert sum(result.ok for result in results.values()) == 9
    assert results["n1"].failure is not None and "RuntimeError: boom" in results["n1"].failure.message


async def test_dependents_of_a_failure_are_skipped_and_say_why() -> None:
    results = await run(args(fail="raise"), args(x=ref("n1")), {"after": ["n2"]}, args())
    assert statuses(results) == {"n1": "failed", "n2": "skipped", "n3": "skipped", "n4": "done"}
    for id in ("n2", "n3"):
        failure = results[id].failure
        assert failure is not None and failure.message.startswith("not run because n1 failed: read raised")


async def test_stop_starts_nothing_more_and_lets_what_runs_finish() -> None:
    results = await run(
        {**args(fail="raise", sleep=0.01), "policy": {"on_failure": "stop"}},
        args(sleep=0.05),
        args(x=ref("n2")),
    )
    assert statuses(results) == {"n1": "failed", "n2": "done", "n3": "cancelled"}
    assert results["n3"].failure is not None and "n1 failed" in results["n3"].failure.message


@pytest.mark.parametrize("status", ["waiting", "doubt"])
async def test_what_waits_for_a_person_holds_only_its_dependents(status: str) -> None:
    results = await run(args(status=status), args(x=ref("n1")), args(sleep=0.01), args(x=ref("n3")))
    assert statuses(results) == {"n1": status, "n2": "cancelled", "n3": "done", "n4": "done"}
    assert results["n2"].failure is not None and "n1" in results["n2"].failure.message
    assert results["n2"].failure.exit_code == 5


async def test_denied_isolates() -> None:
    results = await run(args(status="denied"), args(x=ref("n1")), args())
    assert statuses(results) == {"n1": "denied", "n2": "skipped", "n3": "done"}


async def test_spent_starts_nothing_more() -> None:
    yard = Yard()
    results = await run(args(sleep=0.03), args(status="spent"), args(), args(x=ref("n1")), yard=yard, concurrency=2)
    assert statuses(results) == {"n1": "done", "n2": "spent", "n3": "cancelled", "n4": "cancelled"}
    assert yard.starts == ["n1", "n2"]


async def test_a_retryable_failure_is_tried_again_with_its_attempt_number() -> None:
    events: list[Event] = []
    yard = Yard()
    results = await run(args(fail="retry"), yard=yard, events=events)
    assert results["n1"].ok and results["n1"].attempts == 2
    assert [step.attempt for step in yard.steps] == [1, 2]
    assert [event.attempt for event in events if isinstance(event, StepStarted)] == [1, 2]
    assert [event.status for event in events if isinstance(event, StepDone)] == ["failed", "done"]


async def test_retries_end_and_other_failures_are_not_tried_again() -> None:
    yard = Yard()
    nodes = [{**args(fail="retry", times=9), "policy": {"retries": 2}}, args(fail="raise")]
    results = await run(*nodes, yard=yard)
    assert statuses(results) == {"n1": "failed", "n2": "failed"}
    assert sorted(yard.starts) == ["n1", "n1", "n1", "n2"]
    assert results["n1"].attempts == 3


async def test_a_timeout_is_tried_again_for_a_read_and_never_for_an_effect() -> None:
    yard = Yard()
    slow = {**args(fail="hang"), "policy": {"timeout": 0.01}}
    results = await run(slow, {**slow, "tool": "write"}, yard=yard)
    assert sorted(yard.starts) == ["n1", "n1", "n2"]
    assert all(r.failure is not None and r.failure.code == "tool_timeout" for r in results.values())


async def test_a_failure_from_the_journal_counts_its_attempts() -> None:
    calls = []

    async def handle(step: Step, ctx: Ctx) -> StepResult:
        calls.append(step.attempt)
        failure = Failure(code="tool_retry", message="no", retryable=True)
        return StepResult(status="failed", failure=failure, attempts=2, replayed=True)

    await Scheduler(handle, context(), SPECS).run(plan(args()))
    assert calls == [1]


async def test_a_bad_path_fails_the_node_that_follows_it() -> None:
    results = await run(args(value={"a": 1}), args(x=ref("n1.b")), args(x=ref("n1.a")))
    assert statuses(results) == {"n1": "done", "n2": "failed", "n3": "done"}
    assert results["n2"].failure is not None and "'a'" in results["n2"].failure.message


# --- conditions and maps -------------------------------------------------------------------------


async def test_a_false_condition_skips_quietly_and_order_alone_goes_on() -> None:
    results = await run(
        args(value=0),
        {"when": ref("n1")},
        args(x=ref("n2")),
        {"after": ["n2"]},
        args(value=[1]),
        {"when": ref("n5")},
    )
    assert statuses(results) == {
        "n1": "done", "n2": "skipped", "n3": "skipped", "n4": "done", "n5": "done", "n6": "done",
    }  # fmt: skip
    assert all(result.failure is None for result in results.values())


async def test_a_map_runs_once_per_element_and_keeps_the_order() -> None:
    yard = Yard()
    events: list[Event] = []
    many = {"over": ref("n1.rows"), **args(value=ref("item.k"), sleep=ref("item.s"))}
    rows = [{"k": at, "s": random.Random(at).random() / 50} for at in range(9)]
    results = await run(
        args(value={"rows": rows}), many, args(value=ref("n2")), yard=yard, concurrency=3, events=events
    )
    assert results["n2"].value == results["n3"].value == list(range(9))
    assert sorted(yard.starts) == ["n1", *(f"n2[{at}]" for at in range(9)), "n3"]
    assert yard.most == 3
    done = [event.path for event in events if isinstance(event, StepDone)]
    assert done.index("n2") == 10 and "n2[8]" in done


async def test_an_empty_map_is_an_empty_list_and_a_map_over_no_list_fails() -> None:
    results = await run(args(value=[]), {"over": ref("n1")}, args(value="abc"), {"over": ref("n3")})
    assert results["n2"].ok and results["n2"].value == []
    assert results["n4"].status == "failed"


async def test_a_failed_element_keeps_the_others_values() -> None:
    results = await run(
        args(value=[None, "raise", None]), {"over": ref("n1"), **args(fail=ref("item"))}, args(x=ref("n2"))
    )
    assert statuses(results) == {"n1": "done", "n2": "failed", "n3": "skipped"}
    assert results["n2"].value == ["n2[0]", None, "n2[2]"]
    assert results["n2"].failure is not None and "1 of 3" in results["n2"].failure.message


async def test_a_map_cut_short_by_the_budget_is_spent_and_its_cost_counts_once() -> None:
    events: list[Event] = []

    async def handle(step: Step, ctx: Ctx) -> StepResult:
        if step.key.path == "n1":
            return StepResult(value=[1, 2, 3, 4])
        if step.key.path == "n2[2]":
            return StepResult(status="spent", failure=Failure(code="budget_spent", message="no money", exit_code=4))
        return StepResult(value=1, cost=Decimal(2), usage=Usage(prompt=5))

    scheduler = Scheduler(handle, context(concurrency=1, events=events), SPECS)
    results = await scheduler.run(plan(args(), {"over": ref("n1")}))
    assert results["n2"].status == "spent" and results["n2"].cost == 4
    assert results["n2"].failure is not None and results["n2"].failure.exit_code == 4
    assert sum(event.cost for event in events if isinstance(event, StepDone)) == 4


# --- cancelling ----------------------------------------------------------------------------------


async def test_cancelling_from_outside_keeps_what_had_finished() -> None:
    yard = Yard()
    scheduler = Scheduler(yard, context(), SPECS)
    began = time.monotonic()
    with anyio.move_on_after(0.1) as scope:
        await scheduler.run(plan(args(), args(sleep=30), args(x=ref("n1")), args(x=ref("n2"))))
    assert scope.cancelled_caught and time.monotonic() - began < 1
    assert statuses(scheduler.results) == {"n1": "done", "n3": "done"}
    assert yard.now == 0


async def test_an_error_between_offers_comes_out_as_it_is() -> None:
    yard = Yard()
    with pytest.raises(PlanInvalid):
        async with Scheduler(yard, context(), SPECS) as scheduler:
            scheduler.offer(plan(args(sleep=30)).nodes[0])
            await anyio.sleep(0.01)
            raise PlanInvalid(["bad"])
    assert yard.starts == ["n1"] and yard.now == 0


async def test_known_results_are_used_and_not_run_again() -> None:
    yard = Yard()
    known = {"n1": StepResult(value="old"), "n7": StepResult(value="earlier"), "n2": StepResult(status="waiting")}
    scheduler = Scheduler(yard, context(), SPECS, known=known)
    results = await scheduler.run(plan(args(), args(value=ref("n7")), args(value=ref("n1"))))
    assert sorted(yard.starts) == ["n2", "n3"]
    assert (results["n2"].value, results["n3"].value) == ("earlier", "old")
    assert set(results) == {"n1", "n2", "n3"}


# --- streaming -----------------------------------------------------------------------------------


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
    assert started == ["n1", "n2", "n3"] and set(done) == {"n1", "n2", "n3", "n4"}
    assert all(len(event.summary) <= 80 for event in done.values())
    assert done["n2"].summary.startswith("500 items")
    assert done["n3"].failure is not None and done["n4"].status == "skipped"
