"""kill -9 in every phase of a replay: the recorded run stays as it was, the replay goes on under its own id."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("replaying.py")
ALL = ["add", "measure a", "measure b", "store"]


def program(point: str, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(PROGRAM), point, str(folder), *more],
        capture_output=True, text=True, env={**os.environ, "PYTHONSAFEPATH": "1"}, timeout=100,
    )  # fmt: skip


def read(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def rows(folder: Path, run: str) -> list[Any]:
    with sqlite3.connect(folder / "home" / "shuntyard.db") as db:
        return [
            db.execute(f"select * from {table} where {key} = ?", (run,)).fetchall()
            for table, key in (("runs", "id"), ("plans", "run"), ("steps", "run"), ("ledger", "run"))
        ]


def children(folder: Path, run: str) -> list[str]:
    with sqlite3.connect(folder / "home" / "shuntyard.db") as db:
        return [row[0] for row in db.execute("select id from runs where parent = ?", (run,))]


def calls(folder: Path) -> list[str]:
    return sorted((folder / "log").read_text().splitlines())


@pytest.mark.parametrize(
    ("point", "begun", "again"),
    [("fork", 0, []), ("tool", 1, ["add", "add", "store"]), ("join", 1, ["add", "store"])],
)
def test_a_killed_replay_harms_no_record_and_goes_on(point: str, begun: int, again: list[str], tmp_path: Path) -> None:
    run = read(program("make", tmp_path))["run"]
    before = rows(tmp_path, run)
    killed = program(point, tmp_path, run)
    assert killed.returncode == -signal.SIGKILL
    assert rows(tmp_path, run) == before
    found = children(tmp_path, run)
    assert len(found) == begun
    for child in found:
        result = read(program("resume", tmp_path, child))
        assert result["values"] == {
            "n1": ["done", 10], "n2": ["done", 32], "n3": ["done", 42], "n4": ["done", "stored 42"],
        }  # fmt: skip
        assert (result["status"], result["answer"]) == ("done", "stored 42")
    assert calls(tmp_path) == sorted([*ALL, *again])
    assert read(program("record", tmp_path, run)) == {"equal": True, "run": "", "status": "done"}
    assert calls(tmp_path) == sorted([*ALL, *again])


def test_an_effect_killed_in_a_replay_is_in_doubt_there_only(tmp_path: Path) -> None:
    run = read(program("make", tmp_path))["run"]
    assert program("effect", tmp_path, run).returncode == -signal.SIGKILL
    (child,) = children(tmp_path, run)
    assert read(program("resume", tmp_path, child))["status"] == "doubt"
    assert read(program("record", tmp_path, run))["equal"]
    assert calls(tmp_path).count("store") == 2
