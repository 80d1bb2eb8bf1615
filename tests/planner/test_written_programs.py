"""Programs that models write: their grammar, how they are read while they come, and how they are sent back."""

import re
from typing import Any

import pytest
from gbnf import accepts
from hypothesis import given
from hypothesis import strategies as st
from toys import plans as toy_plans

from shuntyard.errors import PlanInvalid
from shuntyard.planner.foreign import LESSONS
from shuntyard.planner.program import parse_program
from shuntyard.planner.program_grammar import program_grammar
from shuntyard.planner.program_text import write_program
from shuntyard.planner.programs import ProgramCompiler, ProgramReader, as_program
from shuntyard.planner.shots import BANK, SHORT
from shuntyard.planner.values import refs
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.steps import Effect, Node, Plan, ToolSpec

pytestmark = pytest.mark.anyio
TASK = "Find the harbour of Ystad and mail its tides to Eva."


def spec(name: str, *required: str, effect: Effect = Effect.READ, **properties: Any) -> ToolSpec:
    schema = {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
    binds = tuple(name for name in ("sql", "expression") if name in properties)
    return ToolSpec(name=name, description=f"Does {name} with $1.", parameters=schema, effect=effect, binds=binds)


STRING = {"type": "string"}
SPECS = (
    spec("find", "text", text=STRING, deep={"type": "boolean"}),
    spec("tides", "harbour", harbour=STRING, day={"enum": ["today", "true"]}),
    spec("mail", "to", "text", effect=Effect.EXTERNAL, to=STRING, text=STRING),
)
BUILTIN = (
    spec("query", "sql", sql=STRING),
    spec("calculator", "expression", expression=STRING),
    spec("choose", "condition", "yes", "no", condition=STRING, yes={}, no={}),
    spec("write_file", "path", "content", path=STRING, content={}),
)
GOOD = 'r1 = find(text="Ystad")\nr2 = tides(harbour=r1.name)\nr3 = mail(to="Eva", text=f"tides: {r2}")\nreturn r3'


async def compiled(*said: str, **more: Any) -> tuple[Plan, ScriptedModel]:
    model = ScriptedModel(list(said))
    return await ProgramCompiler(model, SPECS, **more).compile(TASK), model


# --- the grammar ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shot", [*BANK, *SHORT], ids=lambda shot: shot.task[:20])
def test_the_worked_examples_can_be_written(shot: Any) -> None:
    assert accepts(program_grammar(BUILTIN), as_program(shot.plan))


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.task[:20])
def test_those_with_tools_of_their_own_too(lesson: Any) -> None:
    assert accepts(program_grammar(lesson.specs), as_program(lesson.plan))


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        'r1 = find(text="a \\"b\\" {c} $1", deep=True)\nreturn r1',
        'r1 = find(text="a")\nfor item in r1.rows:\n    r2 = mail(to=item.name, text=f"{item[0].x} {{}}")\nreturn r2',
        'r1 = find(text="a")\nif r1:\n    r2 = tides(harbour="x", day="true")\nreturn r1, r2',
        'outside(reason="no")',
    ],
)
def test_what_it_allows_is_a_program(text: str) -> None:
    assert accepts(program_grammar(SPECS), text)
    plan = parse_program(text)
    assert plan.refusal or plan.nodes


@pytest.mark.parametrize(
    "text",
    [
        'r1 = sing(text="a")\nreturn r1',
        'r1 = find(words="a")\nreturn r1',
        'r1 = find(text="a", deep=true)\nreturn r1',
        "r1 = find(text=r1)\nreturn r1",
        'r1 = find(text="a")\nr2 = tides(harbour=item)\nreturn r2',
        'r1 = find(text="a")\nr2 = tides(harbour=r3)\nreturn r2',
        'r1 = find(text="\\d")\nreturn r1',
        'r1 = find(text="a")\n',
        'r1 = find(text="a")\nimport os\nreturn r1',
    ],
)
def test_what_it_forbids(text: str) -> None:
    assert not accepts(program_grammar(SPECS), text)


def test_the_way_out_can_be_closed_and_it_stays_small() -> None:
    assert not accepts(program_grammar(SPECS, refuse=False), 'outside(reason="no")')
    many = [spec(f"tool{n}", "a", a=STRING, b={"type": "integer"}) for n in range(40)]
    assert len(program_grammar(many)) < 300_000


# --- writing and reading -------------------------------------------------------------------------


@given(toy_plans())
def test_a_plan_written_as_a_program_is_read_as_that_plan(plan: Plan) -> None:
    bare = [Node(id=n.id, tool=n.tool, args=n.args, when=n.when, over=n.over) for n in plan.nodes]
    text = write_program(bare, plan.answers)
    read = parse_program(text)
    assert [(n.id, n.tool, n.when, n.over) for n in read.nodes] == [(n.id, n.tool, n.when, n.over) for n in bare]
    assert [list(refs(node)) for node in read.nodes] == [list(refs(node)) for node in bare]
    # A text of several parts and no reference is one text.
    text = write_program(read.nodes, read.answers)
    assert write_program(parse_program(text).nodes, plan.answers) == text


@given(st.text(), st.text(min_size=1))
def test_any_text_survives(text: str, key: str) -> None:
    text, key = (each.encode("utf-8", "replace").decode() for each in (text, key))
    args = {"a": text, "b": {"$text": [text + "x", {"$ref": "n1.name"}]}, "c": {key: [text, None, True, -1.5]}}
    nodes = [Node(id="n1", tool="t"), Node(id="n2", tool="t", args=args)]  # type: ignore[arg-type]
    read = parse_program(write_program(nodes))
    assert read.nodes[1].args == args


@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_a_statement_is_given_on_when_it_is_complete(piece: int) -> None:
    text = 'r1 = find(\n  text="a"\n)\nif r1:\n    r2 = tides(harbour="x")\nr3 = mail(to="a", text=r2)\nreturn r3'
    reader = ProgramReader(task=TASK)
    found = []
    for at in range(0, len(text), piece):
        before = text[: at + piece]
        found += reader.feed(text[at : at + piece])
        assert ("n1" in [node.id for node in found]) == ("\n)\n" in before)
    found += reader.close()
    assert [node.id for node in found] == ["n1", "n2", "n3"] and not reader.problems
    assert found[1].when == {"$ref": "n1"} and found[2].when is None


@pytest.mark.parametrize(
    "text",
    ['r1 = find(text="abc', 'r1 = find(text="a")\nr2 = tides(harb', "r1 = find(text=[1, 2", "if r1:\n"],
)
def test_a_program_that_is_cut_is_told_of(text: str) -> None:
    reader = ProgramReader()
    nodes = [*reader.feed(text), *reader.close()]
    assert len(reader.problems) == 1 and re.match(r"line \d+: ", reader.problems[0])
    assert [node.id for node in nodes] == (["n1"] if "\n" in text and "if" not in text else [])


def test_a_program_that_goes_round_is_stopped() -> None:
    reader = ProgramReader()
    text = "".join(f'r{n} = find(text="a")\n' for n in range(1, 100))
    assert [node.id for node in reader.feed(text)] == ["n1"] and reader.stopped
    reader = ProgramReader()
    reader.feed('r1 = find(text="' + "and so on " * 200)
    assert reader.stopped and "does not end" in reader.problems[0]
    assert reader.feed("more\n") == [] and reader.close() == []


# --- compiling -----------------------------------------------------------------------------------


async def test_a_program_becomes_the_plan_that_lines_would() -> None:
    heard: list[str] = []
    model = ScriptedModel([f"```python\n{GOOD}\n```"])
    plan = await ProgramCompiler(model, SPECS).compile(TASK, on_node=lambda node: heard.append(node.id))
    assert [(node.tool, dict(node.args)) for node in plan.nodes] == [
        ("find", {"text": "Ystad"}),
        ("tides", {"harbour": {"$ref": "n1.name"}}),
        ("mail", {"to": "Eva", "text": {"$text": ["tides: ", {"$ref": "n2"}]}}),
    ]
    assert plan.origin == "model" and plan.nodes[0].sources == {"text": "task"} and plan.answers == ()
    assert plan.nodes[2].effect is Effect.EXTERNAL and heard == ["n1", "n2", "n3"]
    (request,) = model.requests
    assert request.grammar is not None and "r1 = " in request.grammar
    shown = "".join(message.content for message in request.messages)
    assert "Does mail with {r1}." in shown and "1. find" not in shown


async def test_what_was_wrong_is_told_in_the_words_of_programs() -> None:
    wrong = 'r1 = find(text="Ystad")\nr2 = tides(port=r1)\nreturn r2'
    plan, model = await compiled(wrong, GOOD)
    assert len(plan.nodes) == 3 and [request.role for request in model.requests] == ["compile", "repair"]
    told = model.requests[1].messages[-1].content
    assert "r2: tides has no argument 'port'" in told
    assert 'begin with them:\nr1 = find(text="Ystad")' in told and "port=r1" not in told


@pytest.mark.parametrize("said", ["r1 = find(text=", "no idea", "", "r1 = fly(to=1)\nreturn r1", "while True: pass"])
async def test_what_cannot_be_mended_is_no_plan(said: str) -> None:
    model = ScriptedModel([said] * 3)
    with pytest.raises(PlanInvalid):
        await ProgramCompiler(model, SPECS).compile(TASK)
    assert [request.role for request in model.requests] == ["compile", "repair", "repair"]


async def test_a_refusal_is_no_plan_to_repair() -> None:
    plan, model = await compiled('outside(reason="no tool sings")', 'outside(reason="no tool sings")')
    assert plan.refusal == "no tool sings" and {request.role for request in model.requests} == {"compile"}


async def test_an_extension_is_written_in_lines() -> None:
    from shuntyard.moves import Situation
    from shuntyard.planner.kit import Kit
    from shuntyard.planner.planners import ProgramPlanner
    from shuntyard.steps import StepResult

    plan, _ = await compiled(GOOD)
    results = {"n1": StepResult(value={"name": "Ystad"}), "n2": StepResult(value="high")}
    model = ScriptedModel(['4. mail(to="Eva", text=$2)\nreturn $4\n'])
    situation = Situation(task=TASK, plan=plan, results=results, reason="the mail failed")
    move = await ProgramPlanner(Kit(SPECS)).next(situation, model=model)
    assert [node.id for node in move.plan.nodes] == ["n1", "n2", "n4"] and not move.again
    assert model.requests[0].role == "replan" and "the mail failed" in model.requests[0].messages[-1].content
