from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuntyard.errors import PlanInvalid
from shuntyard.planner.dag import critical_path, graph, layers, ordered, width
from shuntyard.steps import Plan


def plan(*nodes: tuple[str, list[str]], **more: Any) -> Plan:
    return Plan.model_validate(
        {
            "task": "t",
            "nodes": [
                {"id": f"n{at + 1}", "tool": tool, "args": {"x": [{"$ref": id} for id in used]}, **more}
                for at, (tool, used) in enumerate(nodes)
            ],
        }
    )


DIAMOND = plan(("fast", []), ("slow", ["n1"]), ("fast", ["n1"]), ("fast", ["n2", "n3"]))


def test_the_graph_has_an_edge_per_parent_and_ignores_earlier_revisions() -> None:
    made = graph(plan(("fast", []), ("fast", ["n1", "n9"])))
    assert list(made.edges) == [("n1", "n2")]
    assert made.nodes["n2"]["node"].tool == "fast"


def test_the_critical_path_is_the_slowest_chain() -> None:
    assert critical_path(DIAMOND, {"n1": 1, "n2": 5, "n3": 2, "n4": 1}) == (["n1", "n2", "n4"], 7)
    assert critical_path(DIAMOND, {"n1": 1, "n2": 5, "n3": 9, "n4": 1}) == (["n1", "n3", "n4"], 11)
    assert critical_path(Plan(task="t", nodes=()), {}) == ([], 0)


def test_layers_and_width() -> None:
    assert [[node.id for node in layer] for layer in layers(DIAMOND)] == [["n1"], ["n2", "n3"], ["n4"]]
    assert width(DIAMOND) == 2
    assert width(Plan(task="t", nodes=())) == 0


def test_a_cycle_is_named() -> None:
    looped = plan(("fast", []), ("fast", ["n3"]), ("fast", ["n2"]))
    with pytest.raises(PlanInvalid, match=r"n2 -> n3 -> n2|n3 -> n2 -> n3"):
        ordered(looped)


@st.composite
def dags(draw: st.DrawFn) -> Plan:
    size = draw(st.integers(1, 20))
    return plan(
        *(
            (
                draw(st.sampled_from(["fast", "slow"])),
                draw(st.lists(st.sampled_from([f"n{i + 1}" for i in range(at)]), max_size=3)) if at else [],
            )
            for at in range(size)
        )
    )


@given(dags(), st.randoms())
def test_any_order_of_nodes_is_put_right_and_a_right_one_is_kept(dag: Plan, chance: Any) -> None:
    assert ordered(dag) == dag
    nodes = list(dag.nodes)
    chance.shuffle(nodes)
    mixed = ordered(dag.model_copy(update={"nodes": tuple(nodes)}))
    seen: set[str] = set()
    for node in mixed.nodes:
        assert set(graph(dag).predecessors(node.id)) <= seen
        seen.add(node.id)
