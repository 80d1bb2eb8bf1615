"""Tools that compute, fail, die and hang, for workers to load."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from typing import Any

from shuntyard import errors, tool
from shuntyard.errors import ToolError, ToolRetry
from shuntyard.events import Progress
from shuntyard.protocols import Ctx
from shuntyard.steps import Bound, Step


class RateLimited(ToolError):
    """An error of somebody's own."""

    code = "rate_limited"
    retryable = True

    def __init__(self, host: str, *, seconds: int) -> None:
        super().__init__(f"{host!r} wants {seconds} s of rest")


FAILURES = {
    "tool_error": lambda: ToolError("no such street 'ö'", ids={"street": "ö"}),
    "tool_retry": lambda: ToolRetry("busy"),
    "own": lambda: RateLimited("example.org", seconds=3),
    "path": lambda: errors.PathRefused("'/etc' is outside"),
    "unknown": lambda: errors.UnknownName("city", "Lunf", ["Lund"]),
    "bug": lambda: ValueError("a bug"),
    "silent": lambda: KeyError("key"),
    "time": lambda: TimeoutError("slow"),
}


@tool
def who(number: int = 0) -> list[int]:
    """Return the number and the process.

    Args:
        number: Any number.
    """
    return [number, os.getpid()]


@tool
def meet(mine: str, other: str, ctx: Ctx) -> int:
    """Compute until the other call computes too, and return the process.

    Args:
        mine: Name of this call.
        other: Name of the other call.
    """
    (ctx.workspace / mine).touch()
    rounds = 0
    while not (ctx.workspace / other).exists():
        rounds += 1
    return os.getpid()


@tool
def fail(how: str) -> None:
    """Fail.

    Args:
        how: In which way.
    """
    raise FAILURES[how]()


@tool
def echo(value: Any) -> Any:
    """Return the value.

    Args:
        value: What to return.
    """
    return value


@tool(binds=("text",))
def bound(text: str | Bound, step: Step) -> list[Any]:
    """Return the parts of a bound text, and the step's key.

    Args:
        text: With values beside it.
    """
    assert isinstance(text, Bound)
    return [text.text, dict(text.values), str(step.key)]


@tool
def shout(ctx: Ctx) -> None:
    """Say how far it is, twice."""
    for done in (1, 2):
        ctx.emit(Progress(run=ctx.run, at=time.time(), what="shouting", done=done, total=2))


@tool
def noisy() -> str:
    """Print, read what is typed, and return that."""
    print("noise")
    subprocess.run(["echo", "noise of a child"], check=True)
    return sys.stdin.read()


@tool(cpu=True)
async def patient() -> int:
    """Return the process of an async tool that computes."""
    return os.getpid()


@tool
async def waits() -> int:
    """Return the process of an async tool."""
    return os.getpid()


@tool(cpu=False)
def stays() -> int:
    """Return the process of a tool that is to stay."""
    return os.getpid()


def plain(number: int) -> int:
    """Return the next number.

    Args:
        number: Any number.
    """
    return number + 1


def factory() -> Any:
    @tool
    def made() -> int:
        """Return the process of a closure."""
        return os.getpid()

    return made


def _mark(ctx: Ctx, name: str, text: str) -> None:
    place = ctx.workspace / name
    place.with_suffix(".part").write_text(text)
    place.with_suffix(".part").rename(place)


@tool
def hang(ctx: Ctx) -> int:
    """Hold the interpreter for ever, with a child beside."""
    child = subprocess.Popen(["sleep", "600"])
    _mark(ctx, "pids", f"{os.getpid()} {child.pid}")
    return sum(range(10**15))


@tool
def hold(ctx: Ctx) -> int:
    """Wait until somebody lets go."""
    _mark(ctx, "held", str(os.getpid()))
    while not (ctx.workspace / "let-go").exists():
        time.sleep(0.01)
    return os.getpid()


def _die(how: str) -> None:
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        os._exit(3)
    ctypes.string_at(0)


def _calls(ctx: Ctx) -> int:
    with (ctx.workspace / "calls").open("a") as file:
        file.write("call\n")
    return len((ctx.workspace / "calls").read_text().split())


@tool
def die(how: str, ctx: Ctx, times: int = 1) -> int:
    """End the process the first times, then return how often it was called.

    Args:
        how: kill, exit or segfault.
        times: How often to die.
    """
    calls = _calls(ctx)
    if calls <= times:
        _die(how)
    return calls


@tool(effect="write")
def die_writing(ctx: Ctx) -> int:
    """End the process the first time, in the middle of an effect."""
    calls = _calls(ctx)
    if calls == 1:
        _die("kill")
    return calls


@tool(effect="write", idempotent=True)
def die_repeatably(ctx: Ctx) -> int:
    """End the process the first time, in an effect that may be repeated."""
    calls = _calls(ctx)
    if calls == 1:
        _die("kill")
    return calls
