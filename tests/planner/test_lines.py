from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shuntyard.planner.lines import LineError, Refusal, parse_line, write
from shuntyard.planner.reader import LineReader
from shuntyard.steps import Node

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(lambda name: name != "outside")
TEXTS = st.text(max_size=30) | st.sampled_from(
    ["$1", "${1}", "more than $1 million", "\\$2", "a\\b\f'\"", "$", "$item.x"]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
    | TEXTS
)
PATHS = st.lists(st.sampled_from([".name", "[0]", ".txt", ".rows", "[12]"]), max_size=3).map("".join)


@st.composite
def references(draw: st.DrawFn, number: int, item: bool = False) -> dict[str, Any]:
    heads = [f"n{n}" for n in range(1, number)] + (["item"] if item else [])
    return {"$ref": draw(st.sampled_from(heads)) + draw(PATHS)}


@st.composite
def texts(draw: st.DrawFn, number: int, item: bool) -> dict[str, Any]:
    parts: list[Any] = []
    for part in draw(st.lists(references(number, item) | TEXTS.filter(bool), min_size=1, max_size=5)):
        if isinstance(part, str) and parts and isinstance(parts[-1], str):
            parts[-1] += part
        else:
            parts.append(part)
    return {"$text": [*parts, {"$ref": "n1"}]}


@st.composite
def nodes(draw: st.DrawFn) -> Node:
    number = draw(st.integers(2, 30))
    mapped = draw(st.booleans())
    leaves = SCALARS | references(number, mapped) | texts(number, mapped)
    keys = st.text(max_size=5).filter(lambda key: not key.startswith("$"))
    values = st.recursive(
        leaves, lambda v: st.lists(v, max_size=3) | st.dictionaries(keys, v, max_size=3), max_leaves=6
    )
    return Node(
        id=f"n{number}",
        tool=draw(NAMES),
        args=draw(st.dictionaries(NAMES, values, max_size=3)),
        over=draw(references(number)) if mapped else None,
        when=draw(st.none() | references(number)),
        after=tuple(draw(st.lists(st.integers(1, number - 1).map(lambda n: f"n{n}"), max_size=2))),
    )


@settings(deadline=None, max_examples=400)
@given(nodes())
def test_what_is_written_is_read_back(node: Node) -> None:
    assert parse_line(write(node)) == node


@settings(deadline=None, max_examples=200)
@given(st.lists(nodes(), max_size=4), st.lists(st.integers(1, 9), min_size=1, max_size=5), st.booleans())
def test_chunks_do_not_matter(plan: list[Node], sizes: list[int], closed: bool) -> None:
    text = "\n".join(write(node) for node in plan) + ("\n" if closed else "")
    whole, cut = LineReader(), LineReader()
    whole.feed(text)
    whole.close()
    at = turn = 0
    while at < len(text):
        cut.feed(text[at : at + sizes[turn % len(sizes)]])
        at, turn = at + sizes[turn % len(sizes)], turn + 1
    cut.close()
    assert (whole.nodes, whole.problems, whole.stopped) == (cut.nodes, cut.problems, cut.stopped)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"$1 - 4"', {"$text": [{"$ref": "n1"}, " - 4"]}),
        ('"more than $1 million"', "more than $1 million"),
        ('"$1,500 or $1.50 or $2 dollars"', "$1,500 or $1.50 or $2 dollars"),
        ('"over ${1} million"', {"$text": ["over ", {"$ref": "n1"}, " million"]}),
        (r'"\$1 off"', "$1 off"),
        ('"costs $9"', "costs $9"),
        ('"see $1."', {"$text": ["see ", {"$ref": "n1"}, "."]}),
        ('"out/$1.txt"', {"$text": ["out/", {"$ref": "n1"}, ".txt"]}),
        ('"$2[0].name!"', {"$text": [{"$ref": "n2[0].name"}, "!"]}),
        ("$2.rows[0]", {"$ref": "n2.rows[0]"}),
        (r'"\d+\.txt$"', r"\d+\.txt$"),
        (r'"a\"b"', 'a"b'),
        ("'it'", "it"),
        ("[True, None, -2.5e3]", [True, None, -2500.0]),
        ('{"a": [$1]}', {"a": [{"$ref": "n1"}]}),
    ],
)
def test_values(value: str, expected: Any) -> None:
    parsed = parse_line(f"3. tool(a={value})")
    assert isinstance(parsed, Node) and parsed.args == {"a": expected}


def test_dollars_of_the_task_are_literal() -> None:
    parsed = parse_line('3. find(text="under $2 today")', task="which are under $2 today?")
    assert isinstance(parsed, Node) and parsed.args == {"text": "under $2 today"}


def test_conditions_and_maps() -> None:
    node = parse_line('4. read(path="$item/a.txt") for each $2.files if $3 after $1')
    assert isinstance(node, Node)
    assert (node.over, node.when, node.after) == ({"$ref": "n2.files"}, {"$ref": "n3"}, ("n1",))
    assert node.args == {"path": {"$text": [{"$ref": "item"}, "/a.txt"]}}


@pytest.mark.parametrize(
    "line",
    [
        "hello",
        "1. tool(",
        '1. tool("positional")',
        "1. tool(a=)",
        '1. tool(a="x)',
        "1. tool(a=$)",
        "1. tool(a=1, a=2)",
        '1. tool(a={"$ref": "n1"})',
        "1. tool(a=1) and more",
        "1. tool(a=$item)",
        "0. tool(a=1)",
        "tool(a=1)",
        "1. tool(a=1e999)",
        "1. tool(a=" + "[" * 100 + "]" * 100 + ")",
    ],
)
def test_bad_lines_are_errors(line: str) -> None:
    with pytest.raises(LineError):
        parse_line(line)


def test_the_way_out() -> None:
    assert parse_line('outside(reason="no tool sends mail")') == Refusal("no tool sends mail")
    reader = LineReader()
    assert reader.feed('1. outside(reason="no")\n2. tool(a=1)\n') == []
    assert reader.refusal == "no"


def test_prose_and_fences_are_ignored() -> None:
    reader = LineReader()
    reader.feed("Here's the plan:\n```\n1. a(x=1)\n2) b(y=$1)\n```\nIt's done.")
    reader.close()
    assert [node.tool for node in reader.nodes] == ["a", "b"] and not reader.problems


def test_a_value_may_run_over_lines_and_an_open_one_costs_only_its_line() -> None:
    reader = LineReader()
    reader.feed('1. w(content="a\nb")\n2. w(content="open\n3. r(path="x")\n')
    assert [node.id for node in reader.nodes] == ["n1", "n3"]
    assert reader.nodes[0].args == {"content": "a\nb"}
    assert len(reader.problems) == 1 and "not closed" in reader.problems[0]


def test_circles_end_the_reading() -> None:
    reader = LineReader()
    reader.feed("1. a(x=1)\n" + "".join(f"{n}. b(x=2)\n" for n in range(2, 50)))
    assert [node.id for node in reader.nodes] == ["n1", "n2"] and reader.stopped
    endless = LineReader()
    endless.feed('1. a(x="' + "and so on " * 200)
    assert endless.stopped and endless.problems


@settings(deadline=None, max_examples=300)
@given(st.text() | st.text(alphabet="1.a(=\"$[]{}),\\\n '", max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    reader = LineReader()
    found = reader.feed(text) + reader.close()
    assert found == reader.nodes
