"""Catalogues that no worked example of ours shows: how a model is asked, and that our lessons are right."""

import re

import pytest

from shuntyard.planner.foreign import LESSONS, SUMS, Lesson, explained, lessons
from shuntyard.planner.lines import Refusal, parse_line
from shuntyard.planner.prompt import messages
from shuntyard.planner.validate import complete, problems
from shuntyard.steps import Effect, Node, Plan, ToolSpec

EVERY = (*SUMS, *LESSONS)


def spec(name: str, *, binds: tuple[str, ...] = (), **parameters: object) -> ToolSpec:
    schema = {"type": "object", "properties": parameters, "required": list(parameters)}
    return ToolSpec(name=name, description=f"Do {name}.", parameters=schema, binds=binds)


OWN = [spec("weigh", parcel={"type": "string", "description": "Number on the label"})]


def nodes(lesson: Lesson) -> list[Node]:
    parsed = [parse_line(line, task=lesson.task) for line in lesson.plan.splitlines() if not line.startswith("return")]
    return [node for node in parsed if not isinstance(node, Refusal)]


@pytest.mark.parametrize("lesson", EVERY, ids=lambda lesson: lesson.specs[0].name)
def test_a_lesson_is_a_valid_plan_over_its_own_tools(lesson: Lesson) -> None:
    plan = complete(Plan(task=lesson.task, nodes=tuple(nodes(lesson))), lesson.specs)
    assert lesson.plan.startswith("outside(") or problems(plan, lesson.specs) == []
    returned = re.findall(r"\$(\d+)", lesson.plan.splitlines()[-1])
    assert lesson.plan.startswith("outside(") or set(returned) <= {node.id[1:] for node in plan.nodes}


def test_lessons_refuse_near_and_far_and_chain_and_fan_out() -> None:
    assert sum(lesson.plan.startswith("outside(") for lesson in LESSONS) == 2
    assert any("$1" in line for lesson in LESSONS for line in lesson.plan.splitlines() if not line.startswith("return"))
    assert {spec.effect for lesson in LESSONS for spec in lesson.specs} == {Effect.READ, Effect.EXTERNAL}


def test_calculating_lessons_come_only_with_a_tool_that_calculates() -> None:
    assert lessons(OWN) == LESSONS
    assert lessons([*OWN, spec("sum", binds=("of",), of={"type": "string"})])[: len(SUMS)] == SUMS


def test_the_turns_before_the_task_are_the_same_for_every_catalogue() -> None:
    mine, other = messages("Weigh it.", OWN), messages("Sell it.", [spec("sell", thing={"type": "string"})])
    assert mine[:-1] == other[:-1] and len(mine) == 2 * len(LESSONS) + 2
    assert mine[-1].content == (
        "TOOLS\nweigh(parcel: text) - Do weigh.\n  parcel: Number on the label\n\nTASK\nWeigh it."
    )


def test_long_enumerations_are_shown() -> None:
    assert '"c39"' in explained([spec("pick", colour={"enum": [f"c{n}" for n in range(60)]})])
