"""The tools of ``crashing.py``, in a file of their own so that workers can load them.

A line in ``FOLDER/log`` for each call shows a call that was made twice.
"""

import os
import signal
import time
from pathlib import Path

from shuntyard import tool
from shuntyard.protocols import Ctx

REPEATABLE = os.environ.get("CRASH_POINT") == "idempotent"
"""As the driver sees it; a worker on a cluster has the environment of its node."""


def die(here: str, folder: Path) -> None:
    """Kill or interrupt the driver, once, at the chosen point."""
    mark = folder / f"died-{here}"
    driver, point, how = (folder / "driver").read_text().split()
    if here != point or mark.exists():
        return
    mark.touch()
    os.kill(int(driver), signal.SIGINT if how == "interrupt" else signal.SIGKILL)
    if int(driver) != os.getpid():
        # A worker that outlives its driver would come back from this and write into the log.
        time.sleep(5)


def note(folder: Path, text: str) -> None:
    with (folder / "log").open("a") as file:
        file.write(text + "\n")
    with (folder / "workers").open("a") as file:
        file.write(f"{os.getpid()}\n")


@tool
def measure(name: str, ctx: Ctx) -> int:
    """Return the length of a name times ten.

    Args:
        name: What to measure.
    """
    if name == "b":
        while "measure a" not in ((ctx.workspace / "log").read_text() if (ctx.workspace / "log").exists() else ""):
            time.sleep(0.01)
        time.sleep(0.3)  # until the other one is committed
        die("tool", ctx.workspace)
    note(ctx.workspace, f"measure {name}")
    return 10 if name == "a" else 32


@tool
def add(first: int, second: int, ctx: Ctx) -> int:
    """Return the sum of two numbers.

    Args:
        first: One number.
        second: The other.
    """
    note(ctx.workspace, "add")
    return first + second


@tool(effect="write", idempotent=REPEATABLE)
def store(value: int, ctx: Ctx) -> str:
    """Store a value and say so.

    Args:
        value: What to store.
    """
    note(ctx.workspace, "store")
    die("effect", ctx.workspace)
    die("idempotent", ctx.workspace)
    return f"stored {value}"
