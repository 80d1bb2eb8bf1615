from typing import Any

import pytest

from shuntyard.planner.compile import LineCompiler
from shuntyard.planner.fill import SelectThenFill, selection
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.steps import ToolSpec

pytestmark = pytest.mark.anyio


def tool(name: str, **parameters: str) -> ToolSpec:
    properties = {each: {"type": kind, "description": f"the {each}"} for each, kind in parameters.items()}
    schema: dict[str, Any] = {"type": "object", "properties": properties, "required": list(parameters)}
    return ToolSpec(name=name, description=f"About {name}.", parameters=schema)


SPECS = (tool("bus_times", town="string", hour="integer"), tool("send_text", to="string", text="string"))
TASK = "When do buses leave Lund at 8? Text it to Eva."


async def compiled(*said: str, heard: list[str] | None = None) -> tuple[Any, ScriptedModel]:
    model = ScriptedModel(list(said))
    compiler = LineCompiler(SelectThenFill(model, SPECS, task=TASK), SPECS)
    nodes = heard if heard is not None else []
    plan = await compiler.compile(TASK, on_node=lambda node: nodes.append(node.id))
    return plan, model


async def test_tools_are_chosen_first_and_each_call_is_filled_in_under_its_own_schema() -> None:
    heard: list[str] = []
    plan, model = await compiled(
        "1. bus_times: Lund at 8\n2. send_text: Eva, $1\ndone",
        '1. bus_times(town="Lund", hour=8)\n',
        '2. send_text(to="Eva", text=$1)\n',
        heard=heard,
    )
    assert [(node.tool, dict(node.args)) for node in plan.nodes] == [
        ("bus_times", {"town": "Lund", "hour": 8}),
        ("send_text", {"to": "Eva", "text": {"$ref": "n1"}}),
    ]
    assert heard == ["n1", "n2"], "a line is given on as soon as it stands"
    choose, first, second = model.requests
    assert "the town" not in choose.messages[-1].content, "what parameters mean is for the second stage"
    assert "the town" in first.messages[-1].content and "send_text" not in first.messages[-1].content
    assert second.messages[-1].content.endswith(
        'LINES BEFORE\n1. bus_times(town="Lund", hour=8)\n\nLINE 2, for: Eva, $1'
    )
    assert first.grammar is not None and "send_text" not in first.grammar and "outside" not in first.grammar


async def test_a_refusal_ends_it_after_the_first_stage() -> None:
    plan, model = await compiled('outside(reason="no tool sings")')
    assert plan.refusal == "no tool sings" and len(model.requests) == 1


async def test_a_tool_that_is_not_there_is_a_mistake_to_mend() -> None:
    plan, model = await compiled("1. sing: a song\ndone", '1. bus_times(town="Lund", hour=8)\nreturn $1\n')
    assert [node.tool for node in plan.nodes] == ["bus_times"]
    assert "unknown tool 'sing'" in model.requests[1].messages[-1].content


async def test_a_choice_without_end_is_cut() -> None:
    said = ["".join(f"{n}. bus_times: Lund at {n}\n" for n in range(1, 200))]
    said += [f'{n}. bus_times(town="Lund", hour={n})\n' for n in range(1, 11)]
    plan, model = await compiled(*said, "again the same")
    assert len(plan.nodes) == 10 and [request.role for request in model.requests] == ["compile"] * 11 + ["repair"]


async def test_repairs_and_usage_pass_through() -> None:
    plan, model = await compiled(
        "1. bus_times: Lund\ndone", '1. bus_times(town="Lund")\n', '1. bus_times(town="Lund", hour=8)\nreturn $1'
    )
    assert [request.role for request in model.requests] == ["compile", "compile", "repair"]
    assert plan.nodes[0].args["hour"] == 8


def test_the_first_stage_can_only_choose_what_there_is() -> None:
    text = selection(SPECS)
    assert 'tool ::= "bus_times" | "send_text"' in text and text.count("done") >= 10
    assert selection(()).startswith('root ::= "outside(')
