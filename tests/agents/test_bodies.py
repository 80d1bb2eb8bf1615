"""Runs of plans with loops and bodies: killed in a turn, resumed, replayed, shown and judged."""

import json
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from shuntyard import Agent, tool
from shuntyard.agents.board import Board
from shuntyard.events import Event
from shuntyard.memory.compact import compact
from shuntyard.memory.store import Store
from shuntyard.planner.program import parse_program
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.settings import RuleSettings, Settings
from shuntyard.steps import Limits

pytestmark = pytest.mark.anyio
PROGRAM = Path(__file__).with_name("looping.py")
CALLS = [
    "add 0 1",
    *(f"{name} {number}" for n in (1, 2, 4, 8) for name, number in (("add", f"{n} {n}"), ("enough", 2 * n))),
    "split 16",
    *(f"add {n} 1" for n in (16, 32, 64)),
    *(f"store {n}" for n in (17, 33, 65)),
]


def program(point: str, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        [sys.executable, str(PROGRAM), point, str(folder), *more],
        capture_output=True, text=True, env=env, timeout=250,
    )  # fmt: skip


def only_run(folder: Path) -> str:
    with sqlite3.connect(folder / "home" / "shuntyard.db") as db:
        ((run,),) = db.execute("select id from runs").fetchall()
    return str(run)


def calls(folder: Path) -> list[str]:
    return (folder / "log").read_text().split("\n")[:-1]


@pytest.mark.parametrize(
    ("point", "again"),
    [("add 4 4", ["add 4 4"]), ("enough 8", ["enough 8"]), ("split 16", ["split 16"]), ("add 32 1", None)],
)
def test_killed_in_a_turn_a_run_goes_on_in_that_turn(point: str, again: list[str] | None, tmp_path: Path) -> None:
    assert program(point, tmp_path).returncode == -9
    before = len(calls(tmp_path))
    done = program(point, tmp_path, only_run(tmp_path))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["status"] == "done"
    assert [value for _, value in result["values"].values()][-1] == [
        {"more": n, "kept": f"stored {n}"} for n in (17, 33, 65)
    ]
    repeated = list((Counter(calls(tmp_path)) - Counter(CALLS)).elements())
    if again is not None:
        assert repeated == again and calls(tmp_path)[before] == again[0]
    else:
        # The turns of a map run side by side: what had not come back runs again, effects never.
        assert point in repeated and not [call for call in repeated if call.startswith("store")]


def test_an_effect_in_doubt_in_a_turn_is_settled_by_its_path(tmp_path: Path) -> None:
    assert program("store 33", tmp_path).returncode == -9
    run = only_run(tmp_path)
    doubtful = json.loads(program("", tmp_path, run).stdout)
    assert doubtful["status"] == "doubt"
    path = doubtful["failure"].split("--assume ")[1].split("=")[0]
    assert path.startswith("n6[1].")
    assert calls(tmp_path).count("store 33") == 1
    assert json.loads(program("", tmp_path, run, f"{path}=not-done").stdout)["status"] == "done"
    assert Counter(calls(tmp_path))["store 33"] == 2
    assert Counter(calls(tmp_path))["store 17"] == Counter(calls(tmp_path))["store 65"] == 1


class Shop:
    """An agent over tools for loops and maps."""

    def __init__(self, home: Path, **more: Any) -> None:
        self.calls: list[str] = []
        self.step = 10
        self.settings = Settings(home=home / "home", workspace=home, memory=False, **more)
        self.events: list[Event] = []
        self.agent = Agent(
            self.tools(),
            settings=self.settings,
            model=ScriptedModel(lambda request: "ANSWER: it is done"),
            builtin=False,
        )

    def tools(self) -> list[Any]:
        @tool
        async def grow(number: int) -> int:
            """Return a larger number.

            Args:
                number: The number.
            """
            self.calls.append(f"grow {number}")
            return number + self.step

        @tool
        async def large(number: int) -> bool:
            """Tell whether a number is large.

            Args:
                number: The number.
            """
            self.calls.append(f"large {number}")
            return number > 25

        @tool
        async def listed(number: int) -> list[int]:
            """Return some numbers.

            Args:
                number: The number.
            """
            self.calls.append(f"listed {number}")
            return [number, number + 1, number + 2, number + 3]

        @tool(effect="write")
        async def keep(number: int) -> str:
            """Keep a number.

            Args:
                number: The number.
            """
            self.calls.append(f"keep {number}")
            return f"kept {number}"

        return [grow, large, listed, keep]

    async def run(self, text: str) -> Any:
        async for event in self.agent.stream("go", plan=parse_program(text)):
            self.events.append(event)
        run = next(event.run for event in self.events)
        return self.agent, run


PLAN = """
n = grow(number=0)
for _ in range(5):
    n = grow(number=n)
    end = large(number=n)
    if end:
        break
many = listed(number=n)
for one in many:
    more = grow(number=one)
    kept = keep(number=more)
"""


async def test_a_recorded_run_is_replayed_turn_by_turn(tmp_path: Path) -> None:
    shop = Shop(tmp_path, approve=("keep",))
    agent, run = await shop.run(PLAN)
    made = len(shop.calls)
    assert (await agent.replay(run)).equal
    store = Store.open(tmp_path / "home")
    compact(store)
    store.close()
    assert (await agent.replay(run)).equal
    assert len(shop.calls) == made
    shop.step = 20
    again = await agent.replay(run, from_=["n6"])
    other = [node.node for node in again.nodes if not node.same]
    assert [id for id in other if "." not in id] == ["n6"]
    assert other[1:] == [f"n6[{at}].{id}" for at in range(len(other) // 2) for id in ("n7", "n8")]
    with pytest.raises(Exception, match="unknown node 'n99'"):
        await agent.replay(run, from_=["n99"])


async def test_a_denied_effect_in_a_body_stops_the_plan_before_it_runs(tmp_path: Path) -> None:
    rules = (RuleSettings.model_validate({"name": "no-keep", "tool": "keep", "decision": "deny"}),)
    shop = Shop(tmp_path, rules=rules)
    await shop.run(PLAN)
    assert shop.events[-1].type == "run_done" and shop.events[-1].status == "denied"
    assert shop.calls == []


async def test_the_board_has_one_row_for_all_turns_of_a_call(tmp_path: Path) -> None:
    shop = Shop(tmp_path, approve=("keep",))
    await shop.run(PLAN)
    board = Board()
    for event in shop.events:
        board.take(event)
    rows = {id: (row.depth, row.status, row.items, row.items_done) for id, row in board.rows.items()}
    assert rows["n2"] == (0, "done", 0, 0) and rows["n3"] == (1, "done", 2, 2)
    assert rows["n6"] == (0, "done", 0, 0) and rows["n8"] == (1, "done", 4, 4)


async def test_a_run_that_came_to_too_many_calls_goes_on_with_more(tmp_path: Path) -> None:
    shop = Shop(tmp_path, approve=("keep",), max_nodes=5)
    stopped = await shop.agent.run("go", plan=parse_program(PLAN))
    assert stopped.status == "spent" and stopped.failure is not None and stopped.failure.exit_code == 4
    assert "max_nodes = 5" in stopped.failure.message and stopped.results["n2"].ok
    done = await shop.agent.resume(stopped.run, limits=Limits(max_nodes=12))
    assert done.status == "done" and len(done.results["n6"].value) == 4
    assert max(Counter(shop.calls).values()) == 1, "a finished call was made again"


async def test_a_plan_ends_where_its_program_returns(tmp_path: Path) -> None:
    shop = Shop(tmp_path, approve=("keep",))
    text = "n = grow(number={})\nend = large(number=n)\nif end:\n    return n\nkept = keep(number=n)\nreturn kept\n"
    short = await shop.agent.run("go", plan=parse_program(text.format(50)))
    assert (short.status, short.results["n3"].value, short.results["n4"].status) == ("done", 60, "skipped")
    whole = await shop.agent.run("go", plan=parse_program(text.format(1)))
    assert (whole.status, whole.results["n3"].status, whole.results["n4"].value) == ("done", "skipped", "kept 11")
    assert shop.calls == ["grow 50", "large 60", "grow 1", "large 11", "keep 11"]
    assert (await shop.agent.replay(short.run)).equal and (await shop.agent.replay(whole.run)).equal
