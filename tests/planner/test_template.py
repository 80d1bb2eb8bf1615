"""Plans taken over from one task to another, and who plans when."""

from typing import Any

import pytest

from shuntyard.planner.auto import choose
from shuntyard.planner.lines import Refusal, parse_line, write
from shuntyard.planner.template import abstract, bound, differences, reworded
from shuntyard.steps import Hint, Node, Plan

OLD = "How many lamps in the room 'hall' use more than 60 watt? Save them as hall.csv."
LINES = (
    "1. query(sql=\"SELECT count(*) FROM lamps WHERE room = 'hall' AND watt > 60\")\n"
    '2. write_file(path="hall.csv", content=$1)'
)


def hint(task: str = OLD, lines: str = LINES, **more: Any) -> Hint:
    nodes = tuple(node for line in lines.splitlines() if isinstance(node := parse_line(line), Node))
    return Hint(run="r1", task=task, plan=Plan(task=task, nodes=nodes, revision=2), similarity=0.9, **more)


def lines(plan: Plan | None) -> str | None:
    return None if plan is None else "\n".join(write(node) for node in plan.nodes)


def test_values_of_the_task_become_typed_slots() -> None:
    found = abstract(hint())
    assert [(slot.kind, slot.text) for slot in found.slots] == [
        ("text", "hall"),
        ("number", "60"),
        ("file", "hall.csv"),
    ]


def test_other_names_and_numbers_take_their_places() -> None:
    new = "How many lamps in the room 'attic' use more than 7.5 watt? Please save them as out/a.csv."
    plan = bound(hint(), new)
    assert lines(plan) == (
        "1. query(sql=\"SELECT count(*) FROM lamps WHERE room = 'attic' AND watt > 7.5\")\n"
        '2. write_file(path="out/a.csv", content=$1)'
    )
    assert plan is not None and plan.task == new and plan.revision == 0


def test_values_are_swapped_all_at_once() -> None:
    task = "Go from Lund to Ystad, 3 times 4."
    new = "Go from Ystad to Varberg, 4 times 5."
    made = bound(hint(task, '1. go(a="Lund", b="Ystad", x=3, y=4)'), new)
    assert lines(made) == '1. go(a="Ystad", b="Varberg", x=4, y=5)'


def test_names_of_more_words_are_one_value_and_small_letters_stay_small() -> None:
    task = "The tides of Varberg, please."
    made = bound(hint(task, '1. tides(harbour="Varberg")\n2. find(text="varberg")'), "The tides of New York, please.")
    assert lines(made) == '1. tides(harbour="New York")\n2. find(text="new york")'


@pytest.mark.parametrize(
    ("task", "new"),
    [
        (OLD, OLD.replace("more", "less")),
        (OLD, OLD.replace("lamps", "stoves")),
        (OLD, OLD.replace("60", "sixty")),
        (OLD, OLD.replace("60", "hall")),
        (OLD, OLD.replace("Save", "Mail")),
        (OLD, "What is the mean watt of all lamps?"),
        (OLD, OLD + " And how many are there in all rooms of the house?"),
        (OLD, OLD.replace("'hall' use", "'attic' and 'cellar' use")),
        ("Mail Eva now", "Mail Bo and Olaf now"),
        ("Go from 'a' to 'b'", "Go to 'a' from 'b'"),
        ("Mail Eva now", "Mail Bo, Olaf now"),
        ("count the 'red' ones and the 'red' ones", "count the 'red' ones and the 'blue' ones"),
    ],
)
def test_a_task_of_another_structure_is_another(task: str, new: str) -> None:
    assert bound(hint(task), new) is None


def test_a_function_is_no_value() -> None:
    task = "What is the sum of watt?"
    assert bound(hint(task, '1. query(sql="SELECT sum(watt) FROM lamps")'), task.replace("sum", "max")) is None


def test_a_number_that_the_plan_has_more_often_than_the_task_is_in_doubt() -> None:
    task = "The 3 best of room 3?"
    assert bound(hint(task, "1. best(n=3, room=3, page=1)"), "The 4 best of room 5?") is None
    task = "The 3 best?"
    assert bound(hint(task, '1. query(sql="SELECT 3 FROM t LIMIT 3")'), "The 4 best?") is None
    assert lines(bound(hint(task, "1. best(n=3)"), "The 4 best?")) == "1. best(n=4)"


def test_the_same_words_differ_in_nothing() -> None:
    assert differences(OLD, OLD.upper()) == [] == differences("the lamp", "lamp")
    assert differences("red lamp", "lamp") is None
    assert differences("from Lund to Ystad", "to Lund from Ystad") != []


def test_references_and_texts_around_them_stay() -> None:
    assert isinstance(parse_line('outside(reason="x")'), Refusal)
    task = "Mail 'hall' to Eva."
    made = bound(hint(task, '1. find(text="hall")\n2. mail(to="Eva", text="hall: $1.n1 of hall")'), "Mail 'n1' to Bo.")
    assert made is not None and made.nodes[1].args["text"] == {"$text": ["n1: ", {"$ref": "n1.n1"}, " of n1"]}


# --- auto ----------------------------------------------------------------------------------------


def test_a_named_planner_needs_no_reason() -> None:
    choice = choose("react", OLD, hints=(hint(exact=True),))
    assert (choice.planner, choice.reason, len(choice.hints)) == ("react", "", 1)


@pytest.mark.parametrize(
    ("task", "tier", "hints", "planner", "reason"),
    [
        (OLD, "", (hint(exact=True),), "reuse", "run r1 did the same task"),
        (OLD.replace("60", "75"), "small", (hint(),), "reuse", "other values: 75 for 60"),
        (OLD.replace("more", "less"), "large", (hint(),), "dag", "nothing"),
        ("Find out who is on duty, then mail that person.", "large", (), "outline", "Find out who is on duty, then"),
        ("Find out who is on duty, then mail that person.", "small", (), "dag", "nothing"),
    ],
)
def test_who_plans_what(task: str, tier: str, hints: tuple[Hint, ...], planner: str, reason: str) -> None:
    choice = choose("auto", task, hints=hints, tier=tier)
    assert choice.planner == planner and reason in choice.reason


def test_auto_is_dag_where_nothing_is_remembered() -> None:
    for task in ("What is the sum of the amounts?", "Write the best room to best.txt.", "Sing."):
        assert choose("auto", task, tier="small").planner == "dag"


@pytest.mark.parametrize(
    ("task", "same"),
    [
        ("Save them as a.csv: how many lamps use more than 75 watt in the room 'attic'?", True),
        ("Save them as a.csv: how many lamps use less than 75 watt in the room 'attic'?", False),
        ("Save them as a.csv: how many lamps use more than 75 watt in the room 'attic' today?", False),
        ("Save them as a.csv: how many lamps use more than 75 watt?", False),
        (OLD.replace("60", "75"), False),
        (OLD, False),
    ],
)
def test_the_same_words_in_another_order_ask_the_same(task: str, same: bool) -> None:
    assert reworded(abstract(hint()), task) is same
