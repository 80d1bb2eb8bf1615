from typing import Any

import pytest

from shuntyard.planner.compile import LineCompiler
from shuntyard.planner.superfluous import without_superfluous
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.steps import Node, Plan, ToolSpec


def tool(name: str, description: str, *parameters: str) -> ToolSpec:
    properties = {parameter: {"type": "string"} for parameter in parameters}
    return ToolSpec(
        name=name,
        description=description,
        parameters={"type": "object", "properties": properties, "required": list(parameters)},
    )


SPECS = {
    spec.name: spec
    for spec in (
        tool("harbour_tides", "Tides of a harbour on a day.", "harbour", "day"),
        tool("harbour_fees", "Fees that a harbour takes for a boat.", "harbour", "boat"),
        tool("hotel_rooms", "Find free rooms in a city.", "city", "stars"),
        tool("brick_shop", "Recommend paint of BrickShop.", "colour"),
        tool("wall_shop", "Recommend paint of WallShop.", "colour"),
    )
}


def kept(task: str, *calls: tuple[str, dict[str, Any]]) -> list[str]:
    nodes = tuple(Node(id=f"n{place}", tool=name, args=args) for place, (name, args) in enumerate(calls, start=1))
    return [node.tool for node in without_superfluous(Plan(task=task, nodes=nodes), SPECS).nodes]


TIDES = ("harbour_tides", {"harbour": "Varberg", "day": "2021-05-03"})
FEES = ("harbour_fees", {"harbour": "Varberg", "boat": "sloop"})


def test_a_call_beside_the_one_that_was_asked_for_goes() -> None:
    assert kept("Find the tides of Varberg on 2021-05-03.", TIDES, FEES) == ["harbour_tides"]
    assert kept("Find the tides of Varberg.", ("hotel_rooms", {"city": "Paris", "stars": "4"}), TIDES) == [TIDES[0]]


def test_what_the_task_has_words_for_stays() -> None:
    assert kept("Find the tides of Varberg and its fees for a sloop.", TIDES, FEES) == ["harbour_tides", "harbour_fees"]
    oslo = ("harbour_tides", {"harbour": "Oslo", "day": "2021-05-03"})
    assert len(kept("Find the tides of Varberg and Oslo.", TIDES, oslo)) == 2
    assert kept("Say something.", TIDES, FEES) == ["harbour_tides", "harbour_fees"], "no words for either"


def test_names_that_are_run_together_are_words() -> None:
    paint = ("brick_shop", {"colour": "red"}), ("wall_shop", {"colour": "red"})
    assert kept("Which red paint has the store BrickShop?", *paint) == ["brick_shop"]
    assert kept("Which red paint do all shops such as BrickShop have?", *paint) == ["brick_shop", "wall_shop"]


def test_calls_that_work_together_stay() -> None:
    used = ("hotel_rooms", {"city": {"$ref": "n1"}, "stars": "4"})
    assert len(kept("Find the tides of Varberg on 2021-05-03.", TIDES, used)) == 2


@pytest.mark.parametrize("same", ["12", "12.0"])
def test_numbers_are_told_by_their_value(same: str) -> None:
    stars = ("hotel_rooms", {"city": "", "stars": same})
    assert len(kept("Tides of Varberg, and 12", TIDES, stars)) == 2


@pytest.mark.anyio
async def test_the_compiler_leaves_them_out_of_plans_over_own_tools() -> None:
    text = '1. harbour_tides(harbour="Varberg", day="2021-05-03")\n2. harbour_fees(harbour="Varberg", boat="sloop")\n'
    model = ScriptedModel([f"{text}return $1, $2"])
    plan = await LineCompiler(model, tuple(SPECS.values())).compile("Find the tides of Varberg on 2021-05-03.")
    assert [node.tool for node in plan.nodes] == ["harbour_tides"] and len(model.requests) == 1
