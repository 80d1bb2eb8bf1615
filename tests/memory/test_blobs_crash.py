"""Files of big values under kill -9, a full disk, and several processes at once."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from shuntyard.memory.journal import SqlJournal
from shuntyard.memory.runs import Runs
from shuntyard.memory.store import Store
from shuntyard.memory.sweep import sweep

pytestmark = pytest.mark.anyio

WORKER = """
import os, signal, sys, anyio, sqlalchemy
from pathlib import Path
from shuntyard.memory.journal import SqlJournal, recorded
from shuntyard.memory.store import Store
from shuntyard.memory.sweep import sweep
from shuntyard.protocols import Ctx
from shuntyard.steps import Effect, Step, StepKey, StepResult

home, run, mode, count = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
store = Store.open(home)

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def before(connection, cursor, statement, *_):
    if mode in ("row", "effect") and statement.startswith("INSERT INTO steps") and "blob" in statement:
        if (home / "called").exists():
            die()

def audit(event, args):
    if mode == "half" and event == "os.rename":
        die()

async def call(step, ctx):
    await step.before_effect()
    (home / "called").touch()
    if mode == "full":
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
    letters = "abcdefgh"
    at = int(step.key.path[1:])
    return StepResult(value=[f"{letters[at % 8]} {i * (at % 8 + 1)}" for i in range(40000)])

async def main():
    sqlalchemy.event.listen(store._engine, "before_cursor_execute", before)
    sys.addaudithook(audit)
    handle = recorded(SqlJournal(store), run)(call)
    ctx = Ctx(run, home, lambda event: None)
    effect = Effect.WRITE if mode == "effect" else Effect.READ
    for i in range(1, count + 1):
        result = await handle(Step(StepKey(run, 0, f"n{i}"), "tool", "t", {"i": i}, effect=effect), ctx)
        print(f"{i} replayed" if result.replayed else i if result.ok else result.failure.code, flush=True)

if mode == "sweep":
    for _ in range(count):
        sweep(store)
    print("swept")
else:
    anyio.run(main)
"""


def worker(home: Path, run: str, mode: str, count: int = 1) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(WORKER), str(home), run, mode, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def said(job: subprocess.Popen[str]) -> list[str]:
    return job.communicate(timeout=100)[0].splitlines()


def files(store: Store) -> list[Path]:
    return [path for path in store.blobs.folder.rglob("*") if path.is_file()]


async def whole(store: Store) -> int:
    """Read every value that any row names and return how many there were."""
    count = 0
    for row in Runs(store).list(100):
        for trace in (await SqlJournal(store).recorded(row.run)).values():
            assert not trace.lost
            count += trace.result is not None
    return count


@pytest.mark.parametrize(("mode", "named"), [("row", 1), ("half", 0)])
async def test_a_kill_between_file_and_row_leaves_an_orphan_and_no_row(
    store: Store, run: str, mode: str, named: int
) -> None:
    job = worker(store.home, run, mode)
    assert said(job) == [] and job.returncode == -signal.SIGKILL
    assert Runs(store).steps(run) == []
    assert len(list(store.blobs.names())) == named and len(files(store)) == 1
    assert said(worker(store.home, run, "plain")) == ["1"]
    assert said(worker(store.home, run, "plain")) == ["1 replayed"]
    assert sweep(store).bytes > 0 or mode == "row"
    assert len(files(store)) == 1 and await whole(store) == 1


async def test_what_a_kill_left_is_pruned(store: Store, run: str) -> None:
    for mode in ("half", "row"):
        (store.home / "called").unlink(missing_ok=True)
        said(worker(store.home, run, mode))
    assert len(files(store)) == 2
    pruned = Runs(store).prune()
    assert pruned.blobs == 1 and files(store) == []


async def test_a_killed_effect_with_a_big_value_is_in_doubt(store: Store, run: str) -> None:
    job = worker(store.home, run, "effect")
    assert said(job) == [] and job.returncode == -signal.SIGKILL
    assert [row.state for row in Runs(store).steps(run)] == ["intended"]
    (store.home / "called").unlink()
    assert said(worker(store.home, run, "effect")) == ["in_doubt"]


async def test_a_full_disk_fails_the_step_and_loses_nothing(store: Store, run: str) -> None:
    assert said(worker(store.home, run, "plain", 2)) == ["1", "2"]
    before = sorted(files(store))
    old = ["1 replayed", "2 replayed"]
    assert said(worker(store.home, run, "full", 4)) == [*old, "store_unwritable", "store_unwritable"]
    assert sorted(files(store)) == before, "nothing half written stays"
    assert await whole(store) == 2
    assert said(worker(store.home, run, "plain", 4)) == [*old, "3", "4"]


async def test_processes_write_the_same_values_while_others_sweep(store: Store) -> None:
    runs = [Runs(store).start("a task") for _ in range(3)]
    # Whatever an earlier round left is unnamed: the sweeps then race with writers of the very same files.
    said(worker(store.home, runs[0], "row"))
    jobs = [worker(store.home, run, "plain", 12) for run in runs]
    sweeps = [worker(store.home, "", "sweep", 30) for _ in range(2)]
    assert [said(job) for job in sweeps] == [["swept"]] * 2
    for job in jobs:
        assert said(job) == [str(i) for i in range(1, 13)]
    assert await whole(store) == 36
    assert len(files(store)) == 8
    assert sweep(store).blobs == 0
