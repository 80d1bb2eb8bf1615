from typing import Any

import pytest

from shuntyard.planner.validate import complete, problems
from shuntyard.steps import Effect, Plan, ToolSpec

READ = ToolSpec(
    name="search",
    description="",
    parameters={
        "type": "object",
        "properties": {
            "pattern": {"type": "string"},
            "limit": {"type": "integer", "minimum": 1},
            "kind": {"enum": ["file", "folder"]},
            "paths": {"type": "array", "items": {"type": "string"}},
            "near": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        },
        "required": ["pattern"],
        "additionalProperties": False,
    },
)
WRITE = ToolSpec(
    name="write_file",
    description="",
    parameters={"type": "object", "properties": {"path": {"type": "string"}}},
    effect=Effect.WRITE,
)
SPECS = {spec.name: spec for spec in (READ, WRITE)}


def plan(*nodes: dict[str, Any], **more: Any) -> Plan:
    numbered = [{"id": f"n{at + 1}", "tool": "search", **node} for at, node in enumerate(nodes)]
    return Plan.model_validate({"task": "t", "nodes": numbered, **more})


def args(**values: Any) -> dict[str, Any]:
    return {"args": {"pattern": "x", **values}}


def ref(text: str) -> dict[str, str]:
    return {"$ref": text}


def test_a_good_plan_has_no_problems() -> None:
    good = plan(
        args(limit=3, near=None, paths=["a"]),
        args(limit=ref("n1.count"), kind=ref("n1.kind"), near=ref("n1"), paths=[ref("n1[0]"), "b"]),
        args(pattern={"$text": ["a", ref("n2")]}, paths=ref("n2")),
        {"tool": "write_file", "args": {"path": ref("item")}, "over": ref("n3"), "when": ref("n1"), "after": ["n2"]},
    )
    assert problems(complete(good, SPECS), SPECS.values()) == []


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([{"tool": "serch", **args()}], ["n1", "'serch'", "search"]),
        ([{"args": {}}], ["n1", "search needs 'pattern'", "limit"]),
        ([args(limits=3)], ["n1", "no argument 'limits'", "limit"]),
        ([args(limit="three")], ["n1", "limit = 'three'", "integer"]),
        ([args(limit=0)], ["n1", "limit = 0", "minimum"]),
        ([args(limit={"$text": ["1", ref("n1")]})], ["limit", "integer"]),
        ([args(kind="disk")], ["kind = 'disk'", "'file', 'folder'"]),
        ([args(paths=["a", 1])], ["paths[1] = 1", "string"]),
        ([args(), args(pattern=ref("n2"))], ["n2", "its own result", "n1"]),
        ([args(pattern=ref("n2")), args()], ["n1", "n2", "comes later"]),
        ([args(pattern=ref("n7"))], ["n1", "n7", "does not exist"]),
        ([args(pattern=ref("n1.x.[")), args()], ["n1", "cannot be read"]),
        ([args(pattern=ref("rows"))], ["'rows'", "node id"]),
        ([args(pattern=ref("item"))], ["'item'", "maps over a list"]),
        ([args(), {**args(), "when": {"value": True}}], ["n2", "'when'", "reference"]),
        ([args(), {**args(), "over": ref("item")}], ["n2", "'over'"]),
        ([args(), {**args(), "id": "n1"}], ["n1", "twice"]),
        ([{**args(), "after": ["n2"]}, {**args(), "after": ["n1"]}], ["n1, n2", "wait for one another"]),
        ([{"tool": "write_file", "effect": "read"}], ["n1", "'read'", "'write'"]),
        ([], ["empty"]),
    ],
)
def test_each_problem_is_named_with_its_mend(nodes: list[dict[str, Any]], words: list[str]) -> None:
    found = problems(plan(*nodes), SPECS)
    assert any(all(word in line for word in words) for line in found), found
    assert all(line.endswith(".") for line in found)


def test_every_problem_is_reported_at_once() -> None:
    found = problems(plan({"tool": "serch"}, args(limit="a", limits=1), args(pattern=ref("n9"))), SPECS)
    assert len(found) == 4


def test_too_many_nodes_are_refused() -> None:
    assert any("at most 2" in line for line in problems(plan(args(), args(), args()), SPECS, max_nodes=2))


def test_a_refusal_needs_no_nodes_and_has_none() -> None:
    assert problems(plan(refusal="no such tool"), SPECS) == []
    assert problems(plan(args(), refusal="no"), SPECS) != []


def test_results_of_an_earlier_revision_may_be_used() -> None:
    later = Plan.model_validate(
        {"task": "t", "nodes": [{"id": "n5", "tool": "search", "args": {"pattern": ref("n2")}}]}
    )
    assert problems(later, SPECS, known=["n1", "n2"]) == []
    assert problems(later, SPECS) != []


def test_long_values_are_shortened() -> None:
    (line,) = problems(plan(args(limit="x" * 10_000)), SPECS)
    assert len(line) < 300


def test_complete_takes_effects_from_the_tools() -> None:
    done = complete(plan({"tool": "write_file"}, {"tool": "nobody"}, args()), SPECS)
    assert [node.effect for node in done.nodes] == [Effect.WRITE, Effect.READ, Effect.READ]
