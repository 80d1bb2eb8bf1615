"""A program that kills itself once at a chosen point of a run: ``crashing.py POINT FOLDER [RUN]``.

Without RUN it starts the run; with RUN it resumes it. A line is written to ``FOLDER/log`` for each
call of a tool, so that a call done twice is seen. It prints the run's result as JSON.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

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
    assume = dict(part.split("=") for part in sys.argv[4:])
    log = folder / "log"

    def die(here: str) -> None:
        mark = folder / f"died-{here}"
        if here == point and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGINT if os.environ.get("BY_SIGINT") else signal.SIGKILL)

    def note(text: str) -> None:
        with log.open("a") as file:
            file.write(text + "\n")

    @tool
    def measure(name: str) -> int:
        """Return the length of a name times ten.

        Args:
            name: What to measure.
        """
        if name == "b":
            time.sleep(0.3)  # until the other one is committed
            die("tool")
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
        return first + second

    @tool(effect="write", idempotent=point == "idempotent")
    def store(value: int) -> str:
        """Store a value and say so.

        Args:
            value: What to store.
        """
        note("store")
        die("effect")
        die("idempotent")
        return f"stored {value}"

    def answer(request: ModelRequest) -> str:
        die(request.role)
        return PLAN if request.role == "compile" else "ANSWER: 42 is stored"

    settings = Settings(home=folder / "home", workspace=folder, approve=("store",), memory=False)
    agent = Agent([measure, add, store], settings=settings, model=ScriptedModel(answer), builtin=False)
    if run:
        result = run_sync(lambda: agent.resume(run, assume=assume))
    else:
        result = agent.run_sync("measure a and b, add them, store the sum")
    values = {id: [item.status, item.value] for id, item in sorted(result.results.items())}
    failure = result.failure.message if result.failure else ""
    code = result.failure.exit_code if result.failure else 0
    print(
        json.dumps(
            {"run": result.run, "status": result.status, "answer": result.answer, "values": values,
             "failure": failure, "exit_code": code}
        )
    )  # fmt: skip


main()
