from typing import Any

import pytest

from shuntyard.planner.compile import LineCompiler
from shuntyard.planner.superfluous import denied, spoken_of, without_repeats, without_superfluous
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.steps import Effect, Node, Plan, ToolSpec


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


def test_the_same_read_again_goes_unless_it_is_wanted_or_used() -> None:
    def left(task: str, *nodes: Node) -> list[str]:
        return [node.id for node in without_repeats(Plan(task=task, nodes=nodes)).nodes]

    first, again = (Node(id=id, tool=TIDES[0], args=TIDES[1]) for id in ("n1", "n2"))
    other = Node(id="n2", tool=TIDES[0], args={"harbour": "Oslo", "day": "2021-05-03"})
    assert left("tides of Varberg", first, again) == ["n1"]
    assert left("tides of Varberg, twice", first, again) == ["n1", "n2"]
    assert left("tides", first, other) == ["n1", "n2"]
    user = Node(id="n3", tool="hotel_rooms", args={"city": {"$ref": "n2"}, "stars": "4"})
    assert left("tides", first, again, user) == ["n1", "n2", "n3"]
    sent = [node.model_copy(update={"effect": Effect.EXTERNAL}) for node in (first, again)]
    assert left("tides", *sent) == ["n1", "n2"]


def test_a_task_speaks_of_a_tool_by_every_word_of_its_name() -> None:
    specs = SPECS.values()
    assert spoken_of("What are the harbour's tides?", specs) == ["harbour_tides"]
    assert spoken_of("What does the harbour cost?", specs) == []


def test_a_reason_that_denies_what_a_tool_is_about_is_none() -> None:
    specs = SPECS.values()
    assert denied("no tool knows fees", specs) == ["harbour_fees"]
    assert denied("no tool gives prices of rooms", specs) == []
    assert denied("no tool can do this", specs) == []


@pytest.mark.anyio
async def test_a_refusal_is_not_taken_where_the_task_names_a_tool() -> None:
    model = ScriptedModel(
        ['outside(reason="no tool knows tides")', '1. harbour_tides(harbour="Varberg", day="2021-05-03")\nreturn $1']
    )
    compiler = LineCompiler(model, tuple(SPECS.values()))
    plan = await compiler.compile("The tides of Varberg harbour on 2021-05-03?")
    assert [node.tool for node in plan.nodes] == ["harbour_tides"]
    rules = model.requests[1].grammar or ""
    assert "outside" not in rules and "hotel_rooms" not in rules
    refused = await LineCompiler(ScriptedModel(['outside(reason="no")']), tuple(SPECS.values())).compile("Sing.")
    assert refused.refusal == "no"


@pytest.mark.anyio
async def test_no_model_is_made_to_plan_an_effect_that_it_refused() -> None:
    spec = SPECS["harbour_tides"].model_copy(update={"effect": Effect.EXTERNAL})
    refused = await LineCompiler(ScriptedModel(['outside(reason="no")']), (spec,)).compile("The harbour tides, please.")
    assert refused.refusal == "no"
