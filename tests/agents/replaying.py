"""A program that kills itself once at a chosen point of a replay: ``replaying.py POINT FOLDER RUN``.

Without RUN it makes the run to replay; with ``resume RUN`` it resumes one. It prints what came of it as JSON.
"""

import json
import os
import signal
import sys
from pathlib import Path

import sqlalchemy

from shuntyard import Agent, tool
from shuntyard.agents.portal import run_sync
from shuntyard.messages import ModelRequest
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.settings import Settings

PLAN = """1. measure(name="a")
2. measure(name="b")
3. add(first=$1, second=$2)
4. store(value=$3)
"""


def main() -> None:
    point, folder = sys.argv[1], Path(sys.argv[2])
    run = sys.argv[3] if len(sys.argv) > 3 else ""

    def die(here: str) -> None:
        if here == point:
            os.kill(os.getpid(), signal.SIGKILL)

    def note(text: str) -> None:
        with (folder / "log").open("a") as file:
            file.write(text + "\n")

    @tool
    def measure(name: str) -> int:
        """Return the length of a name times ten.

        Args:
            name: What to measure.
        """
        note(f"measure {name}")
        return 10 if name == "a" else 32

    @tool
    def add(first: int, second: int) -> int:
        """Return the sum of two numbers.

        Args:
            first: One number.
            second: The other.
        """
        note("add")
        die("tool")
        return first + second

    @tool(effect="write")
    def store(value: int) -> str:
        """Store a value and say so.

        Args:
            value: What to store.
        """
        note("store")
        die("effect")
        return f"stored {value}"

    def answer(request: ModelRequest) -> str:
        die(request.role)
        return PLAN if request.role == "compile" else "ANSWER: stored 42"

    def statement(connection: object, cursor: object, text: str, *more: object) -> None:
        if text.startswith("INSERT INTO steps"):
            die("fork")

    settings = Settings(home=folder / "home", workspace=folder, approve=("store",), memory=False)
    agent = Agent([measure, add, store], settings=settings, model=ScriptedModel(answer), builtin=False)
    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", statement)
    if not run:
        result = agent.run_sync("measure a and b, add them, store the sum")
    elif point == "resume":
        result = run_sync(lambda: agent.resume(run))
    else:
        found = run_sync(lambda: agent.replay(run, from_=("n3",) if point != "record" else ()))
        print(json.dumps({"equal": found.equal, "run": found.replay, "status": found.status}))
        return
    values = {id: [item.status, item.value] for id, item in sorted(result.results.items())}
    print(json.dumps({"run": result.run, "status": result.status, "answer": result.answer, "values": values}))


main()
