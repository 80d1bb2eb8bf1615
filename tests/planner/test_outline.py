"""Outlines: how they are read, what fills their slots, and what the model can write."""

from typing import Any

import pytest
from gbnf import accepts
from hypothesis import given
from hypothesis import strategies as st

from shuntyard.errors import PlanInvalid
from shuntyard.moves import Situation
from shuntyard.planner.kit import Kit
from shuntyard.planner.outline import Outline, OutlinePlanner, OutlineSlot, read_outline, unfilled
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.steps import Effect, Node, Plan, StepResult, ToolSpec

pytestmark = pytest.mark.anyio
TASK = "Find out who is on duty and mail that person."
SAID = "FIND\n- (text) who is on duty\n- (date) since when\nTHEN\n- mail that person"


def spec(name: str, effect: Effect = Effect.READ) -> ToolSpec:
    schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    return ToolSpec(name=name, description=f"{name} something.", parameters=schema, effect=effect)


KIT = Kit((spec("look_up"), spec("mail", Effect.EXTERNAL)))


def test_an_outline_is_read_and_kept() -> None:
    outline = read_outline(SAID)
    assert [(slot.type, slot.about) for slot in outline.find] == [("text", "who is on duty"), ("date", "since when")]
    assert outline.then == ("mail that person",)
    assert Outline.model_validate(outline.model_dump(mode="json")) == outline


@given(st.text())
def test_nothing_that_is_written_breaks_it(text: str) -> None:
    outline = read_outline(text)
    assert len(outline.find) <= 5 and len(outline.then) <= 5


def test_what_goes_round_is_taken_once() -> None:
    again = "- (text) the same\n" * 40
    outline = read_outline(f"FIND\n{again}- (colour) none\nTHEN\n" + "- do it\n" * 40)
    assert len(outline.find) == 1 and outline.then == ("do it",)


def test_the_grammar_takes_outlines_only() -> None:
    model = ScriptedModel([SAID, '1. look_up(text="duty")\nreturn $1\n'])
    grammar = _grammar_of(model)
    for text in (SAID, "FIND\n- (number) n\nTHEN", 'outside(reason="no")'):
        assert accepts(grammar, text)
    for text in ("FIND\nTHEN", "FIND\n- (colour) n\nTHEN", SAID + "\n", "1. look_up()"):
        assert not accepts(grammar, text)


def _grammar_of(model: ScriptedModel) -> str:
    import anyio

    async def go() -> None:
        await OutlinePlanner(KIT).next(Situation(task=TASK), model=model)

    anyio.run(go)
    return model.requests[0].grammar or ""


@pytest.mark.parametrize(
    ("kinds", "values", "missing"),
    [
        (["number"], [3], []),
        (["number"], [[{"sum(x)": 3.5}]], []),
        (["number"], ["three"], ["number"]),
        (["number"], [True], ["number"]),
        (["text", "date"], ["Eva", "2024-05-01"], []),
        (["text", "date"], [[{"name": "Eva", "since": "2024-05-01"}]], []),
        (["text", "date"], ["Eva"], ["date"]),
        (["list"], [[1, 2]], []),
        (["list"], [[]], ["list"]),
        (["table"], [{"a": 1}], []),
        (["text"], [""], ["text"]),
        (["number", "number"], [1], ["number"]),
    ],
)
def test_a_slot_wants_a_value_of_its_type(kinds: list[Any], values: list[Any], missing: list[str]) -> None:
    outline = Outline(find=tuple(OutlineSlot(type=kind, about=f"{at}") for at, kind in enumerate(kinds)))
    nodes = tuple(Node(id=f"n{at + 1}", tool="look_up") for at in range(len(values)))
    results = {node.id: StepResult(value=value) for node, value in zip(nodes, values, strict=True)}
    found = unfilled(outline, Plan(task=TASK, nodes=nodes), results)
    assert [slot.type for slot in found] == missing


def test_what_failed_fills_nothing() -> None:
    outline = Outline(find=(OutlineSlot(type="text", about="x"),))
    plan = Plan(task=TASK, nodes=(Node(id="n1", tool="look_up"),))
    assert unfilled(outline, plan, {"n1": StepResult(status="failed", value="x")})
    assert unfilled(outline, plan, {})


async def test_its_phases_are_bounded() -> None:
    model = ScriptedModel(
        lambda request: (
            SAID
            if request.messages[0].content.startswith("You outline")
            else f'{2 + sum(r.role == "replan" for r in model.requests) - 1}. look_up(text="duty")\nreturn $1\n'
        )
    )
    planner = OutlinePlanner(KIT)
    situation, moves = Situation(task=TASK), []
    while not moves or moves[-1].again:
        moves.append(await planner.next(situation, model=model))
        results = {node.id: StepResult(value="") for node in moves[-1].plan.nodes}
        situation = Situation(task=TASK, plan=moves[-1].plan, results=results, memo=moves[-1].memo)
    assert [move.again for move in moves] == [True, True, False]
    assert all(move.plan.task == TASK for move in moves)
    assert "since when was not found" in model.requests[-1].messages[-1].content


@pytest.mark.parametrize(("task", "written"), [("Who is on duty?", 1), ("Write who is on duty to duty.txt.", 2)])
async def test_a_file_that_the_outline_forgot_is_written_still(task: str, written: int) -> None:
    said = ["FIND\n- (text) who is on duty\nTHEN", '1. look_up(text="duty")\n', '2. mail(text="$1 to duty.txt")\n']
    model, planner = ScriptedModel(said), OutlinePlanner(KIT)
    first = await planner.next(Situation(task=task), model=model)
    results = {"n1": StepResult(value="Eva")}
    second = await planner.next(Situation(task=task, plan=first.plan, results=results, memo=first.memo), model=model)
    assert first.again and not second.again and len(second.plan.nodes) == written
    assert written == 1 or "still to do: write duty.txt" in model.requests[-1].messages[-1].content


async def test_an_outline_that_cannot_be_read_is_no_hindrance() -> None:
    model = ScriptedModel(["I would look it up.", '1. look_up(text="duty")\n2. mail(text=$1)\nreturn $2\n'])
    move = await OutlinePlanner(KIT).next(Situation(task=TASK), model=model)
    assert not move.again and [node.tool for node in move.plan.nodes] == ["look_up", "mail"]


async def test_what_it_cannot_find_it_does_not_run() -> None:
    model = ScriptedModel([SAID, *['1. mail(text="Eva")\n'] * 3])
    with pytest.raises(PlanInvalid):
        await OutlinePlanner(KIT).next(Situation(task=TASK), model=model)
