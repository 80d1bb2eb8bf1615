"""Bodies, bounded loops and early ends: the same as a naive interpreter, barrier-free, within every limit."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import anyio
import pytest
import virtual
from hypothesis import given, settings
from hypothesis import strategies as st
from shaped import SPECS, Naive, Seen, World, looped, mapped, shaped
from yard import SPECS as YARD
from yard import Yard, args, context, plan, ref

from shuntyard.events import Event, StepDone
from shuntyard.memory.journal import SqlJournal, recorded
from shuntyard.memory.runs import Runs
from shuntyard.memory.store import Store
from shuntyard.planner.passes import optimise
from shuntyard.planner.schedule import Scheduler
from shuntyard.planner.validate import complete, problems
from shuntyard.protocols import Ctx
from shuntyard.steps import Effect, Limits, Plan, Step, StepResult, ToolSpec

pytestmark = pytest.mark.anyio


def seen(result: StepResult) -> Seen:
    if result.status == "skipped":
        return Seen("skipped" if result.failure is None else "lost")
    return Seen(result.status, result.value if result.ok else None)


def whole(naive: Mapping[str, Seen]) -> dict[str, Seen]:
    return {id: each if each.status == "done" else Seen(each.status) for id, each in naive.items()}


def played(made: Plan, world: World, *, concurrency: int = 4) -> tuple[dict[str, StepResult], list[Event]]:
    events: list[Event] = []

    async def go() -> dict[str, StepResult]:
        with anyio.fail_after(1000):
            return await Scheduler(world, context(concurrency=concurrency, events=events), SPECS).run(made)

    return virtual.run(go), events


@settings(max_examples=25, deadline=None)
@given(made=shaped(), concurrency=st.sampled_from([1, 2, 5]), slow=st.sampled_from([0.0, 1.0]))
def test_a_shaped_plan_gives_what_a_naive_interpreter_gives(made: Plan, concurrency: int, slow: float) -> None:
    assert problems(made, SPECS) == []
    naive = Naive()
    expected = whole(naive.run(made))
    world = World(slow=slow)
    results, events = played(made, world, concurrency=concurrency)
    assert {id: seen(result) for id, result in results.items()} == expected
    assert world.most <= concurrency
    assert max(world.made.values(), default=1) == 1, "a path was called twice"
    # What ran ahead and was not needed is a read; all that the plan asks for was called.
    failed = {path for path in naive.made if path not in world.made}
    assert set(world.puts) == {path for path in naive.made if by_id(made, path) == "put"}
    assert all(by_id(made, path) == "weak" for path in failed)
    ended = Counter(event.path for event in events if isinstance(event, StepDone))
    assert max(ended.values(), default=1) == 1, "a path was told of twice"


def by_id(made: Plan, path: str) -> str:
    return made.node(path.rpartition(".")[2].partition("[")[0]).tool


@settings(max_examples=15, deadline=None)
@given(made=shaped(ends=True), concurrency=st.sampled_from([1, 2, 5]), slow=st.sampled_from([0.0, 1.0]))
def test_an_early_end_skips_what_is_behind_it_and_lets_no_effect_through(
    made: Plan, concurrency: int, slow: float
) -> None:
    naive = Naive()
    expected = whole(naive.run(made))
    world = World(slow=slow)
    results, _ = played(made, world, concurrency=concurrency)
    at = next(at for at, node in enumerate(made.nodes) if node.ends)
    ended = results[made.nodes[at].id].ok
    for place, node in enumerate(made.nodes):
        if place <= at or not ended:
            assert seen(results[node.id]) == expected[node.id]
        else:
            # A read may have run ahead; whatever came of it is kept.
            assert results[node.id].status == "skipped" or node.effect == "read"
    assert set(world.puts) == {path for path in naive.made if by_id(made, path) == "put"}


@settings(max_examples=30, deadline=None)
@given(made=shaped(ends=True), after=st.integers(0, 40), concurrency=st.sampled_from([1, 3]))
def test_killed_anywhere_a_resume_completes_and_repeats_no_finished_call(
    tmp_path_factory: pytest.TempPathFactory, made: Plan, after: int, concurrency: int
) -> None:
    store = Store.open(tmp_path_factory.mktemp("killed"))
    run = Runs(store).start("t")
    world = Mortal(after)

    async def life(heart: Any) -> dict[str, StepResult]:
        ctx = context(concurrency=concurrency)
        ctx.run = run
        return await Scheduler(recorded(SqlJournal(store), run)(heart), ctx, SPECS).run(made)

    async def killed() -> None:
        with anyio.CancelScope() as scope:
            world.die = scope.cancel
            await life(world)

    virtual.run(killed)
    before = Counter(world.finished)
    survivor = World(slow=1.0)
    results = virtual.run(lambda: life(survivor))
    store.close()
    naive = Naive()
    expected = whole(naive.run(made))
    at = next(at for at, node in enumerate(made.nodes) if node.ends)
    ended = results[made.nodes[at].id].ok
    for place, node in enumerate(made.nodes):
        if place <= at or not ended:
            assert seen(results[node.id]) == expected[node.id]
    assert not set(before) & set(survivor.made), "a finished call was made again"
    puts = {path for path in naive.made if by_id(made, path) == "put"}
    assert {path for path in (*before, *survivor.puts) if by_id(made, path) == "put"} == puts


class Mortal(World):
    """Cancels its run when so many calls have come back, as a kill leaves what is on record by then."""

    def __init__(self, after: int) -> None:
        super().__init__(slow=1.0)
        self.finished: Counter[str] = Counter()
        self.die: Any = None
        self._after = after

    async def __call__(self, step: Step, ctx: Ctx) -> StepResult:
        # An effect that is caught in the middle is in doubt, which other tests see to.
        with anyio.CancelScope(shield=step.effect != "read"):
            result = await super().__call__(step, ctx)
        self.finished[step.key.path] += 1
        self._after -= 1
        if self._after == 0:
            self.die()
        return result


PURE = [spec.model_copy(update={"stability": "pure" if spec.effect == "read" else "fresh"}) for spec in SPECS]


@settings(max_examples=40, deadline=None)
@given(made=st.booleans().flatmap(lambda ends: shaped(ends=ends, twins=True)), named=st.booleans())
def test_passes_leave_the_results_of_a_shaped_plan_as_they_are(made: Plan, named: bool) -> None:
    made = made.model_copy(update={"answers": (made.nodes[0].id,) if named else ()})
    better, trace = optimise(made, PURE)
    assert problems(better, PURE) == [] and optimise(better, PURE).plan == better
    naive = Naive()
    expected = whole(naive.run(made))
    world = World()
    results, _ = played(better, world)
    ended = [at for at, node in enumerate(made.nodes) if node.ends and expected[node.id].status == "done"]
    for node in made.nodes[: ended[0] + 1] if ended else made.nodes:
        place = trace.renamed.get(node.id, node.id)
        if place in results:
            assert seen(results[place]) == expected[node.id]
    assert set(world.puts) == {path for path in naive.made if by_id(made, path) == "put"}
    after = Naive()
    after.run(better)
    assert after.made <= naive.made, "a pass made a call"


def test_effects_in_a_body_keep_their_order_on_one_file() -> None:
    schema = {"type": "object", "properties": {"path": {}, "x": {}}}
    spec = ToolSpec(name="write", description="", parameters=schema, effect=Effect.WRITE, paths=("path",))
    put = {"tool": "write", **args(path="a.txt")}
    made = optimise(complete(plan(put, looped(put, put, most=2), put), [spec]), [spec]).plan
    assert [node.after for node in made.every()] == [(), ("n1",), (), ("n11",), ("n2",)]


# --- one at a time -------------------------------------------------------------------------------


async def run(*nodes: dict[str, Any], yard: Any = None, limits: Limits | None = None) -> dict[str, StepResult]:
    ctx = context()
    ctx.limits = limits or Limits()
    with anyio.fail_after(10_000):
        return await Scheduler(yard or Yard(), ctx, YARD).run(plan(*nodes))


def in_time(*nodes: dict[str, Any], yard: Any = None, limits: Limits | None = None) -> dict[str, StepResult]:
    return virtual.run(lambda: run(*nodes, yard=yard, limits=limits))


def test_an_element_does_not_wait_for_the_others() -> None:
    yard = Yard()
    in_time(
        args(value=[5, 0]),
        mapped(args(sleep=ref("item")), args(value=[ref("n11"), ref("item")], sleep=1)),
        yard=yard,
    )
    assert yard.ends == ["n1", "n2[1].n11", "n2[1].n12", "n2[0].n11", "n2[0].n12"]


class Reckoner(Yard):
    """A yard whose calls can add and compare."""

    async def act(self, step: Step) -> Any:
        if "add" in step.args:
            return sum(step.args["add"])
        return step.args["least"] <= step.args["of"] if "least" in step.args else await super().act(step)


COUNTING = (args(add=[ref("last"), 10]), args(of=ref("n11"), least=35))


def test_a_loop_carries_its_value_and_ends_with_its_condition() -> None:
    yard = Reckoner()
    loop = looped(*COUNTING, most=9, start=ref("n1"), until=ref("n12"), result=ref("n11"))
    results = in_time(args(value=5), loop, args(value=ref("n2")), yard=yard)
    assert results["n2"].value == results["n3"].value == 35
    assert yard.starts == ["n1", *(f"n2[{at}].{id}" for at in range(3) for id in ("n11", "n12")), "n3"]


@pytest.mark.parametrize(("unmet", "status"), [("fail", "failed"), ("keep", "done")])
def test_a_loop_never_goes_round_more_often_than_its_bound(unmet: str, status: str) -> None:
    loop = looped(*COUNTING, most=2, start=0, until=ref("n12"), result=ref("n11"), unmet=unmet)
    result = in_time(loop, yard=Reckoner())["n1"]
    assert (result.status, result.value) == (status, 20)
    assert (
        result.failure is None or "'n12' was not true in any of 2 turns; set a larger 'most'" in result.failure.message
    )


def test_a_poll_waits_between_turns_and_takes_no_worker_meanwhile() -> None:
    yard = Reckoner()
    poll = looped(
        args(add=[ref("last"), 1]),
        args(of=ref("n11"), least=3),
        most=9,
        start=0,
        until=ref("n12"),
        pause=60,
        result=ref("n11"),
    )
    other = args(sleep=90)
    results = in_time(poll, other, yard=yard, limits=Limits(concurrency=1))
    assert results["n1"].ok
    assert yard.starts.index("n2") < yard.starts.index("n1[1].n11"), "the pause kept the only worker"


def test_paused_elements_leave_room_for_others() -> None:
    poll = {"id": "n21", **looped(args(value=ref("item")), most=2, until=ref("n11"), pause=100)}
    poll["body"]["nodes"][0]["id"] = "n22"
    poll["body"]["until"] = ref("n22")
    yard = Yard()
    began: list[str] = yard.starts
    outer = {"tool": "", "over": ref("n1"), "body": {"nodes": [poll]}}

    async def go() -> None:
        with anyio.move_on_after(50):
            await run(args(value=[0, 0, 0]), outer, yard=yard, limits=Limits(concurrency=1))

    virtual.run(go)
    assert began == ["n1", *(f"n2[{at}].n21[0].n22" for at in range(3))]


def test_a_list_ends_with_the_first_that_will_do_in_its_own_order() -> None:
    yard = Reckoner()
    calls = args(value=ref("item"), sleep=ref("item")), args(of=ref("n11"), least=7)
    found = in_time(
        args(value=[3, 1, 7, 1, 1, 9]),
        mapped(*calls, until=ref("n12"), result=ref("n11")),
        yard=yard,
        limits=Limits(concurrency=4),
    )["n2"]
    assert found.value == [3, 1, 7]
    assert "n2[5].n11" not in yard.ends, "what was not needed was run to its end"
    assert len(yard.starts) < 1 + 2 * 6


def test_a_poll_that_nothing_needs_any_more_is_not_waited_for() -> None:
    class Clock(Yard):
        async def act(self, step: Step) -> Any:
            return anyio.current_time() if "now" in step.args else await super().act(step)

    # The first element is found after a second; the second one would poll for an hour.
    poll = {"id": "n21", "tool": "", "body": {"nodes": [{"id": "n22", "tool": "read", **args(value=ref("item"))}]}}
    poll["body"] |= {"most": 9, "until": ref("n22"), "pause": 3600}
    made = mapped(args(sleep=1), result=ref("n11"), until=ref("n11"))
    made["body"]["nodes"] = [poll, *made["body"]["nodes"]]
    results = in_time(args(value=[1, 0, 0]), made, {**args(now=True), "after": ["n2"]}, yard=Clock())
    assert len(results["n2"].value) == 1
    assert results["n3"].value < 3000


def test_enough_may_be_more_than_one() -> None:
    made = mapped(args(value=ref("item")), until=ref("n11"), enough=2)
    assert in_time(args(value=[0, 1, 0, 1, 1]), made)["n2"].value == [0, 1, 0, 1]


def test_effects_of_a_list_that_may_end_are_made_one_by_one() -> None:
    yard = Yard()
    made = mapped({"tool": "write", **args(value=ref("item"))}, until=ref("n11"))
    assert in_time(args(value=[0, 0, 5, 6]), made, yard=yard)["n2"].value == [0, 0, 5]
    assert yard.starts == ["n1", "n2[0].n11", "n2[1].n11", "n2[2].n11"]


def test_a_failed_element_is_named_and_the_others_keep_their_values() -> None:
    calls = args(value=ref("item")), args(fail=ref("n11"), value=7)
    result = in_time(args(value=[0, "raise", 0]), mapped(*calls))["n2"]
    assert (result.status, result.value) == ("failed", [7, None, 7])
    assert result.failure is not None
    assert result.failure.message == "1 of 3 elements did not succeed; n2[1].n12: read raised RuntimeError: boom"


def test_a_substitute_stands_for_one_turn() -> None:
    made = mapped(args(fail=ref("item"))) | {"policy": {"on_failure": "substitute", "substitute": "-"}}
    result = in_time(args(value=["no", "raise"]), made)["n2"]
    assert (result.status, result.value) == ("done", ["n2[0].n11", "-"])


def test_a_question_inside_leaves_the_node_waiting() -> None:
    made = mapped({**args(fail=ref("item")), "policy": {"on_failure": "ask"}})
    result = in_time(args(value=["no", "raise"]), made, args(x=ref("n2")))
    assert {id: each.status for id, each in result.items()} == {"n1": "done", "n2": "waiting", "n3": "cancelled"}
    assert result["n2"].failure is not None and "--assume n2[1].n11=failed" in result["n2"].failure.message


def test_calls_of_bodies_count_against_the_limit_and_nothing_finished_is_lost() -> None:
    made = mapped(args(value=ref("item")), args(value=ref("n11")))
    results = in_time(args(value=[1, 2, 3]), made, args(x=ref("n2")), limits=Limits(max_nodes=4, concurrency=1))
    assert (results["n2"].status, results["n2"].value) == ("spent", [1, 2, None])
    failure = results["n2"].failure
    assert failure is not None and failure.exit_code == 4
    assert "n2[2].n11" in failure.message and "max_nodes = 4" in failure.message and "--max-nodes" in failure.message
    assert results["n3"].status == "cancelled"


def test_a_map_that_is_too_long_makes_no_call() -> None:
    yard = Yard()
    results = in_time(
        args(value=[1, 2, 3]), {"over": ref("n1"), **args(x=ref("item"))}, yard=yard, limits=Limits(max_nodes=2)
    )
    assert results["n2"].status == "spent" and yard.starts == ["n1"]


def test_limits_of_a_tool_hold_inside_bodies() -> None:
    yard = Yard()
    limits = Limits(concurrency=8, at_once={"read": 2})
    in_time(args(value=list(range(6))), mapped(args(sleep=1), args(sleep=1)), yard=yard, limits=limits)
    assert yard.most == 2


def test_labels_go_through_bodies() -> None:
    result = in_time(args(value=[1]), mapped(args(value=ref("item")), result={"of": ref("n11")}))["n2"]
    assert result.value == [{"of": 1}] and result.label.tools == ("read",) and not result.label.trusted


def test_the_plan_ends_where_it_says() -> None:
    yard = Yard()
    nodes = [
        args(value=1),
        {"tool": "", "when": ref("n1"), "body": {"result": ref("n1"), "ends": True}},
        {**args(sleep=5), "after": ["n1"]},
        args(x=ref("n3")),
    ]
    results = in_time(*nodes, yard=yard, limits=Limits(concurrency=1))
    assert results["n2"].value == 1 and yard.starts == ["n1"]
    for id in ("n3", "n4"):
        assert results[id].status == "skipped" and results[id].failure is None
        assert results[id].value == "not run because the plan ended with n2"
    results = in_time(args(value=0), *nodes[1:], yard=yard)
    assert [result.status for _, result in sorted(results.items())] == ["done", "skipped", "done", "done"]
