"""The process that is killed: it runs a crash plan, or goes on with one that was killed."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ...agents import graph  # noqa: F401  a forked driver need not import it again
from ...agents.agent import Agent
from ...agents.portal import run_sync
from ...events import Event, RunStarted, StepDone
from ...serving.scripted import ScriptedModel
from ...settings import Settings
from ...steps import Assumption, Limits, RunResult
from .plans import crash_plan

ExecutorName = Literal["inprocess", "processes", "ray"]
HOME, RUN, OUTCOME = "home", "run", "outcome.json"
_SOON = 0.02
"""Most seconds between the last of the nodes to wait for and the kill."""


@dataclass(frozen=True, slots=True)
class Drive:
    """What a driver does."""

    folder: Path
    """Home, workspace and outcome lie there."""
    executor: ExecutorName
    seed: int
    size: int = 101
    """Nodes of the plan."""
    kill_at: int = 0
    """Finished nodes after which it kills itself with SIGKILL, at a moment that the seed chooses; 0: never."""
    run: str = ""
    """Run to go on with; empty starts one."""
    assume: Mapping[str, Assumption] = field(default_factory=dict)
    ray_address: str = ""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What it finds in its environment, too; secrets may be among it."""


class Executioner:
    """A sink that kills its own process when enough nodes are finished."""

    def __init__(self, drive: Drive) -> None:
        """Count from zero."""
        self._drive = drive
        self._finished = 0

    def __call__(self, event: Event) -> None:
        """Count finished nodes; the elements of a map are none."""
        if isinstance(event, RunStarted):
            (self._drive.folder / RUN).write_text(event.run)
        if isinstance(event, StepDone) and event.kind == "tool" and event.status == "done" and "[" not in event.path:
            self._finished += 1
            if self._finished == self._drive.kill_at:
                # Half of them at once, between a node's record and its dependents; the others anywhere.
                wait = max(0.0, random.Random(self._drive.seed).uniform(-_SOON, _SOON))
                if not wait:
                    _die()
                threading.Timer(wait, _die).start()

    def close(self) -> None:
        """Nothing to end."""


def drive(given: Drive) -> None:
    """Do it, in a process of its own; what came of it is in the file ``outcome.json``."""
    os.environ |= {"SHUNTYARD_PLUGINS": "", **given.env}
    settings = Settings(
        home=given.folder / HOME,
        workspace=given.folder,
        tools=(f"{__package__}.tools",),
        approve=("*",),
        memory=False,
        executor=given.executor,
        workers=2,
        ray_address=given.ray_address,
    )
    model = ScriptedModel(lambda request: "ANSWER: done")
    agent = Agent(settings=settings, model=model, sinks=(Executioner(given),), builtin=False)
    if given.run:
        result = run_sync(lambda: agent.resume(given.run, assume=given.assume))
    else:
        plan = crash_plan(given.seed, size=given.size).plan
        result = agent.run_sync(plan.task, plan=plan, limits=Limits(max_nodes=given.size, concurrency=8))
    place = given.folder / OUTCOME
    place.with_suffix(".part").write_text(json.dumps(outcome(result)))
    place.with_suffix(".part").rename(place)


def outcome(result: RunResult) -> dict[str, object]:
    """Return what is looked at of a result."""
    return {
        "status": result.status,
        "failure": result.failure.message if result.failure is not None else "",
        "values": {id: item.value for id, item in result.results.items() if item.ok},
        "replayed": sum(item.replayed for item in result.results.values()),
    }


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
