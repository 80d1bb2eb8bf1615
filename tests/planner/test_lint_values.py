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
    "- boats (boats.csv, 3 rows): name text e.g. 'Ada', kind text ['yawl', 'sloop']\n"
    "- harbour (harbour.json, 1 row): depth double = 4\n"
    "- harbour_berths (harbour.json, berths, 9 rows): name text\n"
    "- there is no file cranes.csv and no file docks.csv"
)
YAWL = "\n\n- 'yawl' is in boats.kind"


def doubts(task: str, *statements: str) -> list[str]:
    nodes = tuple(Node(id=f"n{at}", tool="query", args={"sql": text}) for at, text in enumerate(statements, start=1))
    return lint(Plan(task=task, nodes=nodes), {"query": QUERY}, f"{task}\n{DATA}{YAWL if 'yawl' in task else ''}")


@pytest.mark.parametrize(
    ("task", "statements", "says"),
    [
        ("How many yawls?", ["SELECT count(*) FROM boats"], "add the condition boats.kind = 'yawl'"),
        ("How many yawls?", ["SELECT count(*) FROM boats WHERE kind = 'yawl'"], ""),
        ("Count each kind, yawl and others", ["SELECT kind, count(*) FROM boats GROUP BY kind"], ""),
        ("How deep is it by harbour.json, a yawl?", ["SELECT count(*) FROM boats WHERE kind = 'yawl'"], "harbour.json"),
        ("How deep is the harbour?", ["SELECT depth FROM harbour"], ""),
        ("How many are harboured?", ["SELECT count(*) FROM boats"], "speaks of harbour, but no line reads it"),
        (
            "How many boats?",
            ["SELECT count(*) FROM boats WHERE kind = 'sloop'"],
            "leave the condition kind = 'sloop' out",
        ),
        ("How many sloops?", ["SELECT count(*) FROM boats WHERE kind = 'sloop'"], ""),
        ("How many boats?", ["SELECT count(*) FROM boats WHERE boats.name = 'Ada'"], "does not speak of 'Ada'"),
        ("How many boats?", ["SELECT count(*) FROM boats WHERE name = 'new'"], ""),
        ("Which boat has most?", ["SELECT name, max(n) FROM boats GROUP BY name"], "use sum(n)"),
        ("Which has most, and which is the longest of each?", ["SELECT name, max(n) FROM boats GROUP BY name"], ""),
        ("What is the longest of each?", ["SELECT name, max(n) FROM boats GROUP BY name"], ""),
    ],
)
def test_values_and_tables_that_a_task_names(task: str, statements: list[str], says: str) -> None:
    found = "\n".join(doubts(task, *statements))
    assert says in found if says else found == ""


def test_a_file_that_the_task_names_and_that_is_not_there_is_no_mistake_of_the_plan() -> None:
    assert expected("query: there is no table docks.csv; the tables are boats", DATA)
    assert expected("there is no file 'cranes.csv'; did you mean boats.csv?", DATA)
    assert expected("maybe: query: name is never 'quay/docks.csv' but boats.csv; compare with one", DATA)
    assert not expected("maybe: query: name is never 'Bob' but Ada; compare with one", DATA)
    assert not expected("query: there is no table boots; the tables are boats", DATA)
