from typing import Any

import pytest

from shuntyard.planner.writes import completed_write, merged_writes, wanted_write, without_unasked
from shuntyard.steps import Effect, Plan, ToolSpec

SPECS = {
    "read": ToolSpec(name="read", description="", parameters={}),
    "write_file": ToolSpec(name="write_file", description="", parameters={}, effect=Effect.WRITE, paths=("path",)),
}


def plan(*nodes: dict[str, Any]) -> Plan:
    return Plan.model_validate({"task": "t", "nodes": [{"id": f"n{at}", **node} for at, node in enumerate(nodes, 1)]})


def write(path: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"tool": "write_file", "effect": "write", "args": {"path": path, "content": content}, **more}


def test_a_second_write_of_a_file_adds_to_the_first() -> None:
    first = write("a.md", {"$ref": "n1"})
    first["args"]["title"] = "Both"
    merged = merged_writes(plan({"tool": "read"}, {"tool": "read"}, first, write("a.md", {"$ref": "n2"})), SPECS)
    assert [node.id for node in merged.nodes] == ["n1", "n2", "n4"]
    assert merged.nodes[-1].args == {"path": "a.md", "content": [{"$ref": "n1"}, {"$ref": "n2"}], "title": "Both"}


@pytest.mark.parametrize(
    "nodes",
    [
        (write("a.md", "x"), write("b.md", "y")),
        (write("a.md", "x"), {"tool": "read", "after": ["n1"]}, write("a.md", "y")),
        (write("a.md", "x"), write("a.md", "y", when={"$ref": "n1"})),
    ],
)
def test_other_writes_stay(nodes: tuple[dict[str, Any], ...]) -> None:
    assert merged_writes(plan(*nodes), SPECS) == plan(*nodes)


def asked(task: str, *nodes: dict[str, Any]) -> Plan:
    return plan(*nodes).model_copy(update={"task": task})


def test_the_one_file_that_is_wanted_is_written() -> None:
    done = wanted_write(asked("Save the owls in owls.md.", {"tool": "read"}, {"tool": "read"}), SPECS)
    assert [(node.id, node.effect, node.args) for node in done.nodes[2:]] == [
        ("n3", "write", {"path": "owls.md", "content": {"$ref": "n2"}})
    ]
    assert done.nodes[2].sources == {"path": "task"}
    for task in ("How many owls has owls.md?", "Save the owls in owls.md and the rest in rest.md."):
        assert wanted_write(asked(task, {"tool": "read"}), SPECS) == asked(task, {"tool": "read"})


def test_a_result_that_nothing_uses_goes_into_the_file() -> None:
    nodes = ({"tool": "read"}, write("owls.md", {"$ref": "n1"}), {"tool": "read"})
    whole = completed_write(asked("Save the owls and their number in owls.md.", *nodes), SPECS)
    assert [node.id for node in whole.nodes] == ["n1", "n3", "n2"]
    assert whole.nodes[-1].args["content"] == [{"$ref": "n1"}, {"$ref": "n3"}]
    question = asked("How many owls? Save them in owls.md.", *nodes)
    assert completed_write(question, SPECS) == question


@pytest.mark.parametrize(
    ("task", "left"),
    [
        ("Add up the sizes in cellar.csv.", 1),
        ("Put the sum of the sizes into cellar.csv.", 2),
        ("Which sizes does attic.csv have?", 2),
        ("The sum of the sizes, and cellar.csv with all of them, please.", 2),
    ],
)
def test_a_missing_file_that_is_to_be_read_is_not_made_up(task: str, left: int) -> None:
    drafted = plan({"tool": "read"}, write("cellar.csv", {"$ref": "n1"})).model_copy(update={"task": task})
    known = "- there is no file cellar.csv" if "cellar" in task else "- there is no file attic.csv"
    assert len(without_unasked(drafted, SPECS, known).nodes) == left
    assert without_unasked(drafted, SPECS, "").nodes == drafted.nodes
