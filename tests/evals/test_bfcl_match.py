"""The rules by which arguments and calls are compared, one by one."""

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuntyard.evals.case import Case, Output
from shuntyard.evals.suites.bfcl.literals import Language, read, write
from shuntyard.evals.suites.bfcl.match import unlike
from shuntyard.evals.suites.bfcl.score import judge, pairs, scorer

ANY = {"type": "any"}
FLOATS = {"type": "array", "items": {"type": "float"}}
TEXTS = {"type": "array", "items": {"type": "string"}}
ROWS = {"type": "array", "items": {"type": "dict"}}


def right(value: Any, wanted: list[Any], schema: dict[str, Any] | str, language: Language = "python") -> bool:
    return not unlike(value, wanted, {"type": schema} if isinstance(schema, str) else schema, language=language)


@pytest.mark.parametrize(
    ("value", "wanted", "schema"),
    [
        ("April 1, 2024", ["april 1 2024"], "string"),
        ("it's", ['It"s'], "string"),
        ("", ["x", ""], "string"),  # an empty text is as good as none
        (5, [5.0], "float"),
        (5.0, [5], "float"),
        (True, [True], "boolean"),
        ("km", ["km"], ANY),
        ([1.0, 2.5], [[1.0, 2.5]], FLOATS),
        ([1.0, 2.5], [[1.0, 2.5]], {"type": "tuple", "items": {"type": "float"}}),
        ([], ["", [1.0]], FLOATS),
        (["a b", "C."], [["x"], ["AB", "c"]], TEXTS),
        ([[1, 2], [3]], [[[1, 2], [3]]], {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}),
        ({"a": 1}, [{"a": [1], "b": ["", 2]}], "dict"),
        ({"a": "X-1", "b": 2}, [{"b": [2], "a": ["y", "x1"]}], "dict"),
        ({"at": {"lat": 1.5, "name": "A b"}}, [{"at": [{"lat": 1.5, "name": "ab"}]}], "dict"),
        ({"seats": ["A 1", "B"]}, [{"seats": [["a1", "b"]]}], "dict"),
        ([{"n": 1}, {"n": 2}], [[{"n": [1]}, {"n": [2, 3]}]], ROWS),
        ("data['x']", ["data['x']"], FLOATS),  # a variable in place of a list
        (None, [None, ""], "string"),
        (True, [True], "string"),
    ],
)
def test_right(value: Any, wanted: list[Any], schema: Any) -> None:
    assert right(value, wanted, schema)


@pytest.mark.parametrize(
    ("value", "wanted", "schema"),
    [
        ("april 2", ["april 1"], "string"),
        (5, ["5"], "string"),
        ("5", [5], "integer"),
        (5.0, [5], "integer"),
        (True, [1], "integer"),
        (1, [True], "boolean"),
        (1.0, [True], "float"),
        (5.1, [5], "float"),
        ([1, 2.5], [[1.0, 2.5]], FLOATS),  # an integer counts as a float only by itself
        ([2.5, 1.0], [[1.0, 2.5]], FLOATS),
        ([1.0], [[1.0, 2.5]], FLOATS),
        ("a", [["a"]], TEXTS),
        ({"a": 1, "c": 2}, [{"a": [1]}], "dict"),
        ({"a": True}, [{"a": [1]}], "dict"),
        ({}, [{"a": [1]}], "dict"),
        ({"at": {"lat": 1.5}}, [{"at": [{"lat": 1.5, "name": "ab"}]}], "dict"),
        ([{"n": 2}, {"n": 1}], [[{"n": [1]}, {"n": [2]}]], ROWS),
        ([{"n": 1}], [[{"n": [1]}, {"n": [2]}]], ROWS),
        ("Data['x']", ["data['x']"], FLOATS),  # variables are compared exactly
        (None, ["x", ""], "string"),
        ("none", [None], "string"),
        ({"$ref": "n1"}, ["x"], "string"),
        ("x", [], "string"),
    ],
)
def test_wrong(value: Any, wanted: list[Any], schema: Any) -> None:
    assert not right(value, wanted, schema)


@pytest.mark.parametrize(
    ("text", "kind", "item", "value"),
    [
        ("-5", "integer", "", -5),
        ("5L", "long", "", 5),
        ("5", "long", "", "5"),
        ("1.5f", "float", "", 1.5),
        ("1.5", "float", "", "1.5"),
        ("1e3", "double", "", 1000.0),
        ("true", "boolean", "", True),
        ("True", "boolean", "", "True"),
        ("'a'", "char", "", "a"),
        ("new int[]{1, 2}", "Array", "integer", [1, 2]),
        ('new String[] { "a,b", "c" }', "Array", "String", ["a,b", "c"]),
        ("new ArrayList<Long>(Arrays.asList(1L, 2L))", "ArrayList", "long", [1, 2]),
        ("new ArrayList<>() {{ add(1); add(2); }}", "ArrayList", "integer", [1, 2]),
        ("new ArrayList<String>()", "ArrayList", "String", []),
        ('new ArrayList<Object>(Arrays.asList("a", 4, true, 2.5, 7L))', "ArrayList", "any", ["a", 4, True, 2.5, 7]),
        (
            'new HashMap<String, Object>() {{ put("a", 1); put("b(c", "x, y"); }}',
            "HashMap",
            "",
            {"a": 1, "b(c": "x, y"},
        ),
        ("new HashMap<>()", "HashMap", "", {}),
        ("mapArea", "HashMap", "", "mapArea"),
        ("new int[]{1, 2} and more", "Array", "integer", "new int[]{1, 2} and more"),
        (" as it is ", "String", "", " as it is "),
    ],
)
def test_java_literals(text: str, kind: str, item: str, value: Any) -> None:
    found = read(text, kind, item=item, language="java")
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "kind", "item", "value"),
    [
        ("'a'", "String", "", "a"),
        ("a", "String", "", "a"),
        ("5", "float", "", 5.0),
        ("5n", "Bigint", "", 5),
        ("5", "Bigint", "", "5"),
        ("false", "Boolean", "", False),
        ("[1, 2]", "array", "integer", [1, 2]),
        ("['a, b', \"c\"]", "array", "String", ["a, b", "c"]),
        ("new Array(1.5, 2)", "array", "float", [1.5, 2.0]),
        ("[[1], [2, 3]]", "array", "array", [[1], [2, 3]]),
        ("{}", "dict", "", {}),
        ("{a: 1, 'b': [x, 'y'], \"c\": {d: true}}", "dict", "", {"a": 1, "b": ["x", "y"], "c": {"d": True}}),
        ("options", "dict", "", "options"),
        ("new Map()", "any", "", "new Map()"),
    ],
)
def test_javascript_literals(text: str, kind: str, item: str, value: Any) -> None:
    found = read(text, kind, item=item, language="javascript")
    assert (found, type(found)) == (value, type(value))


scalars = st.booleans() | st.integers(-(10**9), 10**9) | st.text("aZ '\"\\,(){}[]\n", max_size=8)


@given(st.lists(scalars, max_size=4), st.dictionaries(st.text("ab,)\"'", min_size=1, max_size=4), scalars, max_size=3))
def test_what_is_written_is_read(items: list[Any], entries: dict[str, Any]) -> None:
    for kind, value in (("ArrayList", items), ("Array", items), ("HashMap", entries)):
        assert read(write(value, kind, language="java"), kind, language="java") == value
    for kind, value in (("array", items), ("dict", entries)):
        assert read(write(value, kind, language="javascript"), kind, language="javascript") == value


@given(st.text(max_size=40), st.sampled_from(["ArrayList", "HashMap", "Array", "array", "dict", "long", "char"]))
def test_any_text_can_be_read(text: str, kind: str) -> None:
    for language in ("java", "javascript"):
        read(text, kind, item="String", language=language)


def test_java_arguments_are_texts() -> None:
    assert right("5", [5], "integer", "java")
    assert not right(5, [5], "integer", "java")
    assert right("ResultSet.CONCUR_READ_ONLY", ["ResultSet.CONCUR_READ_ONLY"], "integer", "java")
    assert not right("resultset.concur_read_only", ["ResultSet.CONCUR_READ_ONLY"], "integer", "java")


def case(*wanted: dict[str, Any], category: str = "parallel") -> Case:
    schema = {
        "properties": {"a": {"type": "integer"}, "b": {"type": "string"}, "c": {"type": "integer"}},
        "required": ["a"],
    }
    functions = [{"name": name, "parameters": schema} for name in ("f", "g")]
    return Case(id="x", category=category, input={"question": [], "functions": functions}, target=list(wanted))


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


def test_parallel_calls_are_paired_so_that_all_fit() -> None:
    # Taken as they come, the first wanted call would use up the only answer to the second.
    loose, strict = {"f": {"a": [1], "b": ["x", ""]}}, {"f": {"a": [1], "b": ["x"]}}
    assert judge(case(loose, strict), [call("f", a=1, b="x"), call("f", a=1)]).value == 1


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=4, max_size=4))
def test_pairing_is_as_large_as_can_be(fits: list[list[bool]]) -> None:
    found = pairs(fits)
    assert all(fits[row][column] for row, column in found.items())
    assert len(set(found.values())) == len(found)
    assert len(found) == max(sum(map(list.__getitem__, fits, order)) for order in permutations(range(4)))


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ([], "2 calls are wanted, 0 were made"),
        ([call("f", a=1), call("h", a=2)], "g is not called but h"),
        ([call("f", a=1), call("g", b="x")], "g: the required argument 'a' is missing"),
        ([call("f", a=1), call("g", a="2")], "a = '2' is not of type integer"),
        ([call("f", a=1), call("g", a=3)], "a = 3 is none of [2]"),
        ([call("f", a=1), call("g", a=2, d=1)], "the argument 'd' is not wanted"),
        ([call("f", a=1), call("g", a=2, b="x")], "the argument 'b' is not wanted"),
        ([call("f", a=1), call("g", a=2), call("g", a=2)], "too much: g(a=2)"),
        ([call("f", a=1), call("g", a={"$ref": "n1"})], "a = {'$ref': 'n1'} is not of type integer"),
        ("f(a=1)", "'f(a=1)' is not a call"),
        ([{"name": "f"}], "is not a call"),
        ([{"name": "f", "arguments": "{}"}], "is not a call"),
    ],
)
def test_the_explanation_says_what_is_wrong(made: Any, why: str) -> None:
    score = judge(case({"f": {"a": [1]}}, {"g": {"a": [2]}}), made)
    assert score.value == 0
    assert why in score.explanation


def test_a_missing_optional_argument_may_be_required_by_the_answer() -> None:
    assert "'c' is missing" in judge(case({"f": {"a": [1], "c": [3]}}), [call("f", a=1)]).explanation


def test_parts_tell_names_from_arguments() -> None:
    truth = case({"f": {"a": [1]}}, {"g": {"a": [2]}})
    assert judge(truth, [call("g", a=2), call("f", a=9)]).parts == {"names": 1.0, "arguments": 0.5}
    assert judge(truth, [call("f", a=1), call("f", a=2), call("g", a=2)]).parts == {"names": 0.0, "arguments": 2 / 3}
    assert judge(truth, [call("g", a=2), call("f", a=1)]).parts == {"names": 1.0, "arguments": 1.0}


@pytest.mark.parametrize("category", ["irrelevance", "live_irrelevance"])
@pytest.mark.anyio
async def test_irrelevance_wants_no_call(category: str) -> None:
    truth = case(category=category)
    assert (await scorer(truth, Output(value=[]))).value == 1
    score = await scorer(truth, Output(value=[call("f", a=1)]))
    assert (score.value, score.explanation) == (0, "no call is due")


@pytest.mark.anyio
async def test_relevance_wants_any_call() -> None:
    truth = case(category="live_relevance")
    assert (await scorer(truth, Output(value=[call("f")]))).value == 1
    assert (await scorer(truth, Output(value=[]))).value == 0
