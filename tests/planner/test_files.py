import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuntyard.errors import PlanInvalid
from shuntyard.planner.files import dump, parse
from shuntyard.planner.values import parents
from shuntyard.steps import Plan

WHOLE = Plan.model_validate(
    {
        "task": "Größe\nzählen",
        "revision": 2,
        "nodes": [
            {
                "id": "n1",
                "tool": "query",
                "args": {"sql": "select 1"},
                "sources": {"sql": "task"},
                "effect": "external",
            },
            {"id": "n3", "tool": "calc", "args": {"x": {"$text": ["a", {"$ref": "n1[0].n"}]}}, "after": ["n2"]},
            {"id": "n4", "tool": "calc", "when": {"$ref": "n3"}, "over": {"$ref": "n1"}, "policy": {"timeout": 3}},
        ],
    }
)


def test_a_plan_survives_the_way_through_a_file() -> None:
    assert parse(dump(WHOLE)) == WHOLE


def test_a_file_holds_task_and_nodes_with_all_parents_in_after() -> None:
    data = json.loads(dump(WHOLE))
    assert data["task"] == WHOLE.task
    assert [node["after"] for node in data["nodes"]] == [[], ["n1", "n2"], ["n3", "n1"]]
    assert [sorted(node)[:2] for node in data["nodes"]] == [["after", "args"]] * 3
    assert "Größe" in dump(WHOLE)


def test_the_smallest_file_is_enough() -> None:
    plan = parse('{"nodes": [{"tool": "now"}, {"tool": "calc", "args": {"x": {"$ref": "n1"}}}]}')
    assert [node.id for node in plan.nodes] == ["n1", "n2"] and plan.origin == "person"


def test_nodes_may_stand_in_any_order() -> None:
    plan = parse('{"task": "t", "nodes": [{"id": "n2", "tool": "a", "after": ["n1"]}, {"id": "n1", "tool": "b"}]}')
    assert [node.id for node in plan.nodes] == ["n1", "n2"]


def test_an_after_that_a_reference_says_already_is_dropped_and_order_alone_is_kept() -> None:
    text = (
        '{"nodes": [{"tool": "a"}, {"tool": "b"}, {"tool": "c", "args": {"x": {"$ref": "n1"}}, "after": ["n1", "n2"]}]}'
    )
    node = parse(text).nodes[2]
    assert node.after == ("n2",) and set(parents(node)) == {"n1", "n2"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"task": "t",\n "nodes": [}', ["line 2", "nodes"]),
        ("", ["line 1"]),
        ("[1]", ["list", "object"]),
        ('{"nodes": {}}', ["nodes", "not a list"]),
        ('{"nodes": [3]}', ["nodes[0]", "3"]),
        ('{"nods": []}', ["'nods'", "nodes"]),
        ('{"nodes": [{"tool": "a", "arg": {}}]}', ["nodes[0]", "'arg'", "'args'"]),
        ('{"nodes": [{"args": {}}]}', ["nodes[0].tool", "missing"]),
        ('{"nodes": [{"id": "first", "tool": "a"}]}', ["nodes[0].id", "'first'"]),
        ('{"nodes": [{"tool": "a", "policy": {"retries": 99}}]}', ["nodes[0].policy.retries", "99"]),
        ('{"nodes": [{"tool": "a", "effect": "reads"}]}', ["nodes[0].effect", "'reads'"]),
        ('{"nodes": [{"tool": "a", "after": ["n2"]}, {"tool": "a", "after": ["n1"]}]}', ["n1", "wait for one another"]),
        ("[" * 100_000, ["nest"]),
    ],
)
def test_an_error_names_the_place_the_value_and_the_mend(text: str, words: list[str]) -> None:
    with pytest.raises(PlanInvalid) as caught:
        parse(text)
    assert all(word in str(caught.value) for word in words), str(caught.value)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
)


@given(st.text() | json_values.map(json.dumps) | st.lists(json_values).map(lambda nodes: json.dumps({"nodes": nodes})))
def test_any_text_is_a_plan_or_a_clear_refusal(text: str) -> None:
    try:
        assert isinstance(parse(text), Plan)
    except PlanInvalid as error:
        assert error.problems
