"""Compacted runs: smaller, and the same to show, resume and replay; also when the compaction is killed."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import anyio
import pytest

from shuntyard.errors import UnknownName, UsageError
from shuntyard.memory import values
from shuntyard.memory.compact import compact
from shuntyard.memory.journal import SqlJournal, recorded
from shuntyard.memory.runs import Runs, StepRow
from shuntyard.memory.store import Store
from shuntyard.protocols import Ctx
from shuntyard.steps import Effect, Failure, RunResult, Step, StepKey, StepResult

pytestmark = pytest.mark.anyio

ROWS: list[Any] = [[i, f"row {i}", None] for i in range(20000)]


async def make(store: Store, *, finish: bool = True) -> str:
    """A run as an earlier version left it: big values in rows, a node tried again, an effect in doubt."""
    runs = Runs(store)
    run = runs.start("a task")
    journal = SqlJournal(store)
    results = {"n1": StepResult(value=ROWS), "n2": StepResult(value="x" * 300_000), "n3": StepResult(value=3)}
    failed = StepResult(status="failed", failure=Failure(code="tool_error", message="no"), value=ROWS)
    await journal.commit(key(run, "n1"), failed)
    for node, result in results.items():
        await journal.commit(key(run, node, attempt=2 if node == "n1" else 1), result)
    await journal.intend(key(run, "n4", effect=Effect.WRITE))
    await journal.intend(key(run, "n5", effect=Effect.WRITE))
    await journal.commit(key(run, "n5", effect=Effect.WRITE, attempt=2), StepResult(value="stored"))
    if finish:
        runs.finish(run, RunResult(run=run, task="a task", status="done", results=results, answer="3"))
    return run


def key(run: str, path: str, **changes: Any) -> Step:
    return Step(StepKey(run, 0, path), "tool", "t", {"path": path}, **changes)


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Until it is called, values stay in their rows, as before there were files."""
    monkeypatch.setattr(values, "BIG", 10**9)
    return monkeypatch.undo


def shown(store: Store, run: str) -> tuple[Any, list[StepRow]]:
    """All that can be shown of a run, wherever its values lie; of the steps those not made again."""
    runs = Runs(store)
    steps = [runs.whole_step(run, row).model_copy(update={"blob": None}) for row in runs.steps(run)]
    newest = {step.path: step.attempt for step in sorted(steps, key=lambda step: step.attempt)}
    return runs.whole(runs.get(run)), [step for step in steps if newest[step.path] == step.attempt]


async def resumed(store: Store, run: str) -> tuple[dict[str, StepResult], list[str]]:
    """What a resume of the run gets of every node, and which it calls."""
    called = []

    async def call(step: Step, ctx: Ctx) -> StepResult:
        called.append(step.key.path)
        return StepResult(value="called")

    handle = recorded(SqlJournal(store), run)(call)
    ctx = Ctx(run, store.home, lambda event: None)
    effects = {"n4": Effect.WRITE, "n5": Effect.WRITE}
    found = {}
    for node in ("n1", "n2", "n3", "n4", "n5", "n6"):
        found[node] = await handle(key(run, node, effect=effects.get(node, Effect.READ)), ctx)
    return found, called


async def test_a_compacted_run_is_smaller_and_the_same(store: Store, inline: Any) -> None:
    run, other = await make(store), await make(store)
    before = shown(store, run)
    inline()
    size = store.size()
    done = compact(store)
    assert (done.runs, done.attempts, done.values) == (2, 4, 8)
    assert store.blobs.size()[0] == 2, "both runs and both results share two files"
    assert done.bytes == size - store.size() - store.blobs.size()[1] > 2_000_000
    assert store.size() < 300_000
    assert shown(store, run) == before
    assert {(row.path, row.attempt) for row in Runs(store).steps(run)} == {
        ("n1", 2), ("n2", 1), ("n3", 1), ("n4", 1), ("n5", 2),
    }  # fmt: skip
    assert compact(store, [other]).model_dump(exclude={"bytes"}) == {"runs": 1, "attempts": 0, "values": 0}


async def test_a_resume_finds_the_same_before_and_after(store: Store, inline: Any) -> None:
    run, twin = await make(store), await make(store)
    before, called = await resumed(store, twin)
    assert called == ["n6"] and before["n4"].status == "doubt" and before["n1"].value == ROWS
    inline()
    compact(store, [run])
    after, called = await resumed(store, run)
    assert called == ["n6"]
    strip = {"started", "failure"}
    assert [each.model_dump(exclude=strip) for each in after.values()] == [
        each.model_dump(exclude=strip) for each in before.values()
    ]


async def test_a_run_that_is_executed_is_never_touched(store: Store, inline: Any) -> None:
    run = await make(store, finish=False)
    ended = await make(store)
    before = Runs(store).steps(run)
    inline()
    assert compact(store).runs == 1
    assert Runs(store).steps(run) == before
    with pytest.raises(UsageError, match=f"{run}.*has not ended; wait"):
        compact(store, [ended, run])
    with pytest.raises(UnknownName, match="shuntyard runs"):
        compact(store, ["nothere"])


async def test_a_resume_in_between_keeps_its_run(store: Store, inline: Any, monkeypatch: Any) -> None:
    """Claimed after the runs were chosen: each change asks again in its own transaction."""
    import shuntyard.memory.compact as module

    run = await make(store)
    inline()
    monkeypatch.setattr(module, "_all", lambda store: [Runs(store).claim(run).run])
    before = Runs(store).steps(run)
    assert compact(store).model_dump(exclude={"bytes"}) == {"runs": 1, "attempts": 0, "values": 0}
    assert Runs(store).steps(run) == before


# Kills compactions at every statement, file that gets its name, and file that goes; one process, many forks.
KILLER = """
import json, os, shutil, signal, sys, sqlalchemy
from pathlib import Path
from shuntyard.memory.compact import compact
from shuntyard.memory.store import Store

home, copy = Path(sys.argv[1]), Path(sys.argv[2])
at = 0
while True:
    at += 1
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(home, copy)
    child = os.fork()
    if child == 0:
        left = at
        def count(*_):
            global left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        store = Store.open(copy)
        sqlalchemy.event.listen(store._engine, "before_cursor_execute", count)
        sqlalchemy.event.listen(store._engine, "commit", count)
        sys.addaudithook(lambda event, _: count() if event in ("os.rename", "os.remove") else None)
        compact(store)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    print(json.dumps({"killed": os.WIFSIGNALED(status), "at": at}), flush=True)
    if not os.WIFSIGNALED(status):
        break
    sys.stdin.readline()
"""


def test_a_killed_compaction_leaves_every_run_whole(store: Store, inline: Any, tmp_path: Path) -> None:
    run = anyio.run(make, store)
    before = shown(store, run)
    inline()
    store.close()
    copy = tmp_path / "copy"
    command = [sys.executable, "-c", textwrap.dedent(KILLER), str(store.home), str(copy)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdin is not None and job.stdout is not None
        kills = 0
        while json.loads(job.stdout.readline())["killed"]:
            kills += 1
            left = Store.open(copy)
            assert shown(left, run) == before
            compact(left)
            assert shown(left, run) == before
            assert left.blobs.size()[0] == 2
            assert list((copy / "blobs" / "new").iterdir()) == []
            left.close()
            job.stdin.write("\n")
            job.stdin.flush()
    assert job.returncode == 0 and kills >= 20
