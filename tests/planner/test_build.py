from typing import Any

import pytest

from shuntyard.errors import PlanInvalid, UsageError
from shuntyard.planner.build import PlanBuilder
from shuntyard.planner.files import dump, parse
from shuntyard.planner.program import parse_program
from shuntyard.steps import Effect, Plan, ToolSpec

QUERY = ToolSpec(
    name="query",
    description="",
    parameters={"type": "object", "properties": {"sql": {"type": "string"}}, "required": ["sql"]},
)
WRITE = ToolSpec(
    name="write_file",
    description="",
    parameters={"type": "object", "properties": {"path": {"type": "string"}, "content": {"type": "string"}}},
    effect=Effect.WRITE,
)


def test_calls_become_nodes_with_typed_references() -> None:
    p = PlanBuilder("task", specs=[QUERY, WRITE])
    rows = p.query(sql="select 1")
    ok = p.query(sql=p.text("select ", rows["odd key"][0]))
    p.call("write_file", path="x.md", content=rows["name"][-1]).after(ok).when(ok).policy(retries=0, on_failure="stop")
    p.write_file(path=p.item["path"], content="-").over(rows).after(ok, rows)
    plan = p.build()
    first, second, third, fourth = plan.nodes
    assert plan.origin == "person" and plan.task == "task"
    assert first.args == {"sql": "select 1"} and first.sources == {"sql": "person"}
    assert second.args == {"sql": {"$text": ["select ", {"$ref": 'n1["odd key"][0]'}]}}
    assert third.args["content"] == {"$ref": "n1.name[-1]"} and third.after == () and third.when == {"$ref": "n2"}
    assert third.policy.retries == 0 and third.policy.on_failure == "stop" and third.effect is Effect.WRITE
    assert fourth.after == ("n2",)
    assert fourth.over == {"$ref": "n1"} and fourth.args["path"] == {"$ref": "item.path"}
    assert parse(dump(plan)) == plan


def test_a_plan_that_breaks_the_rules_is_refused_when_tools_are_known() -> None:
    p = PlanBuilder("task", specs=[QUERY])
    p.query(sq="select 1")
    with pytest.raises(PlanInvalid, match=r"no argument 'sq'|needs 'sql'"):
        p.build()


def test_a_reference_cannot_be_pasted_into_text_or_looped_over() -> None:
    p = PlanBuilder("task")
    rows = p.query(sql="select 1")
    with pytest.raises(TypeError, match=r"p\.text"):
        f"{rows}"
    with pytest.raises(TypeError, match="over"):
        list(rows)


def test_what_is_no_json_is_refused() -> None:
    p = PlanBuilder("task")
    with pytest.raises(UsageError, match="no JSON value"):
        p.query(sql=object())


def test_names_with_underscores_are_no_tools_and_a_builder_draws_itself() -> None:
    p = PlanBuilder("task")
    with pytest.raises(AttributeError):
        _ = p._nope
    p.query(sql="select 1")
    assert p._repr_svg_().startswith("<svg")


def in_turns() -> Plan:
    p = PlanBuilder("task")
    found = p.query(sql="select 1")
    p.end(when=found)
    with p.each(found) as each:
        one = p.query(sql=p.text("select ", p.item["a"]))
        kept = p.write_file(path="x", content=one)
        each.give({"one": one, "kept": kept})
        each.until(one)
    with p.repeat(5, start={"n": found, "m": None}, pause=2):
        n = p.query(sql=p.text(p.last["n"]))
        p.query(sql=p.text(n))
    return p.build(answers=[each])


def test_blocks_are_bodies_as_in_a_program() -> None:
    plan = in_turns()
    written = parse_program(
        "found = query(sql='select 1')\n"
        "if found:\n    return found\n"
        "for x in found:\n"
        "    one = query(sql=f'select {x.a}')\n"
        "    kept = write_file(path='x', content=one)\n"
        "    if one:\n        break\n"
        "return found\n"
    )
    for mine, other in zip(plan.nodes[:3], written.nodes[:3], strict=True):
        assert mine == other
    loop = plan.nodes[3]
    assert [node.id for node in plan.every()] == ["n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8"]
    assert loop.body is not None and (loop.body.most, loop.body.pause, loop.body.result) == (5, 2, None)
    assert loop.body.start == {"n": {"$ref": "n1"}, "m": None} and loop.sources == {"start": "person"}
    assert parse(dump(plan)) == plan and plan.answers == ("n3",)


def test_blocks_stand_in_blocks_and_on_a_condition() -> None:
    p = PlanBuilder("task", specs=[QUERY, WRITE])
    rows = p.query(sql="select 1")
    with p.each(rows) as outer:
        here = p.query(sql=p.text(p.item["a"]))
        with p.repeat(3) as inner:
            p.write_file(path="x", content=p.text(here, rows)).when(here)
        p.write_file(path="y", content=p.text(inner)).after(inner)
    outer.when(rows).policy(on_failure="substitute", substitute=[])
    p.write_file(path="z", content=p.text(outer[0]))
    body = p.build().nodes[1].body
    assert body is not None and [node.id for node in body.nodes] == ["n3", "n4", "n6"]
    assert p.build().nodes[1].effect is Effect.WRITE


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda p, inner, turns: p.query(sql=inner), r"'n3'\) is seen only in the block of 'n2'; give it there"),
        (lambda p, inner, turns: p.query(sql="").when(inner["a"]), "seen only in the block of 'n2'"),
        (lambda p, inner, turns: p.query(sql="").over(inner), "seen only in the block of 'n2'"),
        (lambda p, inner, turns: p.query(sql="").after(inner), "seen only in the block of 'n2'"),
        (lambda p, inner, turns: p.end({"a": [inner]}, when=turns), "seen only in the block of 'n2'"),
        (lambda p, inner, turns: turns.give(1), "the block of 'n2' is closed"),
        (lambda p, inner, turns: turns.until(turns), "the block of 'n2' is closed"),
    ],
)
def test_what_stands_in_a_block_stays_in_it(write: Any, says: str) -> None:
    p = PlanBuilder("task")
    rows = p.query(sql="select 1")
    with p.each(rows) as turns:
        inner = p.query(sql="select 2")
    with pytest.raises(UsageError, match=says):
        write(p, inner, turns)


def test_a_block_cannot_use_what_comes_of_it_and_no_plan_is_built_inside() -> None:
    p = PlanBuilder("task")
    with pytest.raises(UsageError, match=r"not there before its block is done; use p\.last"), p.repeat(3) as turns:
        p.query(sql=turns)
    with p.repeat(3):
        p.query(sql="")
        with pytest.raises(UsageError, match="the block of 'n1' is still open"):
            p.build()
    with pytest.raises(UsageError, match=r"most = 0: .*greater than or equal to 1"), p.repeat(0):
        pass
    with pytest.raises(UsageError, match="enough = 0"), p.repeat(3) as turns:
        turns.until(p.last, enough=0)


def test_a_block_that_ends_in_an_error_leaves_nothing_behind() -> None:
    p = PlanBuilder("task")
    rows = p.query(sql="select 1")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), p.each(rows):
            p.query(sql="")
            with p.repeat(2):
                raise ZeroDivisionError
    with p.each(rows):
        p.query(sql="select 2")
    plan = p.build()
    assert [node.id for node in plan.every()] == ["n1", "n2", "n3"]
