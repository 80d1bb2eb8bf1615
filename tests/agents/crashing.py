"""A program that is killed once at a chosen point of a run, or that resumes one; what came of it is in a file."""

import json
import multiprocessing
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shuntyard import Agent
from shuntyard.agents.portal import run_sync
from shuntyard.messages import ModelRequest
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.settings import Settings
from shuntyard.tools.load import load_module

PLAN = """1. measure(name="a")
2. measure(name="b")
3. add(first=$1, second=$2)
4. store(value=$3)
"""
TOOLS = str(Path(__file__).with_name("crash_tools.py"))
OUTCOME = "outcome.json"


@dataclass(frozen=True)
class Job:
    """What the program does."""

    point: str
    folder: Path
    executor: str
    cluster: str = ""
    """Address of a Ray cluster."""
    how: str = "kill"
    """Or ``interrupt``."""
    run: str = ""
    """Run to go on with; empty starts one."""
    assume: Mapping[str, Any] = field(default_factory=dict)


def main(job: Job) -> None:
    """Do it, in a process of its own."""
    # The tools read it when they are loaded.
    os.environ["CRASH_POINT"] = job.point
    (job.folder / "driver").write_text(f"{os.getpid()} {job.point} {job.how}")
    die = load_module(TOOLS).die

    def answer(request: ModelRequest) -> str:
        die(request.role, job.folder)
        return PLAN if request.role == "compile" else "ANSWER: 42 is stored"

    settings = Settings(
        home=job.folder / "home", workspace=job.folder, approve=("store",), memory=False, tools=(TOOLS,),
        executor=job.executor, workers=2, ray_address=job.cluster,
    )  # type: ignore[arg-type]  # fmt: skip
    agent = Agent(settings=settings, model=ScriptedModel(answer), builtin=False)
    if job.run:
        result = run_sync(lambda: agent.resume(job.run, assume=job.assume))
    else:
        result = agent.run_sync("measure a and b, add them, store the sum")
    found = {
        "run": result.run,
        "status": result.status,
        "answer": result.answer,
        "values": {id: [item.status, item.value] for id, item in sorted(result.results.items())},
        "failure": result.failure.message if result.failure else "",
        "exit_code": result.failure.exit_code if result.failure else 0,
    }
    (job.folder / OUTCOME).write_text(json.dumps(found))


def forked(target: Callable[[Job], None], job: Job) -> int | None:
    """Run ``target`` in a process that is forked from one that has imported all it needs; return its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["shuntyard.benchmarks.crash.driver"])
    process = context.Process(target=target, args=(job,))
    process.start()
    process.join(250)
    if process.is_alive():
        process.kill()
        raise AssertionError(f"{job} never ended")
    return process.exitcode
