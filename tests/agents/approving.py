"""A program that asks for two approvals and is killed once between an answer and its call.

``approving.py POINT FOLDER`` starts the run, with a RUN behind it resumes it. It prints the result as JSON.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from shuntyard import Agent, Plan, tool
from shuntyard.agents.portal import run_sync
from shuntyard.memory.approvals import SqlApprovals
from shuntyard.memory.journal import SqlJournal
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.settings import Settings

POINT, FOLDER = sys.argv[1], Path(sys.argv[2])


@tool(effect="write", paths=("path",))
def store(path: str, value: int) -> str:
    """Store a value and say where.

    Args:
        path: Where.
        value: What.
    """
    with (FOLDER / "log").open("a") as file:
        file.write(f"{path}={value}\n")
    die("called")
    return f"stored {path}"


def die(here: str) -> None:
    mark = FOLDER / f"died-{here}"
    if here == POINT and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


class DyingApprovals(SqlApprovals):
    async def take(self, *args: Any) -> Any:
        answer = await super().take(*args)
        if answer is not None:
            die("taken")
        return answer


class DyingJournal(SqlJournal):
    async def intend(self, *args: Any) -> None:
        await super().intend(*args)
        die("intended")

    async def commit(self, *args: Any) -> None:
        await super().commit(*args)
        if args[1].ok and args[0].kind == "tool":
            die("committed")


def main() -> None:
    import shuntyard.agents.rooms as rooms

    rooms.SqlApprovals = DyingApprovals  # type: ignore[misc]
    rooms.SqlJournal = DyingJournal  # type: ignore[misc]
    settings = Settings(home=FOLDER / "home", workspace=FOLDER, memory=False, concurrency=1)
    agent = Agent([store], settings=settings, model=ScriptedModel(lambda request: "ANSWER: so it is"), builtin=False)
    nodes = [
        {"id": f"n{at}", "tool": "store", "effect": "write", "args": {"path": f"{at}.txt", "value": at}}
        for at in (1, 2)
    ]
    plan = Plan.model_validate({"task": "store", "nodes": nodes})
    if len(sys.argv) > 3:
        result = run_sync(lambda: agent.resume(sys.argv[3]))
    else:
        result = agent.run_sync("store both", plan=plan)
    statuses = {id: step.status for id, step in sorted(result.results.items())}
    print(json.dumps({"run": result.run, "status": result.status, "statuses": statuses}))


main()
