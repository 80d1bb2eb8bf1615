import random
import sys
import time
from collections.abc import Callable
from decimal import Decimal

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yard import SPECS, Adding, Yard, args, context, dags, plan, ref, run, sequential, statuses

from shuntyard.errors import PlanInvalid
from shuntyard.events import Event, StepDone, StepStarted
from shuntyard.messages import Usage
from shuntyard.planner.schedule import Scheduler
from shuntyard.planner.values import parents
from shuntyard.protocols import Ctx
from shuntyard.steps import Effect, Failure, Label, Plan, Step, StepKey, StepResult

pytestmark = pytest.mark.anyio


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

    async def calls(size: int, shape: Callable[[int], int]) -> int:
        """Calls of Python functions: the work, however busy the machine is."""
        big = plan(*(args(x=ref(f"n{shape(at)}")) if at else args() for at in range(size)))
        count = 0

        def called(frame: object, event: str, arg: object) -> None:
            nonlocal count
            count += event == "call"

        before = sys.getprofile()
        sys.setprofile(called)
        try:
            results = await Scheduler(handle, context(), SPECS).run(big)
        finally:
            sys.setprofile(before)
        assert len(results) == size and all(result.ok for result in results.values())
        return count

    chain = [await calls(size, lambda at: at) for size in (1_000, 10_000)]
    fan = [await calls(size, lambda at: 1) for size in (1_000, 10_000)]
    assert chain[1] < 11 * chain[0] and fan[1] < 11 * fan[0]
    assert max(chain[1], fan[1]) < 10_000 * 200


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
