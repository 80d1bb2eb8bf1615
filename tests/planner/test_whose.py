from typing import Any

import pytest

from shuntyard.planner.whose import with_whose
from shuntyard.steps import Effect, Plan, ToolSpec

SPECS = {
    "query": ToolSpec(name="query", description="", parameters={}),
    "calculator": ToolSpec(name="calculator", description="", parameters={}),
    "write_file": ToolSpec(name="write_file", description="", parameters={}, effect=Effect.WRITE, paths=("path",)),
}
KNOWN = """Tables that query can read:
- rooms (rooms.json, 5 rows): name text ['hall', 'attic'], floor int, area double
- lamp (lamps.csv, 9 rows): watt double, lamp text e.g. 'hall', price double
- stock (stock.csv, 9 rows): day date, pieces int"""


def plan(*nodes: dict[str, Any]) -> Plan:
    return Plan.model_validate({"task": "t", "nodes": [{"id": f"n{at}", **node} for at, node in enumerate(nodes, 1)]})


def read(sql: str) -> dict[str, Any]:
    return {"tool": "query", "args": {"sql": sql}}


@pytest.mark.parametrize(
    ("sql", "mended"),
    [
        ("SELECT area FROM rooms WHERE area > 15", "SELECT name, area FROM rooms WHERE area > 15"),
        (
            "select watt from lamp where watt between 40 and 60 order by watt",
            "select lamp, watt from lamp where watt between 40 and 60 order by watt",
        ),
        ("SELECT name FROM rooms WHERE area > 15", None),
        ("SELECT area FROM rooms WHERE floor > 1", None),
        ("SELECT area FROM rooms WHERE area > 15 LIMIT 1", None),
        ("SELECT sum(area) FROM rooms WHERE area > 15", None),
        ("SELECT pieces FROM stock WHERE pieces > 3", None),
        ("SELECT area FROM rooms JOIN lamp ON rooms.name = lamp.lamp WHERE area > 15", None),
    ],
)
def test_rows_that_are_only_measures_get_their_names(sql: str, mended: str | None) -> None:
    drafted = plan(read(sql))
    assert with_whose(drafted, SPECS, KNOWN).nodes[0].args["sql"] == (mended or sql)
    if mended is None:
        assert with_whose(drafted, SPECS, KNOWN) is drafted


def test_what_is_written_is_named_and_what_is_calculated_with_is_not() -> None:
    rows = read("SELECT area FROM rooms WHERE area > 15")
    written = plan(rows, {"tool": "write_file", "effect": "write", "args": {"path": "a", "content": {"$ref": "n1"}}})
    assert "name" in str(with_whose(written, SPECS, KNOWN).nodes[0].args)
    added = plan(rows, {"tool": "calculator", "args": {"expression": {"$text": ["sum(", {"$ref": "n1"}, ")"]}}})
    assert with_whose(added, SPECS, KNOWN) is added
