from typing import Any
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from shuntyard.planner.build import PlanBuilder
from shuntyard.planner.render import call_text, mermaid, svg, tree
from shuntyard.steps import Failure, Plan, StepResult

SVG = "{http://www.w3.org/2000/svg}"


def sample() -> Plan:
    p = PlanBuilder("Compare <two> files")
    one = p.read_file(path="a.txt")
    two = p.read_file(path="b.txt")
    both = p.compare(left=one, right=two["lines"][0])
    p.write_file(path="out.md", content=p.text("They are ", both["verdict"])).after(one).when(both["changed"])
    return p.build()


def test_a_tree_shows_every_node_once_below_its_last_parent() -> None:
    assert tree(sample()).splitlines() == [
        "Compare <two> files",
        '├─ n1 read_file(path="a.txt")',
        '└─ n2 read_file(path="b.txt")',
        "   └─ n3 compare(left=$1, right=$2.lines[0])  ← n1",
        '      └─ n4 write_file(path="out.md", content="They are $3.verdict") if $3.changed  ← n1',
    ]


def test_a_tree_with_results_tells_status_time_and_value() -> None:
    results = {
        "n1": StepResult(value="hello\nworld", seconds=0.0123),
        "n2": StepResult(status="failed", failure=Failure(code="x", message="no such file")),
    }
    lines = tree(sample(), results).splitlines()
    assert lines[1].endswith("✓ done 12 ms  hello world")
    assert lines[2].endswith("✗ failed  no such file")
    assert lines[3].endswith("[waits]")


def test_a_refusal_is_drawn_with_its_reason() -> None:
    refused = Plan(task="Fly", nodes=(), refusal="no tool can fly")
    assert "no tool can fly" in tree(refused) and "no tool can fly" in mermaid(refused)
    assert "no tool can fly" in svg(refused)


def test_mermaid_has_an_arrow_per_parent_and_dots_for_order_alone() -> None:
    text = mermaid(sample())
    assert text.startswith("flowchart TD\n")
    assert "n2 --> n3" in text and "n3 --> n4" in text and "n1 -.-> n4" in text


def test_an_svg_draws_a_box_per_node_and_a_line_per_edge() -> None:
    root = ElementTree.fromstring(svg(sample(), {"n1": StepResult(value=1)}))
    boxes = root.findall(f"{SVG}g")
    lines = root.findall(f"{SVG}path")
    assert len(boxes) == 4 and len(lines) == 4
    assert [line.get("stroke-dasharray") is not None for line in lines].count(True) == 1
    titles = [box.findtext(f"{SVG}title") or "" for box in boxes]
    assert any("compare(left=$1" in title for title in titles)


def test_boxes_do_not_overlap() -> None:
    p = PlanBuilder("wide")
    first = [p.read_file(path=str(at)) for at in range(7)]
    for at in range(3):
        p.join(parts=[*first[at:], first[0]])
    root = ElementTree.fromstring(svg(p.build()))
    places = [
        (int(rect.get("x", 0)), int(rect.get("y", 0)), int(rect.get("width", 0)), int(rect.get("height", 0)))
        for rect in root.iterfind(f"{SVG}g/{SVG}rect")
    ]
    for at, (x, y, w, h) in enumerate(places):
        for x2, y2, _, _ in places[at + 1 :]:
            assert abs(x - x2) >= w or abs(y - y2) >= h


@given(st.text(), st.text(min_size=1), st.recursive(st.text() | st.integers() | st.none(), st.lists))
def test_no_text_breaks_out_of_a_drawing(task: str, tool: str, value: Any) -> None:
    plan = Plan.model_validate({"task": task, "nodes": [{"id": "n1", "tool": tool, "args": {"x": value}}]})
    results = {"n1": StepResult(value=value, seconds=1)}
    root = ElementTree.fromstring(svg(plan, results))
    assert len(root.findall(f"{SVG}g")) == 1 and root.find(f".//{SVG}script") is None
    assert len(mermaid(plan).splitlines()) == 5
    drawn = tree(plan, results)
    assert len(drawn.splitlines() or [""]) == 2 and drawn.replace("\n", "").isprintable()


def test_long_calls_are_cut() -> None:
    p = PlanBuilder("t")
    p.write_file(path="x", content="word " * 1000)
    assert len(call_text(p.build().nodes[0])) <= 100


def test_a_long_chain_can_be_drawn() -> None:
    p = PlanBuilder("t")
    last = p.step(x=1)
    for _ in range(1500):
        last = p.step(x=last)
    plan = p.build()
    assert len(tree(plan).splitlines()) == 1502
    assert svg(plan).count("<g>") == 1501
