"""Bodies as clients of a plan see them: filed, drawn and predicted."""

from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shaped import SPECS, looped, mapped, shaped
from yard import SPECS as YARD
from yard import args, plan, ref

from shuntyard.planner.files import dump, parse
from shuntyard.planner.lines import write
from shuntyard.planner.predict import HIGH, LIKELY, LOW, estimate
from shuntyard.planner.program import parse_program
from shuntyard.planner.render import mermaid, svg, tree
from shuntyard.planner.validate import problems
from shuntyard.planner.values import lean
from shuntyard.steps import Plan, StepResult, ToolSpec

PROGRAM = """
jobs = list_jobs()
for job in jobs:
    for _ in range(9):
        state = look(job=job.id)
        sleep(2)
        if state.done:
            break
    else:
        raise
    note = write_note(text=state)
"""


@settings(deadline=None, max_examples=30)
@given(shaped(ends=True))
def test_a_plan_is_the_same_when_it_is_read_back(made: Plan) -> None:
    assert parse(dump(made)) == made.model_copy(update={"nodes": tuple(map(lean, made.nodes))})


@settings(deadline=None, max_examples=30)
@given(shaped(ends=True))
def test_every_call_is_drawn(made: Plan) -> None:
    drawn = tree(made), mermaid(made), svg(made), "\n".join(map(write, made.nodes))
    ElementTree.fromstring(drawn[2])
    for node in made.every():
        assert all(node.id in text for text in drawn[:3]) and f"{node.id[1:]}. " in drawn[3]


def test_a_tree_tells_how_often_a_call_of_a_body_ran() -> None:
    made = parse_program(PROGRAM, task="Look")
    done, bad = StepResult(value=1), StepResult(status="failed")
    results = {"n2": done, "n2[0].n4[0].n5": done, "n2[0].n4[1].n5": done, "n2[1].n4[0].n5": bad, "n2[0].n6": done}
    assert tree(made, results).splitlines() == [
        "Look",
        "└─ n1 list_jobs()  [waits]",
        "   └─ n2 3 calls for each item of $1  ✓ done 0 ms  1",
        "      : n3 $item",
        "      : n4 1 call until $5.done, at most 9 times, 2 s apart",
        "         : n5 look(job=$3.id)  ✓ 2 done, ✗ 1 failed",
        "      : n6 write_note(text=$4)  ✓ 1 done",
    ]


def test_a_loop_is_a_range_of_turns() -> None:
    specs = [ToolSpec(name=name, description="", parameters={}, seconds=1.0) for name in ("look", "list_jobs")]
    made = parse_program(PROGRAM.replace("    note = write_note(text=state)\n", ""))
    low, likely, high = (estimate(made, specs, 4, assumed).calls for assumed in (LOW, LIKELY, HIGH))
    assert (low, likely, high) == (1 + 1, 1 + 5 * 4, 2 * (1 + 25 * 9))


@settings(deadline=None, max_examples=15)
@given(shaped(), st.integers(1, 4))
def test_the_bounds_hold_with_bodies(made: Plan, workers: int) -> None:
    for assumed in (LOW, LIKELY):
        guess = estimate(made, SPECS, workers, assumed)
        assert guess.span - 1e-9 <= guess.makespan <= guess.work + 1e-9
        assert guess.lower - 1e-9 <= guess.makespan <= guess.upper + 1e-9
    low, high = (estimate(made, SPECS, workers, assumed) for assumed in (LOW, HIGH))
    assert low.calls <= high.calls and low.makespan <= high.makespan + 1e-9


@pytest.mark.parametrize(
    ("nodes", "told"),
    [
        ([looped(args(), most=None, until=ref("n11"))], "n1: 'until' without a bound might never end; set 'most'"),
        ([args(), mapped(args(), most=3)], "n2: 'over' and 'most' both say how many turns"),
        ([looped(args(x=ref("n9")), most=2)], "n11: refers to n9, which does not exist"),
        ([looped(args(), most=2), args(x=ref("n11"))], "n2: refers to n11, which is in the body of n1; refer to n1."),
        ([looped(args(x=ref("item")), most=2)], "n11: 'item' has no meaning here"),
        ([args(x=ref("last"))], "n1: 'last' has no meaning here"),
        ([looped(args(x=ref("n12")), args(), most=2)], "n11: refers to n12, which comes later"),
        ([looped(args(), most=2, until=ref("n7"))], "n1: refers to n7, which does not exist"),
        ([looped(most=2)], "n1: its body has no call and no result"),
        ([{**looped(args(), most=2), "tool": "read"}], "n1: has a body and calls 'read'"),
        ([{**looped(args(), most=2), "policy": {"retries": 3}}], "n1: retries is for one call"),
        ([{**looped(args(), most=2), "effect": "write"}], "n1: the effect is 'write', but the gravest in its body is"),
        (
            [looped({"tool": "", "body": {"result": 1, "ends": True}}, most=2)],
            "n11: only a call of the plan itself can end it",
        ),
        ([looped({**args(), "id": "n1"}, most=2)], "n1: this id is used twice"),
        ([looped({"tool": "reed"}, most=2)], "n11: unknown tool 'reed'; use one of read"),
        ([args(), mapped(args(), pause=2)], "n2: pause = 2 is for loops"),
    ],
)
def test_what_is_wrong_with_a_body_is_told_with_its_mend(nodes: list[dict[str, Any]], told: str) -> None:
    found = problems(plan(*nodes), YARD)
    assert [problem for problem in found if problem.startswith(told)], found
