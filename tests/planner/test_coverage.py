"""What a task says and no call takes up."""

from typing import Any

import pytest

from shuntyard.planner.compile import LineCompiler
from shuntyard.planner.coverage import unfinished, untaken
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.steps import Node, Plan, ToolSpec

pytestmark = pytest.mark.anyio


def spec(name: str, *parameters: str, about: str = "") -> ToolSpec:
    kinds = {each: {"type": "string"} for each in parameters}
    return ToolSpec(name=name, description=about, parameters={"type": "object", "properties": kinds})


LOOK = spec("look_up_scientist", "finding", about="Say who found something.")
RIDE = spec("ride_book", "source", "target", "most", about="Book a ride.")
SPECS = {each.name: each for each in (LOOK, RIDE)}


def missing(task: str, *calls: tuple[str, dict[str, Any]]) -> list[str]:
    nodes = tuple(Node(id=f"n{at}", tool=tool, args=args) for at, (tool, args) in enumerate(calls, 1))
    return untaken(Plan(task=task, nodes=nodes), SPECS)


@pytest.mark.parametrize(
    ("task", "args", "told"),
    [
        ("Who found penicillin?", {"finding": "penicillin"}, []),
        (
            "Who found the DNA double helix?",
            {"finding": "relativity"},
            ["what 'DNA' is for: 'Who found the DNA double helix?'"],
        ),
        (
            "Who found it, Marie Curie or Ada Lovelace?",
            {"finding": "Marie Curie"},
            ["what 'Ada Lovelace' is for: 'Marie Curie or Ada Lovelace?'"],
        ),
        ("Who said 'to be or not'?", {"finding": "to be or not"}, []),
        ("Who said 'to be or not'?", {"finding": "love"}, ["what 'to be or not' is for: \"Who said 'to be or not'?\""]),
        (
            "Who found the first 1,000 of 20 things?",
            {"finding": "1000"},
            ["what '20' is for: 'Who found the first 1,000 of 20 things?'"],
        ),
        ("Who was 5% better in 1999?", {"finding": "0.05 in 1999"}, []),
        (
            "Who found 5,10 and 15?",
            {"finding": "510 and 15"},
            ["what '5' is for: 'Who found 5,10 and 15?'", "what '10' is for: 'Who found 5,10 and 15?'"],
        ),
        ("Who ran 9.8 m/s^2 at 6:30 PM?", {"finding": "9.8 at 6:30"}, []),
        ("Who lives between Rome and Milan, in the north?", {"finding": "Rome, Milan"}, []),
        ("Tell me. Romans. Who were they?", {"finding": "x"}, []),
    ],
)
def test_words_of_the_task(task: str, args: dict[str, Any], told: list[str]) -> None:
    assert missing(task, ("look_up_scientist", args)) == told


def test_a_tool_that_the_task_names_is_called() -> None:
    task = "Use 'ride.book' to go home"
    assert missing(task, ("look_up_scientist", {"finding": "home"})) == ["a call of ride_book"]
    assert missing(task, ("ride_book", {"target": "home"})) == []


async def test_a_plan_that_leaves_something_out_is_asked_for_again_once() -> None:
    task = "Who found relativity, and who the DNA double helix?"
    first = '1. look_up_scientist(finding="relativity")\n'
    whole = first + '2. look_up_scientist(finding="DNA double helix")\n'
    model = ScriptedModel([first, whole])
    plan = await LineCompiler(model, list(SPECS.values())).compile(task)
    assert len(plan.nodes) == 2
    again = model.requests[1].messages[-1].content
    assert "what 'DNA' is for: 'and who the DNA double helix?'" in again and first.strip() not in again


async def test_what_is_no_more_complete_does_not_take_its_place() -> None:
    task = "Who found relativity, and who the DNA double helix?"
    first = '1. look_up_scientist(finding="relativity")\n'
    model = ScriptedModel([first, '1. look_up_scientist(finding="gravity")\n', "never asked"])
    plan = await LineCompiler(model, list(SPECS.values())).compile(task)
    assert plan.nodes[0].args == {"finding": "relativity"} and len(model.requests) == 2


def test_what_is_missing_is_told_line_by_line() -> None:
    assert "\n- a call of x\n- what the task says of '5'\n" in unfinished(["a call of x", "what the task says of '5'"])
