"""Replays that begin inside of bodies: one turn of one call, what depends on it, and nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shuntyard import Agent, tool
from shuntyard.agents.diff import Replay, Sides
from shuntyard.agents.rerun import Rerun, read_path
from shuntyard.errors import UnknownName
from shuntyard.planner.program import parse_program
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.settings import Settings
from shuntyard.steps import StepKey

pytestmark = pytest.mark.anyio

LIST = """
parts = split(count=3)
for part in parts:
    one = add(first=part, second=1)
    two = add(first=one, second=10)
    three = add(first=part, second=100)
total = add_all(numbers=parts)
last = add_all(numbers=two)
return total, last, three
"""
LOOP = """
total = add(first=0, second=1)
for _ in range(6):
    total = add(first=total, second=total)
    other = add(first=7, second=7)
    done = enough(number=total)
    if done:
        break
return total
"""
NESTED = """
parts = split(count=2)
for part in parts:
    sum = add(first=part, second=0)
    for _ in range(2):
        sum = add(first=sum, second=5)
    whole = add(first=sum, second=1000)
return whole
"""


class Yard:
    def __init__(self, home: Path, program: str) -> None:
        self.calls: list[str] = []
        self.more: dict[str, int] = {}
        self.plan = parse_program(program)
        settings = Settings(home=home / "home", workspace=home, memory=False)
        self.agent = Agent(
            self.tools(), settings=settings, model=ScriptedModel(lambda request: "ANSWER: so"), builtin=False
        )

    def tools(self) -> list[Callable[..., Any]]:
        @tool
        def add(first: int, second: int) -> int:
            """Return a sum.

            Args:
                first: One number.
                second: The other.
            """
            call = f"{first}+{second}"
            self.calls.append(call)
            return first + second + self.more.get(call, 0)

        @tool
        def add_all(numbers: list[int]) -> int:
            """Return the sum of all.

            Args:
                numbers: The numbers.
            """
            self.calls.append("all")
            return sum(numbers)

        @tool
        def split(count: int) -> list[int]:
            """Return numbers.

            Args:
                count: How many.
            """
            self.calls.append("split")
            return list(range(count))

        @tool
        def enough(number: int) -> bool:
            """Tell whether a number is large.

            Args:
                number: The number.
            """
            self.calls.append(f"enough {number}")
            return number >= 16

        return [add, add_all, split, enough]

    async def run(self) -> str:
        done = await self.agent.run("add", plan=self.plan)
        assert done.status == "done", done
        return done.run

    async def replay(self, run: str, *from_: str) -> Replay:
        self.calls.clear()
        return await self.agent.replay(run, from_=from_)


def changed(found: Replay) -> list[str]:
    return [node.node for node in found.nodes if not node.same]


def ran(found: Replay) -> list[str]:
    return [node.node for node in found.nodes if node.ran]


async def test_one_turn_of_a_list_is_run_from_a_call_on(tmp_path: Path) -> None:
    yard = Yard(tmp_path, LIST)
    run = await yard.run()
    ids = [node.id for node in yard.plan.every()]
    assert ids == ["n1", "n2", "n3", "n4", "n5", "n6", "n7"]
    same = await yard.replay(run, "n2[1].n3")
    # n3 and n4 of that turn, not n5; behind the body what uses it, not n6.
    assert sorted(yard.calls) == ["1+1", "2+10", "all"]
    assert same.equal and ran(same) == ["n2", "n2[1].n3", "n2[1].n4", "n7"]

    yard.more["1+1"] = 5
    found = await yard.replay(run, "n2[1].n3")
    assert changed(found) == ["n2", "n2[1].n3", "n2[1].n4", "n7"] and not found.equal
    inner = {node.node: node for node in found.nodes}
    assert inner["n2[1].n3"].value == Sides(before="2", after="7") and inner["n2[1].n3"].call is None
    assert inner["n2[1].n4"].value == Sides(before="12", after="17") and inner["n2[1].n4"].call is not None
    assert inner["n2"].value == Sides(place="[1].one", before="2", after="7") and inner["n2"].call is None
    again = await yard.replay(found.replay)
    assert again.equal and yard.calls == [], "a replay can be replayed"


async def test_without_a_number_every_turn_is_run_from_a_call_on(tmp_path: Path) -> None:
    yard = Yard(tmp_path, LIST)
    run = await yard.run()
    for name in ("n4", "n2.n4"):
        found = await yard.replay(run, name)
        assert sorted(yard.calls) == ["1+10", "2+10", "3+10", "all"] and found.equal
        assert ran(found) == ["n2", "n2[0].n4", "n2[1].n4", "n2[2].n4", "n7"]
    await yard.replay(run, "n2[0].n5", "n2[2]")
    assert sorted(yard.calls) == ["0+100", "2+1", "2+100", "3+10", "all"]


async def test_later_turns_of_a_loop_are_run_where_they_begin_with_what_changed(tmp_path: Path) -> None:
    yard = Yard(tmp_path, LOOP)
    run = await yard.run()
    assert [call for call in yard.calls if call != "7+7"] == [
        "0+1", "1+1", "enough 2", "2+2", "enough 4", "4+4", "enough 8", "8+8", "enough 16",
    ]  # fmt: skip
    found = await yard.replay(run, "n2[2].n3")
    # What no turn hands on is answered from the record in the later ones too.
    assert yard.calls == ["4+4", "enough 8", "8+8", "enough 16"] and found.equal
    yard.more = {"4+4": 8}
    shorter = await yard.replay(run, "n2[2].n3")
    assert yard.calls == ["4+4", "enough 16"]
    assert changed(shorter) == ["n2[2].n3", "n2[2].n5"] and not shorter.equal
    yard.more = {"8+8": -9}
    longer = await yard.replay(run, "n2[3].n3")
    # Turns that were not made before have no record: all of them is run.
    assert sorted(yard.calls) == sorted(["8+8", "enough 7", "7+7", "7+7", "enough 14", "14+14", "7+7", "enough 28"])
    assert "n2[4].n4" in ran(longer) and "n2[3].n4" not in ran(longer)


async def test_a_body_in_a_body_is_entered(tmp_path: Path) -> None:
    yard = Yard(tmp_path, NESTED)
    run = await yard.run()
    path = next(node.id for node in yard.plan.every() if node.body and node.body.most)
    step = next(node for node in yard.plan.every() if node.id == path).body
    assert step is not None
    call = step.nodes[0].id
    found = await yard.replay(run, f"n2[1].{path}[0].{call}")
    assert yard.calls == ["1+5", "6+5", "11+1000"] and found.equal
    assert f"n2[1].{path}[1].{call}" in ran(found)
    await yard.replay(run, f"n2[0].{path}[1].{call}")
    assert yard.calls == ["5+5", "10+1000"]


async def test_a_turn_that_was_not_made_and_a_call_that_is_elsewhere_are_named(tmp_path: Path) -> None:
    yard = Yard(tmp_path, LIST)
    run = await yard.run()
    for name in ("n2[3].n3", "n1[0].n3", "n1.n3", "n3.n2", "n6[0]", "n2[1].n9", "n2.", "item"):
        with pytest.raises(UnknownName, match=r"n1, n2, n6, n7, join, n3, n4, n5; one turn is named as in n3\[2\]\.n5"):
            await yard.replay(run, name)
    assert (await yard.replay(run)).equal, "nothing was begun"


def test_paths_are_read_as_they_are_written() -> None:
    assert [tuple(place) for place in read_path("n3[2].n5")] == [("n3", 2), ("n5", None)]
    assert read_path("join") == read_path("n3[x]") == read_path("") == ()


def test_what_is_named_later_in_the_plan_does_not_hide_what_comes_before() -> None:
    plan = parse_program(LIST)
    made = [StepKey("r", 0, f"n2[{at}].{id}") for at in range(3) for id in ("n3", "n4", "n5")]
    live = Rerun.of(["n2[2].n4", "n1"], {0: plan}, "r", recorded=made)
    # What depends on n1 is run whole, though only a turn of it was named too.
    assert all(live(key) for key in made) and live(StepKey("r", 0, "join")) and not live(StepKey("r", 0, "compile"))
