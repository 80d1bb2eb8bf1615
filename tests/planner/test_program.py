from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuntyard.errors import PlanInvalid
from shuntyard.planner.program import parse_program


def nodes(text: str) -> list[dict[str, Any]]:
    plan = parse_program(text)
    return [
        {key: value for key, value in node.model_dump(exclude_defaults=True).items() if key != "sources"}
        for node in plan.nodes
    ]


def test_names_are_results_and_parts_of_them() -> None:
    text = """
best = query(sql="SELECT name FROM rooms LIMIT 1")
lamps = query(sql=f"SELECT * FROM lamps WHERE room = {best.name}")
tell(first=lamps[0].watt, last=lamps[-1]["unit price"], all=[best, -2, 1.5, True, None], how={"to": best.name})
return best, lamps[0]
"""
    assert nodes(text) == [
        {"id": "n1", "tool": "query", "args": {"sql": "SELECT name FROM rooms LIMIT 1"}},
        {
            "id": "n2",
            "tool": "query",
            "args": {"sql": {"$text": ["SELECT * FROM lamps WHERE room = ", {"$ref": "n1.name"}]}},
        },
        {
            "id": "n3",
            "tool": "tell",
            "args": {
                "first": {"$ref": "n2[0].watt"},
                "last": {"$ref": 'n2[-1]["unit price"]'},
                "all": [{"$ref": "n1"}, -2, 1.5, True, None],
                "how": {"to": {"$ref": "n1.name"}},
            },
        },
    ]


def test_what_is_returned_answers() -> None:
    assert parse_program("x = a()\ny = b(c=x)\nreturn y.d, x[0], y").answers == ("n2", "n1")
    assert parse_program("x = a()").answers == ()


def test_a_for_maps_one_call_and_an_if_is_a_condition() -> None:
    text = """
rows = read(path="a.csv")
for rows_now in rows:
    sent = mail(to=rows_now.address, text="hi")
if sent:
    log(text=f"sent {sent}")
    clean()
other()
"""
    assert nodes(text)[1:] == [
        {"id": "n2", "tool": "mail", "args": {"to": {"$ref": "item.address"}, "text": "hi"}, "over": {"$ref": "n1"}},
        {"id": "n3", "tool": "log", "args": {"text": {"$text": ["sent ", {"$ref": "n2"}]}}, "when": {"$ref": "n2"}},
        {"id": "n4", "tool": "clean", "when": {"$ref": "n2"}},
        {"id": "n5", "tool": "other"},
    ]


def test_calls_inside_calls_are_calls_of_their_own() -> None:
    assert nodes('write(path="a", content=read(path=find(name="b")))') == [
        {"id": "n1", "tool": "find", "args": {"name": "b"}},
        {"id": "n2", "tool": "read", "args": {"path": {"$ref": "n1"}}},
        {"id": "n3", "tool": "write", "args": {"path": "a", "content": {"$ref": "n2"}}},
    ]


def test_a_loop_name_ends_with_its_loop() -> None:
    text = "x = a()\nys = b()\nfor x in ys:\n    c(v=x)\nd(v=x)"
    assert nodes(text)[3]["args"] == {"v": {"$ref": "n1"}}
    with pytest.raises(PlanInvalid, match="line 4: 'y' is not known here; the results so far: ys"):
        parse_program("ys = b()\nfor y in ys:\n    c(v=y)\nd(v=y)")


def test_a_refusal_stands_alone() -> None:
    assert parse_program('outside(reason="no tool can sing")').refusal == "no tool can sing"
    with pytest.raises(PlanInvalid, match="beside calls"):
        parse_program('a()\noutside(reason="x")')


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a(", "line 1: .* at 'a\\('; correct the syntax"),
        ("import os\na()", "line 1: 'import os' cannot be in a plan"),
        ("a(1)", "argument without a name; write a\\(name=value\\)"),
        ("a(**b)", "argument without a name"),
        ("a.b(c=1)", "'a.b' is no tool"),
        ("x = 3", "line 1: 3 cannot|'3' is no result"),
        ("a(b=1 + 2)", "'1 \\+ 2' cannot be computed in a plan; compute it with a call"),
        ("a(b=[x for x in y])", "cannot be computed"),
        ("a(b=lambda: 1)", "cannot be computed"),
        ("x = a()\nb(c=x[1:2])", "line 2: 'x\\[1:2\\]' cannot"),
        ("x = a()\nb(c=f'{x!r}')", "asks for a format"),
        ("x = a()\nif x > 3:\n    b()", "'x > 3' is no result; compute it with a call"),
        ("x = a()\nif x:\n    b()\nelse:\n    c()", "no else"),
        ("x = a()\nif x:\n    if x:\n        b()", "line 3: an if of a plan stands in no other if"),
        ("x = a()\nfor y in x:\n    return y", "line 3: a return stands in no loop"),
        ("x = a()\nfor y in x:\n    if y:\n        break\n    b(c=y)", "line 5: stands after the break"),
        ("x = a()\nfor y in x:\n    break", "line 3: a break of a plan is `if result: break`"),
        ("x = a()\nfor y in x:\n    if y:\n        x = b()\n    c(d=x)", "line 3: 'x' is set only if"),
        ("x = a()\nfor y in x:\n    b(c=y)\nelse:\n    d()", "no else"),
        ("for y in range(x):\n    b()", "is no bound; write a number"),
        ("for y in range(3):\n    b(c=y)", "'y' is not known here"),
        ("for _ in range(3):\n    b()\nelse:\n    d()", "the else of a loop is `raise`"),
        ("for _ in range(3):\n    b()\n    sleep('x')", "no number of seconds"),
        ("x = a()\nfor y, z in x:\n    b(c=y)", "for name in result"),
        ("x.y = a()", "'x.y' is no plain name"),
        ("return a()\nb()", "line 2: stands after return"),
        ("while True:\n    a()", "line 1: a while has no bound; write `for _ in range"),
        ("try:\n    a()\nfinally:\n    b()", "cannot be in a plan"),
        ("a(b={1: 2})", "a key of an object is no text"),
        ("a(b=b'x')", "cannot be computed"),
        ("a(b=" + "[" * 5000 + "]" * 5000 + ")", "correct the syntax"),
        ("a()\n" * 6000, "24,000 characters"),
    ],
)
def test_what_is_no_plan_is_told_with_its_line_and_never_run(text: str, told: str) -> None:
    with pytest.raises(PlanInvalid, match=told):
        parse_program(text)


@given(st.text(max_size=200))
def test_any_text_is_a_plan_or_plan_invalid(text: str) -> None:
    try:
        parse_program(text)
    except PlanInvalid:
        pass


def test_what_a_person_wrote_is_labelled_so() -> None:
    plan = parse_program('a(b="x")\n', task="t")
    assert (plan.origin, plan.task, plan.nodes[0].sources) == ("person", "t", {"b": "person"})
