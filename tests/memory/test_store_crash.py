"""What a killed process, a second process and a full disk leave behind."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from shuntyard.memory.journal import SqlJournal, recorded
from shuntyard.memory.runs import Runs
from shuntyard.memory.store import Store
from shuntyard.protocols import Ctx
from shuntyard.steps import Effect, Step, StepKey, StepResult

pytestmark = pytest.mark.anyio

WORKER = """
import os, sys, anyio
from pathlib import Path
from shuntyard.memory.journal import SqlJournal, recorded
from shuntyard.memory.store import Store
from shuntyard.protocols import Ctx
from shuntyard.steps import Effect, Step, StepKey, StepResult

home, run, first, count, mode = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]

async def call(step, ctx):
    await step.before_effect()
    if mode == "effect":
        (home / "effect").write_text("happened")
        print("in effect", flush=True)
        await anyio.sleep(60)
    if mode == "full":
        import resource
        size = (home / "shuntyard.db-wal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    return StepResult(value=step.key.path)

async def main():
    store = Store.open(home)
    handle = recorded(SqlJournal(store), run)(call)
    ctx = Ctx(run, home, lambda event: None)
    effect = Effect.WRITE if mode == "effect" else Effect.READ
    for i in range(first, first + count):
        result = await handle(Step(StepKey(run, 0, f"n{i}"), "tool", "t", {"i": i}, effect=effect), ctx)
        print(i if result.ok else result.failure.code, flush=True)

anyio.run(main)
"""


def worker(home: Path, run: str, first: int, count: int, mode: str = "plain") -> "subprocess.Popen[str]":
    arguments = [sys.executable, "-c", textwrap.dedent(WORKER), home, run, first, count, mode]
    return subprocess.Popen(list(map(str, arguments)), stdout=subprocess.PIPE, text=True)


async def test_a_kill_between_intent_and_commit_leaves_the_effect_in_doubt(store: Store, run: str, ctx: Ctx) -> None:
    job = worker(store.home, run, 1, 1, "effect")
    assert job.stdout is not None
    try:
        assert job.stdout.readline() == "in effect\n"
    finally:
        job.send_signal(signal.SIGKILL)
        job.wait()
        job.stdout.close()
    assert (store.home / "effect").read_text() == "happened"
    calls = []

    async def call(step: Step, ctx: Ctx) -> StepResult:
        calls.append(step)
        return StepResult()

    step = Step(StepKey(run, 0, "n1"), "tool", "t", {"i": 1}, effect=Effect.WRITE)
    result = await recorded(SqlJournal(store), run)(call)(step, ctx)
    assert (result.status, calls) == ("doubt", [])


async def test_a_kill_loses_nothing_that_was_acknowledged(store: Store, run: str) -> None:
    job = worker(store.home, run, 1, 100000)
    assert job.stdout is not None
    said = [int(job.stdout.readline()) for _ in range(300)]
    os.kill(job.pid, signal.SIGKILL)
    said += [int(line) for line in job.stdout.read().split("\n") if line.isdigit()][:-1]
    job.wait()
    job.stdout.close()
    found = await SqlJournal(store).recorded(run)
    assert {f"n{i}" for i in said} <= {key.path for key in found}
    with store.read() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


async def test_two_processes_lose_no_commit(store: Store) -> None:
    runs = [Runs(store).start("one"), Runs(store).start("two")]
    jobs = [worker(store.home, run, 1, 200) for run in runs]
    for job in jobs:
        out, _ = job.communicate(timeout=60)
        assert [int(line) for line in out.split()] == list(range(1, 201))
    for run in runs:
        found = await SqlJournal(store).recorded(run)
        assert {key.path: item.result.value for key, item in found.items() if item.result} == {
            f"n{i}": f"n{i}" for i in range(1, 201)
        }


async def test_a_full_disk_fails_the_step_and_keeps_what_was_written(store: Store, run: str) -> None:
    done = worker(store.home, run, 1, 5)
    assert done.communicate(timeout=60)[0].split() == ["1", "2", "3", "4", "5"]
    full = worker(store.home, run, 5, 3, "full")
    assert full.communicate(timeout=60)[0].split() == ["5", "store_unwritable", "store_unwritable"]
    assert {key.path for key in await SqlJournal(store).recorded(run)} == {f"n{i}" for i in range(1, 6)}
    after = worker(store.home, run, 6, 2)
    assert after.communicate(timeout=60)[0].split() == ["6", "7"]
