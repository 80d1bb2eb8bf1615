"""kill -9 and Ctrl-C at every phase of a run, on every executor; then resume: nothing twice, nothing lost."""

import json
import signal
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from crashing import OUTCOME, Job, forked, main
from executor_parts import EXECUTORS, ON_RAY, all_gone

Program = Callable[[Job], int | None]
HOW = ("kill", "interrupt")
LOCAL = ["inprocess", "processes"]
CASES = [
    *[(where, point, how) for where in LOCAL for point in ("compile", "tool", "join", "idempotent") for how in HOW],
    # Of a kill in a read on Ray there is more in test_crash_plans.py.
    pytest.param("ray", "idempotent", "kill", marks=ON_RAY),
    pytest.param("ray", "tool", "interrupt", marks=ON_RAY),
]
UNDISTURBED = {"n1": ["done", 10], "n2": ["done", 32], "n3": ["done", 42], "n4": ["done", "stored 42"]}


@pytest.fixture
def program(address: Callable[[str], str]) -> Program:
    """Runs a job to its end and returns its exit code."""
    return lambda job: forked(main, replace(job, cluster=address(job.executor)))


def only_run(folder: Path) -> str:
    with sqlite3.connect(folder / "home" / "shuntyard.db") as db:
        ((run,),) = db.execute("select id from runs").fetchall()
    return str(run)


def resumed(program: Program, job: Job, **assume: str) -> Any:
    """What came of resuming the only run that ``job`` has left."""
    job = replace(job, run=only_run(job.folder), assume=assume)
    assert program(job) == 0
    return json.loads((job.folder / OUTCOME).read_text())


def calls(folder: Path) -> list[str]:
    return sorted((folder / "log").read_text().split("\n")[:-1])


@pytest.mark.parametrize(("executor", "point", "how"), CASES)
def test_resume_finishes_what_a_crash_left(
    executor: str, point: str, how: str, tmp_path: Path, program: Program
) -> None:
    by_sigint = how == "interrupt"
    job = Job(point, tmp_path, executor, how=how)
    assert program(job) == (1 if by_sigint else -signal.SIGKILL)
    result = resumed(program, job)
    assert result["status"] == "done"
    assert result["values"] == UNDISTURBED
    expected = ["add", "measure a", "measure b", "store"]
    if point == "idempotent" and (not by_sigint or executor != "inprocess"):
        expected.append("store")
    made = calls(tmp_path)
    if by_sigint and point == "tool" and executor == "inprocess":
        # The interrupted read's thread may end after the run did; its result is not on record.
        made = sorted(set(made))
    assert made == expected
    assert all_gone([int(pid) for pid in (tmp_path / "workers").read_text().split()], 10)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_an_effect_in_doubt_waits_for_a_person(executor: str, tmp_path: Path, program: Program) -> None:
    job = Job("effect", tmp_path, executor)
    assert program(job) == -signal.SIGKILL
    doubtful = resumed(program, job)
    assert (doubtful["status"], doubtful["exit_code"]) == ("doubt", 5)
    assert "n4" in doubtful["failure"] and "--assume" in doubtful["failure"]
    assert calls(tmp_path).count("store") == 1

    assumed = resumed(program, job, n4="done")
    assert assumed["status"] == "done"
    assert calls(tmp_path).count("store") == 1


@pytest.mark.parametrize("executor", LOCAL)
def test_an_effect_assumed_not_done_runs_again(executor: str, tmp_path: Path, program: Program) -> None:
    job = Job("effect", tmp_path, executor)
    assert program(job) == -signal.SIGKILL
    result = resumed(program, job, n4="not-done")
    assert (result["status"], result["values"]) == ("done", UNDISTURBED)
    assert calls(tmp_path).count("store") == 2
