"""The tools of the plans that are killed. Each writes down that it was called, and where its worker is."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from ...protocols import Ctx
from ...steps import Step
from ...tools.spec import tool

CALLS = "calls"
"""A line for every call: path, process."""
EFFECTS = "effects"
"""A line for every effect that happened: its idempotency key, a value."""

_MODULUS = 1_000_003


def fold(values: Sequence[int], add: int) -> int:
    """Return a number that depends on every one of ``values`` and on their order."""
    found = add
    for value in values:
        found = (found * 31 + value + 7) % _MODULUS
    return found


@tool
def mix(inputs: list[int], add: int, seconds: float, ctx: Ctx, step: Step) -> int:
    """Return what ``fold`` makes of the inputs.

    Args:
        inputs: Earlier numbers.
        add: Where it begins.
        seconds: How long it takes.
        ctx: The run.
        step: The call.
    """
    _called(ctx, step)
    time.sleep(seconds)
    return fold(inputs, add)


@tool
def spread(start: int, count: int, seconds: float, ctx: Ctx, step: Step) -> list[int]:
    """Return a list of numbers.

    Args:
        start: An earlier number.
        count: How many.
        seconds: How long it takes.
        ctx: The run.
        step: The call.
    """
    _called(ctx, step)
    time.sleep(seconds)
    return [fold([start], at) for at in range(count)]


@tool(effect="write")
def record(value: int, seconds: float, ctx: Ctx, step: Step) -> int:
    """Append a value to a file and return it: done twice it stands there twice.

    Args:
        value: An earlier number.
        seconds: How long it takes; the effect happens in the middle.
        ctx: The run.
        step: The call.
    """
    _called(ctx, step)
    time.sleep(seconds / 2)
    _append(ctx.workspace / EFFECTS, f"{step.key} {value}")
    time.sleep(seconds / 2)
    return value


@tool(effect="write", idempotent=True)
def deliver(value: int, seconds: float, ctx: Ctx, step: Step) -> int:
    """Append a value to a file unless its key is there, and return a number: it may be called again.

    Args:
        value: An earlier number.
        seconds: How long it takes; the effect happens in the middle.
        ctx: The run.
        step: The call.
    """
    _called(ctx, step)
    time.sleep(seconds / 2)
    if str(step.key) not in dict(happened(ctx.workspace)):
        _append(ctx.workspace / EFFECTS, f"{step.key} {value}")
    time.sleep(seconds / 2)
    return fold([value], 1)


def happened(folder: Path) -> list[tuple[str, int]]:
    """Return key and value of every effect that happened."""
    return [(key, int(value)) for key, value in _lines(folder / EFFECTS)]


def called(folder: Path) -> list[tuple[str, int]]:
    """Return path and process of every call that was begun."""
    return [(path, int(pid)) for path, pid in _lines(folder / CALLS)]


def _called(ctx: Ctx, step: Step) -> None:
    _append(ctx.workspace / CALLS, f"{step.key.path} {os.getpid()}")


def _append(place: Path, line: str) -> None:
    # One write of a file opened for appending: lines of several processes do not mix.
    with place.open("ab", buffering=0) as file:
        file.write(f"{line}\n".encode())


def _lines(place: Path) -> list[tuple[str, str]]:
    if not place.exists():
        return []
    found = [line.split(" ") for line in place.read_text().splitlines()]
    return [(first, second) for first, second in found]
