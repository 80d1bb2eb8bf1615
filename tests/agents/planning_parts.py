"""One task and what a model says of it under each planner, as a function of what it is asked."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shuntyard import tool
from shuntyard.messages import ModelRequest
from shuntyard.protocols import Ctx

TASK = "Measure 'oak' and 'elm', add both and store the sum."
LINES = """1. measure(name="oak")
2. measure(name="elm")
3. add(first=$1, second=$2)
4. store(value=$3)
return $4
"""
PROGRAM = """r1 = measure(name="oak")
r2 = measure(name="elm")
r3 = add(first=r1, second=r2)
r4 = store(value=r3)
return r4
"""
OUTLINE = """FIND
- (number) the measure of 'oak'
- (number) the measure of 'elm'
THEN
- store the sum"""
CALLS = ["add 3 3", "measure elm", "measure oak", "store 6"]


def note(ctx: Ctx, text: str) -> None:
    with (ctx.workspace / "log").open("a") as file:
        file.write(text + "\n")


@tool
def measure(name: str, ctx: Ctx) -> int:
    """Return how many letters a name has.

    Args:
        name: What to measure.
    """
    note(ctx, f"measure {name}")
    return len(name)


@tool
def add(first: int, second: int, ctx: Ctx) -> int:
    """Return the sum of two numbers.

    Args:
        first: One number.
        second: The other.
    """
    note(ctx, f"add {first} {second}")
    return first + second


@tool(effect="write")
def store(value: int, ctx: Ctx) -> str:
    """Store a value and say so.

    Args:
        value: What to store.
    """
    note(ctx, f"store {value}")
    return f"stored {value}"


TOOLS = (measure, add, store)


def calls(workspace: Path) -> list[str]:
    log = workspace / "log"
    return sorted(log.read_text().split("\n")[:-1]) if log.exists() else []


def asked(request: ModelRequest) -> str:
    return request.messages[-1].content


def dag(request: ModelRequest) -> str:
    return "ANSWER: The sum is 6." if request.role == "join" else LINES


def program(request: ModelRequest) -> str:
    return "ANSWER: The sum is 6." if request.role == "join" else PROGRAM


def react(request: ModelRequest) -> str:
    done = sum(message.content.startswith("RESULT") for message in request.messages if message.role == "user") - 3
    lines = LINES.splitlines()[:4]
    return f"Thought: step {done}\n{lines[done]}" if done < 4 else "Thought: all there\nANSWER: The sum is 6."


def fill(request: ModelRequest) -> str:
    if request.role == "join":
        return "ANSWER: The sum is 6."
    if request.messages[0].content.startswith("You choose the tools"):
        return "1. measure: oak\n2. measure: elm\n3. add: $1, $2\n4. store: $3\ndone"
    number = re.search(r"LINE (\d+), for", asked(request))
    assert number is not None
    return LINES.splitlines()[int(number[1]) - 1] + "\n"


def outline(request: ModelRequest) -> str:
    if request.role == "join":
        return "ANSWER: The sum is 6."
    if request.messages[0].content.startswith("You outline a task"):
        return OUTLINE
    if request.role == "replan":
        return "3. add(first=$1, second=$2)\n4. store(value=$3)\nreturn $4\n"
    assert "Find out: the measure of 'oak'; the measure of 'elm'." in asked(request)
    return "\n".join(LINES.splitlines()[:2]) + "\nreturn $1, $2\n"


SAYS: dict[str, Callable[[ModelRequest], str]] = {
    "dag": dag,
    "react": react,
    "fill": fill,
    "program": program,
    "outline": outline,
    "reuse": dag,
    "auto": dag,
}
MODEL_CALLS = {"dag": 2, "react": 5, "fill": 6, "program": 2, "outline": 4, "reuse": 2, "auto": 2}


def plain(nodes: Any) -> list[tuple[str, Any]]:
    return [(node.tool, dict(node.args)) for node in nodes]
