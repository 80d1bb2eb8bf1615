"""Random plans over real tools through the real scheduler, before and after the passes."""

from hypothesis import given, settings
from hypothesis import strategies as st
from toys import TOYS, of_path, plans, run_plan

from shuntyard.planner.passes import Trace, optimise
from shuntyard.planner.passes.merge import MERGE
from shuntyard.planner.validate import problems
from shuntyard.planner.values import ends, parse_ref
from shuntyard.steps import Plan


def lost(trace: Trace) -> set[str]:
    """Ids that were removed, and those that were merged into such."""
    gone = {change.node for change in trace.changes if change.kind == "removed"}
    into = {change.node: parse_ref(change.into).head for change in trace.changes if change.into}
    for id in into:
        at = id
        while at not in gone and into.get(at, at) != at:
            at = into[at]
        gone |= {id} if at in gone else set()
    return gone


@settings(deadline=None, max_examples=300)
@given(plans(), st.integers(1, 4))
def test_every_result_that_stays_is_the_same(plan: Plan, concurrency: int) -> None:
    done = optimise(plan, TOYS)
    before, after = run_plan(plan, concurrency=concurrency), run_plan(done.plan, concurrency=concurrency)
    gone = lost(done.trace)
    for id in before.results:
        if id not in gone:
            assert after.at(done.trace.renamed.get(id, id)) == before.at(id), id
    assert of_path(after.world.puts) == of_path(before.world.puts)
    assert len(after.world.steps) <= len(before.world.steps)


@settings(deadline=None)
@given(plans(races=True))
def test_effects_on_one_path_keep_their_written_order(plan: Plan) -> None:
    done = optimise(plan, TOYS).plan
    ran = run_plan(done)
    written = {node.id: str(node.args["path"]) for node in done.nodes if node.tool == "put"}
    for path in set(written.values()):
        order = [id for id in ran.world.ends if written.get(id) == path]
        assert order == [id for id in written if id in order and written[id] == path]


@given(plans(races=True))
def test_what_comes_out_is_a_valid_plan_that_stays_as_it_is(plan: Plan) -> None:
    once = optimise(plan, TOYS)
    assert problems(once.plan, TOYS) == []
    again = optimise(once.plan, TOYS)
    assert again.plan == once.plan
    assert again.trace.changes == () and again.trace.renamed == {}


@given(plans(races=True))
def test_ids_stay_and_every_one_that_is_gone_is_accounted_for(plan: Plan) -> None:
    done = optimise(plan, TOYS)
    ids = [node.id for node in plan.nodes]
    left = [node.id for node in done.plan.nodes]
    assert left == [id for id in ids if id in left]
    gone = lost(done.trace)
    for id in set(ids) - set(left):
        assert id in gone or parse_ref(done.trace.renamed[id]).head in left
    places = {parse_ref(done.trace.renamed.get(node.id, node.id)).head for node in ends(plan)}
    effects = [node.id for node in plan.nodes if node.effect != "read"]
    # An effect whose only user was left out is an end of the plan from then on.
    assert places - gone <= {node.id for node in ends(done.plan)} <= places - gone | set(effects)
    assert [node.id for node in done.plan.nodes if node.effect != "read"] == effects


@given(plans(races=True), st.data())
def test_calls_that_have_begun_stay(plan: Plan, data: st.DataObject) -> None:
    begun = data.draw(st.sets(st.sampled_from([node.id for node in plan.nodes])))
    done = optimise(plan, TOYS, begun=begun).plan
    assert begun <= {node.id for node in done.nodes}
    for id in begun:
        assert (done.node(id).tool, done.node(id).policy) == (plan.node(id).tool, plan.node(id).policy)


@given(plans(races=True), st.data())
def test_merging_is_the_same_for_a_plan_that_is_still_being_written(plan: Plan, data: st.DataObject) -> None:
    size = data.draw(st.integers(0, len(plan.nodes)))
    begin = plan.model_copy(update={"nodes": plan.nodes[:size], "answers": ()})
    part = optimise(begin, TOYS, passes=(MERGE,)).plan
    whole = optimise(plan, TOYS, passes=(MERGE,)).plan
    assert whole.nodes[: len(part.nodes)] == part.nodes
