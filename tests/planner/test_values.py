import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuntyard.errors import ArgumentsInvalid
from shuntyard.planner.values import elements, holds, parents, parse_ref, resolve
from shuntyard.steps import Bound, Label, Node, StepResult, ToolSpec

TOOL = Label(sources=("tool",), tools=("query",))


def spec(*, binds: tuple[str, ...] = (), **kinds: str) -> ToolSpec:
    properties = {name: {"type": kind} for name, kind in kinds.items()}
    return ToolSpec(name="t", description="", parameters={"type": "object", "properties": properties}, binds=binds)


def result(value: object) -> StepResult:
    return StepResult.model_validate({"value": value, "label": TOOL})


def ref(text: str) -> dict[str, str]:
    return {"$ref": text}


def one(value: object, /, found: object, *, kind: str = "", binds: bool = False, item: object = None) -> object:
    node = Node.model_validate({"id": "n2", "tool": "t", "args": {"x": value}, "over": ref("n1") if item else None})
    shape = spec(x=kind, binds=("x",) if binds else ()) if kind or binds else spec()
    return resolve(node, {"n1": result(found)}, shape, item=item).args["x"]


def test_reads_a_path_of_keys_and_indices() -> None:
    assert parse_ref("n12.rows[0].name").path == ("rows", 0, "name")
    assert parse_ref('n1["odd key"][-1]').path == ("odd key", -1)
    assert parse_ref("item").head == "item"


@pytest.mark.parametrize("text", ["", "rows", "n0", "n1.", "n1[", "n1[x]", "n1 .a", "$1", "n1..a", "item]"])
def test_refuses_what_is_no_reference(text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        parse_ref(text)


def test_follows_nested_references_in_lists_and_objects() -> None:
    found = {"rows": [{"name": "a"}, {"name": "b"}]}
    assert one([{"deep": ref("n1.rows[1].name")}, ref("n1.rows[0]")], found) == [{"deep": "b"}, {"name": "a"}]


def test_a_column_of_many_rows_is_a_list_and_of_one_row_its_field() -> None:
    assert one(ref("n1.name"), [{"name": "a"}, {"name": "b"}]) == ["a", "b"]
    assert one(ref("n1.name"), [{"name": "a"}]) == "a"


def test_a_column_of_one_row_is_a_list_where_a_list_is_wanted() -> None:
    assert one(ref("n1.name"), [{"name": "a"}], kind="array") == ["a"]
    assert one(ref("n1.name[0]"), [{"name": "a"}]) == "a"
    node = Node.model_validate({"id": "n2", "tool": "t", "over": ref("n1.name")})
    assert elements(node, {"n1": result([{"name": "a"}])}) == ["a"]
    assert elements(node, {"n1": result([])}) == []


def test_a_table_of_one_cell_counts_as_its_cell_for_scalars_text_and_conditions() -> None:
    assert one(ref("n1"), [{"n": 7}], kind="integer") == 7
    assert one(ref("n1"), [{"n": 7}], kind="array") == [{"n": 7}]
    assert one({"$text": ["at most ", ref("n1")]}, [{"n": 7}]) == "at most 7"
    node = Node.model_validate({"id": "n2", "tool": "t", "when": ref("n1")})
    assert not holds(node, {"n1": result([{"n": 0}])})
    assert holds(node, {"n1": result([{"n": 0}, {"n": 0}])})


def test_text_writes_what_is_no_text_as_json() -> None:
    parts = {"$text": ["a ", ref("n1.t"), " b ", ref("n1.l"), " c ", ref("n1.n")]}
    assert one(parts, {"t": "é", "l": [1, "x"], "n": None}) == 'a é b [1, "x"] c null'


def test_bound_text_keeps_values_beside_the_text() -> None:
    assert one({"$text": [ref("n1"), " - 4"]}, 1200, binds=True) == Bound(text="$1 - 4", values={"$1": 1200})
    assert one({"$text": ["x = ", ref("n1.name"), " or y = ", ref("n1.name")]}, {"name": "q"}, binds=True) == Bound(
        text="x = $1_name or y = $1_name", values={"$1_name": "q"}
    )
    assert one(ref("n1"), 1200, binds=True) == 1200


def test_names_of_bound_values_are_unique_and_cannot_run_into_the_text() -> None:
    bound = one(
        {"$text": ["$1 + ", ref("n1"), "0 + ", ref("n1.a_b"), ref("n1.a.b")]}, {"a_b": 1, "a": {"b": 2}}, binds=True
    )
    assert isinstance(bound, Bound)
    assert bound.text == "$1 + $1_2 0 + $1_a_b$1_a_b_2"
    assert list(bound.values.values()) == [{"a_b": 1, "a": {"b": 2}}, 1, 2]


@given(
    st.recursive(
        st.sampled_from(["$1", "${1}", "$ref", "n1", "{}"]) | st.integers(),
        lambda s: st.lists(s) | st.dictionaries(st.sampled_from(["$ref", "$text", "a"]), s),
    )
)
def test_what_a_result_contains_stays_data(value: object) -> None:
    assert one(ref("n1"), value) == value
    text = one({"$text": ["<", ref("n1"), ">"]}, {"v": [value]})
    assert text == "<" + json.dumps({"v": [value]}) + ">"
    assert one([ref("item")], ["secret"], item=value or 1) == [value or 1]


def test_references_in_results_are_never_followed() -> None:
    found = {"a": {"$ref": "n1.secret"}, "b": "see $1 and ${2}", "secret": "s3cret"}
    assert one(ref("n1.a"), found) == {"$ref": "n1.secret"}
    assert one({"$text": [ref("n1.b"), "!"]}, found) == "see $1 and ${2}!"


@pytest.mark.parametrize(
    ("text", "found", "words"),
    [
        ("n1.nam", {"name": 1, "age": 2}, ["n1.nam", "'nam'", "'name', 'age'"]),
        ("n1.nam", [{"name": 1}], ["n1.nam", "'name'", "list of 1"]),
        ("n1[3]", [1, 2], ["n1[3]", "2 elements"]),
        ("n1[0]", "text", ["n1[0]", "'text'"]),
        ("n3", 1, ["n3", "no result"]),
        ("item", 1, ["item", "over"]),
    ],
)
def test_a_path_that_leads_nowhere_says_what_is_there(text: str, found: object, words: list[str]) -> None:
    with pytest.raises(ArgumentsInvalid) as caught:
        one(ref(text), found)
    assert all(word in str(caught.value) for word in ["n2", *words])


def test_over_something_that_is_no_list_is_an_error() -> None:
    node = Node.model_validate({"id": "n2", "tool": "t", "over": ref("n1")})
    with pytest.raises(ArgumentsInvalid, match="once per element"):
        elements(node, {"n1": result("abc")})


def test_a_result_that_did_not_succeed_is_not_a_value() -> None:
    node = Node.model_validate({"id": "n2", "tool": "t", "args": {"x": ref("n1")}})
    with pytest.raises(ArgumentsInvalid, match="n1 is failed"):
        resolve(node, {"n1": StepResult(status="failed")}, spec())


def test_labels_join_the_literals_sources_and_the_results_labels() -> None:
    node = Node.model_validate(
        {
            "id": "n3",
            "tool": "t",
            "args": {"a": "x", "b": {"$text": ["y", ref("n1"), ref("n2")]}, "c": [1, ref("n1")], "d": 1},
            "sources": {"a": "task", "b": "model", "c[0]": "memory"},
        }
    )
    other = StepResult(value=1, label=Label(sources=("tool", "memory"), tools=("read_file",)))
    labels = resolve(node, {"n1": result(1), "n2": other}, spec()).labels
    assert labels["a"] == Label(sources=("task",)) and labels["a"].trusted
    assert labels["b"] == Label(sources=("model", "tool", "memory"), tools=("query", "read_file"))
    assert labels["c"] == Label(sources=("memory", "tool"), tools=("query",))
    assert labels["d"] == Label()


def test_an_element_has_the_label_of_its_list_and_unlabelled_results_are_not_trusted() -> None:
    node = Node.model_validate({"id": "n2", "tool": "t", "args": {"x": ref("item"), "y": ref("n3")}, "over": ref("n1")})
    labels = resolve(node, {"n1": result([1]), "n3": StepResult(value=1)}, spec(), item=1).labels
    assert labels["x"] == TOOL
    assert not labels["y"].trusted


def test_parents_come_from_arguments_conditions_lists_and_order() -> None:
    node = Node.model_validate(
        {
            "id": "n9",
            "tool": "t",
            "args": {"x": {"$text": ["$4", ref("n3.a"), ref("item")]}, "y": [ref("n1"), ref("n3")]},
            "when": ref("n5.ok"),
            "over": ref("n6"),
            "after": ["n1", "n7"],
        }
    )
    assert parents(node) == ("n3", "n1", "n5", "n6", "n7")


@pytest.mark.parametrize(
    "hits", [[{"path": "a.txt", "line": 1}, {"path": "a.txt", "line": 7}], {"path": "a.txt"}, ["a.txt"]]
)
def test_a_hit_counts_as_its_path(hits: object) -> None:
    reader = ToolSpec(name="reader", description="", parameters={}, paths=("path",))
    node = Node(id="n2", tool="reader", args={"path": {"$ref": "n1"}})
    assert resolve(node, {"n1": StepResult(value=hits)}, reader).args == {"path": "a.txt"}


@pytest.mark.parametrize("hits", [[], [{"path": "a"}, {"path": "b"}], [{"line": 3}], 5])
def test_no_path_or_several_are_an_error_before_anybody_judges_them(hits: object) -> None:
    reader = ToolSpec(name="reader", description="", parameters={}, paths=("path",))
    node = Node(id="n2", tool="reader", args={"path": {"$ref": "n1"}})
    with pytest.raises(ArgumentsInvalid, match="takes one path"):
        resolve(node, {"n1": StepResult(value=hits)}, reader)
