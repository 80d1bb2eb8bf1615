"""Which ready call is next, in virtual time: the one with the longest path behind it."""

import random
import time
from collections.abc import Sequence

import anyio
import pytest
import virtual
from hypothesis import given, settings
from hypothesis import strategies as st
from yard import args, context, dags, plan, ref

from shuntyard.planner.dag import critical_path
from shuntyard.planner.frontier import Frontier
from shuntyard.planner.predict import estimate
from shuntyard.planner.schedule import Scheduler
from shuntyard.protocols import Ctx
from shuntyard.steps import Node, Plan, Step, StepResult, ToolSpec

SECONDS = {f"t{ten}": ten / 10 for ten in (1, 2, 3, 5, 8)}


def specs(*, blind: bool = False) -> dict[str, ToolSpec]:
    """Tools that take what they say; ``blind`` ones say nothing, so that only the written order is left."""
    schema = {"type": "object", "properties": {}}
    return {
        name: ToolSpec(name=name, description="", parameters=schema, seconds=0 if blind else seconds)
        for name, seconds in SECONDS.items()
    }


def makespan(whole: Plan, workers: int, *, blind: bool = False) -> tuple[float, list[str]]:
    starts: list[str] = []

    async def handle(step: Step, ctx: Ctx) -> StepResult:
        starts.append(step.key.path)
        await anyio.sleep(SECONDS[step.name])
        return StepResult(value=1)

    async def go() -> float:
        results = await Scheduler(handle, context(concurrency=workers), specs(blind=blind)).run(whole)
        assert all(result.ok for result in results.values())
        return anyio.current_time()

    return virtual.run(go), starts


def short_ones_before_a_chain() -> Plan:
    short = [{"tool": "t8"} for _ in range(4)]
    chain = [{"tool": "t8", "after": [f"n{at + 3}"] if at > 1 else []} for at in range(1, 5)]
    return plan(*short, *chain)


def test_a_chain_written_last_starts_first_and_beats_first_come_first_served() -> None:
    critical, order = makespan(short_ones_before_a_chain(), 2)
    blind, written = makespan(short_ones_before_a_chain(), 2, blind=True)
    assert order[0] == "n5" and written[:2] == ["n1", "n2"]
    assert critical == pytest.approx(3.2)  # the chain itself: no schedule is faster
    assert blind == pytest.approx(4.8)
    assert estimate(short_ones_before_a_chain(), specs(), 2).makespan == pytest.approx(critical)


@settings(max_examples=100, deadline=None)
@given(dags(), st.integers(1, 5), st.randoms(use_true_random=False))
def test_never_beyond_grahams_bound(dag: Plan, workers: int, chance: random.Random) -> None:
    nodes = [node.model_copy(update={"tool": chance.choice(list(SECONDS))}) for node in dag.nodes]
    whole = Plan(task="t", nodes=tuple(nodes))
    each = {node.id: SECONDS[node.tool] for node in nodes}
    span = critical_path(whole, each)[1]
    took, _ = makespan(whole, workers)
    assert span - 1e-6 <= took <= sum(each.values()) / workers + span * (1 - 1 / workers) + 1e-6


def test_on_random_plans_it_is_faster_than_the_written_order() -> None:
    chance = random.Random(7)
    faster = slower = 0
    for _ in range(60):
        nodes: list[dict[str, object]] = []
        for at in range(30):
            before = [f"n{one + 1}" for one in range(max(0, at - 8), at)]
            nodes.append(
                {
                    "tool": chance.choice(list(SECONDS)),
                    "after": chance.sample(before, k=min(len(before), chance.randint(0, 2))),
                }
            )
        whole = plan(*nodes)
        critical, blind = makespan(whole, 2)[0], makespan(whole, 2, blind=True)[0]
        faster, slower = faster + (critical < blind - 1e-6), slower + (critical > blind + 1e-6)
    assert faster > 3 * slower


# --- while the plan is written -------------------------------------------------------------------


def tails(frontier: Frontier, nodes: Sequence[Node]) -> dict[str, float]:
    return {node.id: round(frontier.tail(node.id), 6) for node in nodes}


@settings(max_examples=100, deadline=None)
@given(dags(), st.data())
def test_paths_are_the_same_whether_nodes_come_one_by_one_or_at_once(dag: Plan, data: st.DataObject) -> None:
    tool = st.sampled_from(list(SECONDS))
    nodes = [node.model_copy(update={"tool": data.draw(tool)}) for node in dag.nodes]
    whole, streamed, shuffled = Frontier(specs()), Frontier(specs()), Frontier(specs())
    for node in nodes:
        whole.add(node, ())
    whole.measure()
    for node in nodes:
        streamed.add(node, ())
        streamed.lengthen(node.id)
    assert tails(whole, nodes) == tails(streamed, nodes)
    for node in data.draw(st.permutations(nodes)):
        shuffled.add(node, ())
        shuffled.lengthen(node.id)
    assert tails(whole, nodes) == tails(shuffled, nodes)


def test_a_line_that_makes_a_waiting_call_urgent_moves_it_ahead() -> None:
    starts: list[str] = []

    async def handle(step: Step, ctx: Ctx) -> StepResult:
        starts.append(step.key.path)
        await anyio.sleep(SECONDS[step.name])
        return StepResult(value=1)

    whole = plan({"tool": "t8"}, {"tool": "t1"}, {"tool": "t1"}, {"tool": "t5", "args": {"x": ref("n3")}})

    async def go() -> None:
        async with Scheduler(handle, context(concurrency=1), specs()) as scheduler:
            for node in whole.nodes:
                scheduler.offer(node)
                await anyio.sleep(0.1)
            await scheduler.finish(whole)

    virtual.run(go)
    assert starts == ["n1", "n3", "n4", "n2"]


def test_a_circle_of_nodes_ends_the_telling() -> None:
    frontier = Frontier(specs())
    for node in plan({"tool": "t1", "after": ["n2"]}, {"tool": "t1", "after": ["n1"]}).nodes:
        frontier.add(node, ())
        frontier.lengthen(node.id)
    frontier.measure()


def test_a_chain_written_line_by_line_costs_a_constant_per_line() -> None:
    def seconds(size: int) -> float:
        nodes = plan(*({"tool": "t1", **args(x=ref(f"n{at}"))} if at else {"tool": "t1"} for at in range(size))).nodes
        frontier, start = Frontier(specs()), time.process_time()
        for node in nodes:
            frontier.add(node, ())
            frontier.lengthen(node.id)
        frontier.measure()
        assert frontier.tail("n1") == pytest.approx(0.1 * (size - 1))
        return (time.process_time() - start) / size

    assert min(seconds(8000) for _ in range(2)) < 4 * min(seconds(500) for _ in range(2))
