"""What the tests of executors share."""

import importlib.util
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from shuntyard.agents.executors import executor_for
from shuntyard.protocols import Ctx, Executor
from shuntyard.settings import Settings
from shuntyard.steps import Effect, Step, StepKey
from shuntyard.tools.load import load_tools
from shuntyard.tools.registry import Registry

TOOLS = str(Path(__file__).with_name("pool_tools.py"))
ON_RAY = (
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed"),
    pytest.mark.slow,
    pytest.mark.timeout(300),
)
REMOTE = ["processes", pytest.param("ray", marks=ON_RAY)]
"""Executors with workers."""
EXECUTORS = ["inprocess", *REMOTE]


@contextmanager
def opened(name: str, workers: int = 2, address: str = "") -> Iterator[Executor]:
    """The executor ``name`` over the tools of ``pool_tools.py``; none of its processes is left behind."""
    settings = Settings(executor=name, workers=workers, ray_address=address)  # type: ignore[arg-type]
    executor = executor_for(settings, Registry(load_tools(TOOLS)))
    try:
        yield executor
    finally:
        executor.close()


def step_of(tool: str, **args: Any) -> Step:
    spec = next(item.spec for item in load_tools(TOOLS) if item.spec.name == tool)
    effect, idempotent = Effect(spec.effect), spec.idempotent
    return Step(StepKey("run1", 0, "n1"), "tool", tool, args=args, effect=effect, idempotent=idempotent, timeout=60)


def ctx_of(folder: Path, events: list[Any] | None = None) -> Ctx:
    return Ctx(run="run1", workspace=folder, emit=(events if events is not None else []).append)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def all_gone(pids: list[int], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while any(alive(pid) for pid in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def end(pid: int) -> None:
    """Kill what a test may have left."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def text_of(place: Path, seconds: float = 60) -> str:
    """What a call writes into ``place``, as soon as it does."""
    end = time.monotonic() + seconds
    while not place.exists():
        assert time.monotonic() < end, f"{place.name} never came"
        time.sleep(0.02)
    return place.read_text()
