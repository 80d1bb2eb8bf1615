"""A program that kills itself once in a turn of a plan with a loop and a map.

Usage: ``looping.py POINT FOLDER [RUN [PATH=WORD]]``, where POINT is the call, as it is noted, that kills.

Without RUN it starts the run; with RUN it resumes it. It prints the run's result as JSON.
"""

import json
import os
import signal
import sys
from pathlib import Path

from shuntyard import Agent, tool
from shuntyard.agents.portal import run_sync
from shuntyard.planner.program import parse_program
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.settings import Settings

PLAN = """
total = add(first=0, second=1)
for _ in range(6):
    total = add(first=total, second=total)
    done = enough(number=total)
    if done:
        break
parts = split(number=total)
for part in parts:
    more = add(first=part, second=1)
    kept = store(value=more)
"""


def main() -> None:
    point, folder = sys.argv[1], Path(sys.argv[2])
    run = sys.argv[3] if len(sys.argv) > 3 else ""
    assume = dict(part.split("=") for part in sys.argv[4:])

    def note(text: str) -> None:
        with (folder / "log").open("a") as file:
            file.write(text + "\n")
        mark = folder / "died"
        if text == point and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    @tool
    async def add(first: int, second: int) -> int:
        """Return the sum of two numbers.

        Args:
            first: One number.
            second: The other.
        """
        note(f"add {first} {second}")
        return first + second

    @tool
    async def enough(number: int) -> bool:
        """Tell whether a number is large.

        Args:
            number: The number.
        """
        note(f"enough {number}")
        return number >= 16

    @tool
    async def split(number: int) -> list[int]:
        """Return parts of a number.

        Args:
            number: The number.
        """
        note(f"split {number}")
        return [number, number * 2, number * 4]

    @tool(effect="write")
    async def store(value: int) -> str:
        """Store a value and say so.

        Args:
            value: What to store.
        """
        note(f"store {value}")
        return f"stored {value}"

    model = ScriptedModel(["ANSWER: 16 is stored"] * 3)
    settings = Settings(home=folder / "home", workspace=folder, approve=("store",), memory=False)
    agent = Agent([add, enough, split, store], settings=settings, model=model, builtin=False)
    if run:
        result = run_sync(lambda: agent.resume(run, assume=assume))
    else:
        result = agent.run_sync("double until it is enough, store the parts", plan=parse_program(PLAN))
    values = {id: [item.status, item.value] for id, item in sorted(result.results.items())}
    failure = result.failure.message if result.failure else ""
    print(json.dumps({"run": result.run, "status": result.status, "values": values, "failure": failure}))


main()
