"""What a task names and no line reads: doubts that cost one more try."""

import pytest

from shuntyard.planner.lint import expected, lint
from shuntyard.steps import Node, Plan, ToolSpec

QUERY = ToolSpec(
    name="query",
    description="",
    parameters={"type": "object", "properties": {"sql": {"type": "string"}}},
    binds=("sql",),
)
DATA = (
    "- boats (boats.csv, 3 rows): name text, kind text\n- harbour (harbour.json, 1 row): depth double = 4\n"
    "- harbour_berths (harbour.json, berths, 9 rows): name text\n"
    "- there is no file cranes.csv and no file docks.csv\n\n- 'yawl' is in boats.kind"
)


def doubts(task: str, *statements: str) -> list[str]:
    nodes = tuple(Node(id=f"n{at}", tool="query", args={"sql": text}) for at, text in enumerate(statements, start=1))
    return lint(Plan(task=task, nodes=nodes), {"query": QUERY}, f"{task}\n{DATA}")


@pytest.mark.parametrize(
    ("task", "statements", "says"),
    [
        ("How many yawls?", ["SELECT count(*) FROM boats"], "add the condition boats.kind = 'yawl'"),
        ("How many yawls?", ["SELECT count(*) FROM boats WHERE kind = 'yawl'"], ""),
        ("Count each kind, yawl and others", ["SELECT kind, count(*) FROM boats GROUP BY kind"], ""),
        ("How deep is it by harbour.json, a yawl?", ["SELECT count(*) FROM boats WHERE kind = 'yawl'"], "harbour.json"),
        ("How deep is the harbour?", ["SELECT depth FROM harbour"], ""),
    ],
)
def test_values_and_tables_that_a_task_names(task: str, statements: list[str], says: str) -> None:
    found = "\n".join(doubts(task, *statements))
    assert says in found if says else found == ""


def test_a_file_that_the_task_names_and_that_is_not_there_is_no_mistake_of_the_plan() -> None:
    assert expected("query: there is no table docks.csv; the tables are boats", DATA)
    assert expected("there is no file 'cranes.csv'; did you mean boats.csv?", DATA)
    assert not expected("query: there is no table boots; the tables are boats", DATA)
