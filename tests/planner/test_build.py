import pytest

from shuntyard.errors import PlanInvalid, UsageError
from shuntyard.planner.build import PlanBuilder
from shuntyard.planner.files import dump, parse
from shuntyard.steps import Effect, ToolSpec

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
