"""Predictions: what adds up, what bounds what, and what the real scheduler takes on a clock that jumps."""

from decimal import Decimal
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jumping import timed
from yard import context, ref

from shuntyard.planner.dag import critical_path
from shuntyard.planner.predict import HIGH, LIKELY, LOW, Assumed, estimate
from shuntyard.planner.schedule import Scheduler
from shuntyard.protocols import Ctx
from shuntyard.steps import Plan, Step, StepResult, ToolSpec

SPECS = [
    ToolSpec(name="fast", description="", parameters={}, seconds=1.0),
    ToolSpec(name="slow", description="", parameters={}, seconds=5.0, cost=Decimal("0.5")),
]
SECONDS = {spec.name: spec.seconds for spec in SPECS}


def plan(*nodes: dict[str, Any]) -> Plan:
    return Plan.model_validate({"task": "t", "nodes": [{"id": f"n{at + 1}", **node} for at, node in enumerate(nodes)]})


def call(tool: str, *used: str, **more: Any) -> dict[str, Any]:
    return {"tool": tool, "args": {"x": [ref(id) for id in used]}, **more}


DIAMOND = plan(call("fast"), call("slow", "n1"), call("fast", "n1"), call("fast", "n2", "n3"))


@st.composite
def dags(draw: st.DrawFn) -> Plan:
    nodes = []
    for at in range(draw(st.integers(1, 14))):
        earlier = [f"n{i + 1}" for i in range(at)]
        node = call(
            draw(st.sampled_from(["fast", "slow"])),
            *(draw(st.lists(st.sampled_from(earlier), max_size=3, unique=True)) if earlier else []),
        )
        if earlier and draw(st.integers(0, 4)) == 0:
            node["over"] = ref(draw(st.sampled_from(earlier)))
        if earlier and draw(st.integers(0, 4)) == 0:
            node["when"] = ref(draw(st.sampled_from(earlier)))
        nodes.append(node)
    return plan(*nodes)


async def timely(step: Step, ctx: Ctx) -> StepResult:
    await anyio.sleep(SECONDS[step.name])
    return StepResult(value=[1] * LIKELY.elements)


def test_an_estimate_adds_up() -> None:
    free = estimate(DIAMOND, SPECS, 16)
    assert (free.work, free.span, free.makespan, free.cost, free.calls) == (8, 7, 7, Decimal("0.5"), 4)
    alone = estimate(DIAMOND, SPECS, 1)
    assert alone.makespan == alone.lower == alone.upper == 8


def test_nothing_takes_nothing() -> None:
    none = estimate(Plan(task="t", nodes=()), SPECS, 4)
    assert (none.work, none.span, none.makespan, none.calls, none.lower, none.upper) == (0, 0, 0, 0, 0, 0)


def test_a_map_is_as_many_calls_as_its_list_is_assumed_long() -> None:
    mapped = plan(call("fast"), {"tool": "slow", "over": ref("n1")})
    guess = estimate(mapped, SPECS, 16)
    assert (guess.calls, guess.makespan, guess.cost) == (6, 6, 5 * Decimal("0.5"))
    assert estimate(mapped, SPECS, 2).makespan == 1 + 3 * 5
    assert estimate(mapped, SPECS, 16, Assumed(elements=0)).makespan == 1


def test_conditions_hold_or_take_what_uses_them_along() -> None:
    gated = plan(call("fast"), call("slow", when=ref("n1")), call("slow", "n2"), call("fast", after=["n2"]))
    assert estimate(gated, SPECS, 16).calls == 4
    low = estimate(gated, SPECS, 16, Assumed(elements=5, holds=False))
    assert (low.calls, low.makespan, low.cost) == (2, 2, Decimal(0))


def test_retries_and_pace_are_in_the_high_guess() -> None:
    twice = estimate(plan(call("fast", policy={"retries": 2})), SPECS, 1, Assumed(elements=1, pace=2, retries=True))
    assert (twice.calls, twice.makespan) == (3, 6)


def test_the_longest_way_to_the_end_is_a_priority() -> None:
    # First come first served would begin with the two short ones and end at 7.
    late = plan(call("fast"), call("fast"), call("slow"), call("fast"))
    assert estimate(late, SPECS, 2).makespan == 5


@settings(deadline=None)
@given(dags(), st.integers(1, 5))
def test_bounds_hold(dag: Plan, workers: int) -> None:
    guess = estimate(dag, SPECS, workers)
    assert guess.span <= guess.makespan <= guess.work + 1e-9
    assert guess.lower - 1e-9 <= guess.makespan <= guess.upper + 1e-9
    single = {node.id: SECONDS[node.tool] for node in dag.nodes}
    assert guess.span == pytest.approx(critical_path(dag, single)[1])


@given(dags(), st.integers(1, 5))
def test_low_is_below_likely_and_likely_below_high(dag: Plan, workers: int) -> None:
    low, likely, high = (estimate(dag, SPECS, workers, assumed) for assumed in (LOW, LIKELY, HIGH))
    assert low.makespan <= likely.makespan <= high.makespan
    assert low.calls <= likely.calls <= high.calls and low.cost <= likely.cost <= high.cost


@settings(deadline=None)
@given(dags(), st.integers(1, 5))
def test_the_real_scheduler_stays_within_the_bounds(dag: Plan, workers: int) -> None:
    async def go() -> dict[str, StepResult]:
        return await Scheduler(timely, context(concurrency=workers), SPECS).run(dag)

    results, took = timed(go)
    assert all(result.ok for result in results.values())
    guess = estimate(dag, SPECS, workers)
    assert guess.lower - 1e-6 <= took <= guess.upper + 1e-6
    if workers == 1:
        assert took == pytest.approx(guess.makespan)


@settings(deadline=None)
@given(dags())
def test_with_workers_enough_the_prediction_is_exact(dag: Plan) -> None:
    async def go() -> dict[str, StepResult]:
        return await Scheduler(timely, context(concurrency=200), SPECS).run(dag)

    assert timed(go)[1] == pytest.approx(estimate(dag, SPECS, 200).makespan)
