"""kill -9 and Ctrl-C at every phase of a run, on every executor; then resume: nothing twice, nothing lost."""

import importlib.util
import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("crashing.py")
UNDISTURBED = {"n1": ["done", 10], "n2": ["done", 32], "n3": ["done", 42], "n4": ["done", "stored 42"]}
EXECUTORS = [
    "inprocess",
    "processes",
    pytest.param(
        "ray",
        marks=[
            pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed"),
            pytest.mark.slow,
        ],
    ),
]


def program(
    point: str, folder: Path, executor: str, *more: str, by_sigint: bool = False
) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONSAFEPATH": "1"}
    if by_sigint:
        env["BY_SIGINT"] = "1"
    return subprocess.run(
        [sys.executable, str(PROGRAM), point, str(folder), executor, *more],
        capture_output=True, text=True, env=env, timeout=100,
    )  # fmt: skip


def only_run(folder: Path) -> str:
    with sqlite3.connect(folder / "home" / "shuntyard.db") as db:
        ((run,),) = db.execute("select id from runs").fetchall()
    return str(run)


def read(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def calls(folder: Path) -> list[str]:
    return sorted((folder / "log").read_text().split("\n")[:-1])


def left_over(folder: Path) -> list[int]:
    """Processes that ran tools and are there still, a moment later."""
    workers = {int(pid) for pid in (folder / "workers").read_text().split()}
    for _ in range(100):
        alive = [pid for pid in workers if Path(f"/proc/{pid}/cwd").exists()]
        if not alive:
            break
        time.sleep(0.05)
    return alive


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("by_sigint", [False, True], ids=["kill", "interrupt"])
@pytest.mark.parametrize("point", ["compile", "tool", "join", "idempotent"])
def test_resume_finishes_what_a_crash_left(point: str, by_sigint: bool, executor: str, tmp_path: Path) -> None:
    crashed = program(point, tmp_path, executor, by_sigint=by_sigint)
    assert crashed.returncode != 0
    result = read(program(point, tmp_path, executor, only_run(tmp_path)))
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
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("executor", EXECUTORS)
def test_an_effect_in_doubt_waits_for_a_person(executor: str, tmp_path: Path) -> None:
    assert program("effect", tmp_path, executor).returncode != 0
    run = only_run(tmp_path)
    doubtful = read(program("effect", tmp_path, executor, run))
    assert (doubtful["status"], doubtful["exit_code"]) == ("doubt", 5)
    assert "n4" in doubtful["failure"] and "--assume" in doubtful["failure"]
    assert calls(tmp_path).count("store") == 1

    assumed = read(program("effect", tmp_path, executor, run, "n4=done"))
    assert assumed["status"] == "done"
    assert calls(tmp_path).count("store") == 1


@pytest.mark.parametrize("executor", EXECUTORS)
def test_an_effect_assumed_not_done_runs_again(executor: str, tmp_path: Path) -> None:
    assert program("effect", tmp_path, executor).returncode != 0
    result = read(program("effect", tmp_path, executor, only_run(tmp_path), "n4=not-done"))
    assert (result["status"], result["values"]) == ("done", UNDISTURBED)
    assert calls(tmp_path).count("store") == 2
