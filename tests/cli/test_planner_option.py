"""Naming a planner, and being told which one a task got."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cli_parts import Call
from servers import ScriptedServer

Serve = Callable[..., ScriptedServer]
PROGRAM = 'r1 = query(sql="SELECT sum(amount) AS total FROM sales")\nr2 = calculator(expression=f"{r1} * 2")\nreturn r2'


@pytest.fixture(autouse=True)
def sales(folder: Path) -> None:
    (folder / "sales.csv").write_text("region,amount\nnorth,10\nsouth,32\n")


@pytest.mark.parametrize("command", ["run", "plan"])
def test_an_unknown_planner_exits_2_with_the_list(command: str, call: Call, serve: Serve) -> None:
    server = serve([])
    done = call(command, "twice the sum", "--planner", "tree")
    assert done.code == 2 and "--planner" in done.err and "'tree'" in done.err
    for name in ("dag", "react", "fill", "program", "outline", "reuse", "auto"):
        assert f"'{name}'" in done.err
    assert server.requests == []


def test_a_program_is_planned_run_and_shown(call: Call, serve: Serve) -> None:
    serve([PROGRAM, "ANSWER: 84", PROGRAM])
    done = call("run", "twice the sum of the amounts", "--planner", "program", "--json", "-q", "--no-memory")
    assert done.code == 0 and done.json["results"]["n2"]["value"] == 84
    assert "how    planned by program\n" in call("show").out
    body = call("plan", "twice the sum of the amounts", "--planner", "program", "--json", "--no-memory").json
    assert body["planner"] == {"planner": "program", "reason": "", "again": False}
    assert [node["tool"] for node in body["nodes"]] == ["query", "calculator"]


def test_auto_says_what_it_chose_and_why(call: Call, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHUNTYARD_MEMORY", "true")
    lines = "1. query(sql=\"SELECT amount FROM sales WHERE region = 'north'\")\nreturn $1\n"
    serve([lines, "ANSWER: 10", "ANSWER: 32"])
    first = call("run", "What is the amount of 'north'?", "--planner", "auto")
    assert first.code == 0 and "planned by dag: nothing speaks for another" in first.err
    done = call("run", "What is the amount of 'south'?", "--planner", "auto")
    assert (done.code, done.out) == (0, "32\n"), done.err
    assert "planned by reuse" in done.err and "south for north" in done.err
    shown = call("show").out
    assert "how    planned by reuse: run " in shown and "did the same with other values: south for north" in shown
    assert call("show", "--json").json["choice"]["planner"] == "reuse"


def test_a_planner_that_goes_on_says_so_in_its_plan(call: Call, serve: Serve) -> None:
    serve(['Thought: a\n1. query(sql="SELECT sum(amount) FROM sales")'])
    text = call("plan", "twice the sum of the amounts", "--planner", "react").out
    assert "planner   react, which goes on from the results of these calls" in text
