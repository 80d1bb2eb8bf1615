"""Plans that run while they are written: what began is kept, what is repeated is not begun."""

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import TOYS, Ran, World, made, of_path, plans, run_plan
from yard import context, ref

from shuntyard.agents.early import Early
from shuntyard.planner.passes import optimise
from shuntyard.planner.schedule import Scheduler
from shuntyard.steps import Plan


def streamed(plan: Plan, *, breath: int = 2) -> tuple[Ran, Plan]:
    async def go() -> tuple[Ran, Plan]:
        world = World()
        scheduler = Scheduler(world, context(speculate=0), TOYS)
        specs = {spec.name: spec for spec in TOYS}
        early = Early(scheduler.offer, specs)
        with anyio.fail_after(20):
            async with scheduler:
                for node in plan.nodes:
                    early(node)
                    for _ in range(breath):
                        await anyio.lowlevel.checkpoint()
                done = optimise(plan, specs, begun=early.begun(plan))
                return Ran(await scheduler.finish(done.plan), world), done.plan

    return anyio.run(go)


@settings(deadline=None)
@given(plans(), st.integers(0, 4))
def test_a_plan_that_began_early_gives_the_same(plan: Plan, breath: int) -> None:
    plan = plan.model_copy(update={"answers": (), "origin": "model"})
    before = run_plan(plan)
    after, done = streamed(plan, breath=breath)
    for node in done.nodes:
        if node.id in before.results and node.args == plan.node(node.id).args:
            assert after.at(node.id) == before.at(node.id), node.id
    assert len(after.world.steps) <= len(before.world.steps)
    assert of_path(after.world.puts) == of_path(before.world.puts)


def test_a_repeated_line_is_not_begun_and_what_uses_it_is_not_begun_twice() -> None:
    get = {"tool": "get", "args": {"path": "a"}}
    plan = made(
        get, {"tool": "digest", "args": {"of": ref("n1")}}, get, {"tool": "digest", "args": {"of": [ref("n3")]}}
    )
    ran, done = streamed(plan)
    assert [node.id for node in done.nodes] == ["n1", "n2", "n4"]
    assert sorted(ran.world.starts) == ["n1", "n2", "n4"]


def test_a_repeated_line_is_merged_before_its_wait_is_taken_away() -> None:
    once = {"tool": "digest", "args": {"of": 1}, "after": ["n1"]}
    plan = made({"tool": "toss"}, once, once, {"tool": "digest", "args": {"of": ref("n3")}})
    ran, done = streamed(plan)
    assert [node.id for node in done.nodes] == ["n1", "n2", "n4"]
    assert len(ran.world.steps) == 3


def test_what_began_is_not_batched_afterwards() -> None:
    plan = made(*({"tool": "price", "args": {"item": item}} for item in ("x", "yy")))
    ran, done = streamed(plan)
    assert sorted(ran.world.starts) == ["n1", "n2"] and len(done.nodes) == 2


def test_a_line_that_was_mended_after_it_began_may_be_merged() -> None:
    plan = made({"tool": "get", "args": {"path": "a"}}, {"tool": "get", "args": {"path": "b"}})
    specs = {spec.name: spec for spec in TOYS}
    early = Early(lambda node: None, specs)
    for node in plan.nodes:
        early(node)
    assert early.begun(plan) == {"n1", "n2"}
    mended = plan.model_copy(
        update={"nodes": (plan.nodes[0], plan.nodes[1].model_copy(update={"args": {"path": "a"}}))}
    )
    assert early.begun(mended) == {"n1"}
    assert [node.id for node in optimise(mended, specs, begun=early.begun(mended)).plan.nodes] == ["n1"]


def test_nothing_is_merged_into_what_an_earlier_revision_found() -> None:
    get = {"tool": "get", "args": {"path": "a"}}
    plan = made(get, get, get)
    done = optimise(plan, TOYS, finished=["n1"])
    assert [node.id for node in done.plan.nodes] == ["n1", "n2"]
    assert done.trace.renamed == {"n3": "n2"}
