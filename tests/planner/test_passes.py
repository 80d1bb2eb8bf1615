"""Each pass by itself, and the traps of each."""

import pytest
from toys import TOYS, made, run_plan
from yard import ref

from shuntyard.errors import UsageError
from shuntyard.planner.build import PlanBuilder
from shuntyard.planner.files import dump, parse
from shuntyard.planner.passes import Trace, optimise
from shuntyard.planner.validate import problems
from shuntyard.planner.values import ends
from shuntyard.steps import Plan
from shuntyard.tools.spec import tool


def get(path: str = "a", **more: object) -> dict[str, object]:
    return {"tool": "get", "args": {"path": path}, **more}


def put(path: object = "a", value: object = 5, **more: object) -> dict[str, object]:
    return {"tool": "put", "args": {"path": path, "value": value}, **more}


def digest(of: object, **more: object) -> dict[str, object]:
    return {"tool": "digest", "args": {"of": of}, **more}


def price(item: object, **more: object) -> dict[str, object]:
    return {"tool": "price", "args": {"item": item}, **more}


def ids(plan: Plan) -> list[str]:
    return [node.id for node in plan.nodes]


def done(*nodes: dict[str, object], **more: object) -> tuple[Plan, Trace]:
    return optimise(made(*nodes, **more), TOYS)


# --- merge ---------------------------------------------------------------------------------------


def test_equal_reads_are_one_and_paths_move_with_it() -> None:
    plan, trace = done(get(), get(), digest([ref("n1.value"), ref("n2.value[0]")]), {"tool": "toss", "after": ["n2"]})
    assert ids(plan) == ["n1", "n3", "n4"]
    assert plan.node("n3").args == {"of": [ref("n1.value"), ref("n1.value[0]")]}
    assert plan.node("n4").after == ("n1",)
    assert trace.renamed == {"n2": "n1"}
    assert [(change.kind, change.node, change.into) for change in trace.changes] == [("merged", "n2", "n1")]


def test_what_becomes_equal_through_a_merge_is_merged_too() -> None:
    plan, trace = done(get(), get(), digest(ref("n1")), digest(ref("n2")), digest([ref("n3"), ref("n4")]))
    assert ids(plan) == ["n1", "n3", "n5"]
    assert trace.renamed == {"n2": "n1", "n4": "n3"}
    assert plan.node("n5").args == {"of": [ref("n3"), ref("n3")]}


@pytest.mark.parametrize(
    "between",
    [put("a", after=["n1"]), put("b"), {"tool": "note", "args": {"value": 1}}, {"tool": "call", "args": {"value": 1}}],
)
def test_a_read_is_not_merged_across_an_effect(between: dict[str, object]) -> None:
    plan, _ = done(get(), between, get(after=["n2"]))
    assert ids(plan) == ["n1", "n2", "n3"]
    plan, _ = done(get(), between, get())
    assert ids(plan) == ["n1", "n2", "n3"]


def test_a_pure_call_is_merged_across_an_effect() -> None:
    assert ids(done(digest(1), put(), digest(1))[0]) == ["n1", "n2"]


def test_reads_that_come_after_different_effects_stay_two() -> None:
    plan, _ = done(put("a"), put("b"), get(after=["n1"]), get(after=["n1", "n2"]))
    assert ids(plan) == ["n1", "n2", "n3", "n4"]


def test_calls_that_may_give_something_else_and_effects_are_never_merged() -> None:
    plan, _ = done({"tool": "toss"}, {"tool": "toss"}, put(), put(), {"tool": "note"}, {"tool": "note"})
    assert len(plan.nodes) == 6


def test_only_equal_conditions_merge() -> None:
    gate = {"when": ref("n1.value")}
    plan, trace = done(get("b"), get(), get(**gate), get(**gate), digest([ref("n2"), ref("n3"), ref("n4")]))
    assert ids(plan) == ["n1", "n2", "n3", "n5"]
    assert trace.renamed == {"n4": "n3"}


def test_maps_merge_whole_and_their_list_is_renamed() -> None:
    each = {"over": ref("n1")}
    plan, _ = done({"tool": "many"}, {"tool": "many"}, digest(ref("item"), **each), digest(ref("item"), over=ref("n2")))
    assert ids(plan) == ["n1", "n3"]
    plan, _ = done({"tool": "many"}, digest(ref("item"), **each), digest(ref("n1[0]")))
    assert ids(plan) == ["n1", "n2", "n3"]


def test_what_waits_for_something_else_or_is_retried_differently_is_not_equal() -> None:
    plan, _ = done({"tool": "toss"}, get(), get(after=["n1"]), get(policy={"retries": 3}))
    assert len(plan.nodes) == 4


def test_an_answer_that_is_used_elsewhere_stays_an_answer() -> None:
    before = made(get(), digest(ref("n1")), get())
    plan, _ = optimise(before, TOYS)
    assert ids(plan) == ["n1", "n2"]
    assert [node.id for node in ends(plan)] == ["n1", "n2"]


def test_the_earliest_id_stays_and_begun_calls_with_it() -> None:
    plan = optimise(made(get(), get(), digest(ref("n2"))), TOYS, begun={"n2"}).plan
    assert ids(plan) == ["n1", "n2", "n3"]


# --- dead ----------------------------------------------------------------------------------------


def test_without_named_answers_every_result_counts() -> None:
    assert len(done(get(), get("b"), digest(1))[0].nodes) == 3


def test_reads_that_no_answer_needs_go_and_effects_with_what_they_need_stay() -> None:
    plan, trace = done(get(), digest(ref("n1")), get("b"), put("c", ref("n3.value")), digest(9), answers=("n2",))
    assert ids(plan) == ["n1", "n2", "n3", "n4"]
    assert [(change.kind, change.node) for change in trace.changes] == [("removed", "n5")]


def test_what_an_answer_only_waits_for_stays_and_so_does_what_may_stop_the_run() -> None:
    plan, _ = done({"tool": "toss"}, {"tool": "toss", "after": ["n1"]}, answers=("n2",))
    assert len(plan.nodes) == 2
    for ending in ("stop", "ask"):
        tossed = {"tool": "toss", "policy": {"on_failure": ending}}
        assert len(done(tossed, digest(1), answers=("n2",))[0].nodes) == 2


def test_answers_are_checked_kept_in_files_and_built() -> None:
    wrong = made(get(), answers=("n7",))
    assert any("n7" in problem for problem in problems(wrong, TOYS))
    builder = PlanBuilder("t")
    first, _ = builder.get(path="a"), builder.get(path="b")
    plan = builder.build(answers=[first])
    assert plan.answers == ("n1",)
    assert parse(dump(plan)).answers == ("n1",)


# --- fold ----------------------------------------------------------------------------------------


def test_a_text_of_constants_is_a_literal() -> None:
    plan, trace = done(digest({"deep": [{"$text": ["a ", "b"]}]}), digest({"$text": ["a", ref("n1.value")]}))
    assert plan.node("n1").args == {"of": {"deep": ["a b"]}}
    assert plan.node("n2").args == {"of": {"$text": ["a", ref("n1.value")]}}
    assert [change.node for change in trace.changes] == ["n1"]


def test_a_text_that_breaks_the_schema_is_left_to_fail_at_its_call() -> None:
    choosy = TOYS[1].model_copy(update={"name": "choosy", "parameters": {"properties": {"of": {"enum": ["x"]}}}})
    before = made({"tool": "choosy", "args": {"of": {"$text": ["a", "b"]}}})
    assert optimise(before, [choosy]).plan == before


# --- hoist ---------------------------------------------------------------------------------------


def test_a_pure_call_waits_for_nothing_that_it_does_not_use() -> None:
    plan, trace = done(put(), {"tool": "toss"}, digest(ref("n2"), after=["n1", "n2"]), digest(1, after=["n1"]))
    assert plan.node("n3").after == () and plan.node("n4").after == ()
    assert {change.node for change in trace.changes} == {"n3", "n4"}


def test_a_read_waits_for_the_effect_behind_a_read_that_it_passes() -> None:
    plan, _ = done(put(), get("b", after=["n1"]), get("c", after=["n2"]), digest(ref("n3")))
    assert plan.node("n3").after == ("n1",)


@pytest.mark.parametrize("before", [put("b"), {"tool": "toss"}, {"tool": "call"}])
def test_a_read_still_waits_for_what_it_might_see(before: dict[str, object]) -> None:
    assert done(before, get(after=["n1"]))[0].node("n2").after == ("n1",)


def test_a_fresh_call_waits_as_it_is_written() -> None:
    assert done(get(), {"tool": "toss", "after": ["n1"]})[0].node("n2").after == ("n1",)


def test_a_chain_of_waits_says_each_once() -> None:
    plan, _ = done(put(), put("b", after=["n1"]), get("c", after=["n1", "n2"]))
    assert plan.node("n3").after == ("n2",)


def test_what_a_person_writes_is_waited_for() -> None:
    assert done(get(), digest(1, after=["n1"]), origin="person")[0].node("n2").after == ("n1",)


# --- order ---------------------------------------------------------------------------------------


def test_writes_of_one_path_come_one_after_the_other() -> None:
    plan, trace = done(put("a", 1), put("./a", 2), put("A", 3))
    assert [node.after for node in plan.nodes] == [(), ("n1",), ("n2",)]
    assert run_plan(plan).world.puts == [("a", 1), ("./a", 2), ("A", 3)]
    assert "n1" in trace.changes[0].reason


def test_a_folder_holds_what_is_in_it_and_an_unknown_path_may_be_any() -> None:
    unknown = put(ref("n1.value"))
    plan, _ = done(get(), put("dir"), put("dir/x"), put("dirt"), unknown, put("b"))
    assert [node.after for node in plan.nodes] == [(), (), ("n2",), (), ("n3", "n4"), ("n5",)]


def test_writes_elsewhere_and_effects_without_paths_stay_side_by_side() -> None:
    plan, trace = done(put("a"), put("b"), {"tool": "note"}, {"tool": "note"}, {"tool": "call"})
    assert [node.after for node in plan.nodes] == [()] * 5 and trace.changes == ()


def test_an_order_that_the_plan_has_is_not_said_again() -> None:
    plan, trace = done(put(), digest(ref("n1")), put(value=ref("n2.value")))
    assert plan.node("n3").after == () and trace.changes == ()


def test_both_writes_of_a_chain_are_ends() -> None:
    assert [node.id for node in ends(done(put(), put())[0])] == ["n1", "n2"]


# --- batch ---------------------------------------------------------------------------------------


def test_calls_of_a_tool_that_takes_a_list_are_one_call() -> None:
    before = made(
        price("x"), price("yy"), digest([ref("n2.value"), ref("n1")]), digest(ref("n2"), when=ref("n2.value"))
    )
    plan, trace = optimise(before, TOYS)
    assert ids(plan) == ["n1", "n3", "n4"]
    assert plan.node("n1").args == {"item": ["x", "yy"]}
    assert plan.node("n3").args == {"of": [ref("n1[1].value"), ref("n1[0]")]}
    assert plan.node("n4").when == ref("n1[1].value")
    assert trace.renamed == {"n1": "n1[0]", "n2": "n1[1]"}
    ran, after = run_plan(before), run_plan(plan)
    assert ran.at("n3") == after.at("n3") and ran.at("n2") == after.at("n1[1]")
    assert (len(ran.world.steps), len(after.world.steps)) == (4, 3)


@pytest.mark.parametrize(
    "nodes",
    [
        [price("x"), {"tool": "note"}, price("yy")],
        [price("x"), price(["yy", "z"])],
        [get(), price("x"), price(ref("n1.value"))],
        [{"tool": "toss"}, price("x"), price("yy", after=["n1"])],
        [{"tool": "toss"}, price("x", after=["n1"]), price("yy", when=ref("n1.value"))],
        [{"tool": "many"}, price("x", over=ref("n1")), price("yy", over=ref("n1"))],
        [price("x"), {"tool": "price", "args": {"item": "yy", "unit": "u"}}],
    ],
    ids=["effect", "list", "reference", "after", "when", "over", "other argument"],
)
def test_calls_that_may_not_begin_together_stay_apart(nodes: list[dict[str, object]]) -> None:
    assert len(done(*nodes)[0].nodes) == len(nodes)


def test_calls_with_a_substitute_of_their_own_are_not_batched() -> None:
    free = {"on_failure": "substitute", "substitute": {"value": 0}}
    plan, _ = done(price("x", policy=free), price("y", policy=free), digest([ref("n1.value"), ref("n2.value")]))
    assert ids(plan) == ["n1", "n2", "n3"]


def test_a_tool_whose_schema_takes_no_list_is_not_batched() -> None:
    schema = {"type": "object", "properties": {"item": {"type": "string"}}}
    strict = [TOYS[4].model_copy(update={"parameters": schema})]
    before = made(price("x"), price("yy"))
    assert optimise(before, strict).plan == before


@pytest.mark.parametrize("kind", ["paths", "binds"])
def test_paths_and_bound_texts_are_not_batched(kind: str) -> None:
    before = made(price("x"), price("yy"))
    assert optimise(before, [TOYS[4].model_copy(update={kind: ("item",)})]).plan == before


def test_a_tool_says_which_parameter_is_batched() -> None:
    with pytest.raises(UsageError, match="batches names 'key'"):

        @tool(batches="key")
        def look(name: str) -> str:
            """Return it.

            Args:
                name: What.
            """
            return name


def test_a_refusal_and_an_unknown_tool_pass_through() -> None:
    refused = Plan(task="t", nodes=(), refusal="no")
    assert optimise(refused, TOYS).plan == refused
    strange = made({"tool": "strange"}, {"tool": "strange"})
    assert optimise(strange, TOYS).plan == strange
