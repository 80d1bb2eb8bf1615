from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from shuntyard.errors import UnknownName, UsageError
from shuntyard.memory import tables
from shuntyard.memory.approvals import SqlApprovals
from shuntyard.memory.journal import SqlJournal
from shuntyard.memory.ledger import SqlLedger
from shuntyard.memory.runs import Runs, new_id
from shuntyard.memory.store import Store
from shuntyard.messages import Usage
from shuntyard.moves import Choice, Move
from shuntyard.protocols import Amount
from shuntyard.settings import Settings
from shuntyard.steps import Hint, Limits, Node, Plan, RunResult, Step, StepKey, StepResult

pytestmark = pytest.mark.anyio
PLAN = Plan(task="t", nodes=(Node(id="n1", tool="query"),))


def finished(runs: Runs, task: str = "t", **changes: Any) -> str:
    run = runs.start(task)
    runs.finish(run, RunResult(run=run, task=task, status="done", **changes))
    return run


def test_ids_are_short_and_sort_by_time() -> None:
    ids = []
    for _ in range(5):
        ids.append(new_id())
        time.sleep(0.002)
    assert ids == sorted(ids)
    assert {len(id) for id in ids} == {10}


def test_a_run_is_kept_as_it_was_started_and_finished(store: Store) -> None:
    runs = Runs(store)
    run = runs.start("sum it", Settings(max_cost=Decimal("0.5")), Limits(max_tokens=5))
    row = runs.get(run)
    assert (row.status, row.ended, row.interrupted, row.limits.max_tokens) == ("running", None, False, 5)
    assert Settings.model_validate_json(row.settings).max_cost == Decimal("0.5")
    result = RunResult(run=run, task="sum it", status="done", answer="42", results={"n1": StepResult(value=[1, 2])})
    runs.finish(run, result)
    row = runs.get(run)
    assert (row.status, row.result) == ("done", result)
    assert row.ended is not None and row.ended >= row.started


def test_a_run_is_found_by_its_beginning(store: Store) -> None:
    runs = Runs(store)
    first = finished(runs)
    assert runs.get(first[:4]).run == first
    second = finished(runs)
    assert runs.get("last").run == second
    assert runs.get(first).run == first
    with pytest.raises(UsageError, match=second):
        runs.get(first[:2])
    for wrong in ("zzz", "", "%", "_"):
        with pytest.raises(UnknownName, match="shuntyard runs"):
            runs.get(wrong)


def test_listing_is_newest_first_and_by_status(store: Store) -> None:
    runs = Runs(store)
    ids = [finished(runs, f"task {i}") for i in range(5)]
    runs.start("still going")
    assert [row.run for row in runs.list(3, "done")] == ids[:1:-1]
    assert len(runs.list()) == 6


def test_plans_keep_their_revisions(store: Store, run: str) -> None:
    runs = Runs(store)
    nodes = (Node(id="n1", tool="now"),)
    runs.save_move(run, Move(plan=Plan(task="t", nodes=())))
    runs.save_move(run, Move(plan=Plan(task="t", nodes=nodes)))
    runs.save_move(run, Move(plan=Plan(task="t", nodes=nodes, revision=1)))
    assert [(plan.revision, len(plan.nodes)) for plan in runs.plans(run)] == [(0, 1), (1, 1)]


def test_a_run_is_executed_once_at_a_time(store: Store) -> None:
    runs = Runs(store)
    run = runs.start("t")
    with pytest.raises(UsageError, match=r"is being executed by process \d+"):
        runs.claim(run)
    runs.finish(run, RunResult(run=run, task="t", status="waiting"))
    assert runs.claim(run).status == "waiting"
    assert runs.get(run).status == "running"
    with pytest.raises(UsageError, match="executed"):
        runs.claim(run)


def test_another_process_is_refused_while_it_lives_and_welcome_after(store: Store) -> None:
    code = """
        import sys
        from pathlib import Path
        from shuntyard.memory.runs import Runs
        from shuntyard.memory.store import Store
        runs = Runs(Store.open(Path(sys.argv[1])))
        print(runs.start("theirs"), flush=True)
        sys.stdin.read()
    """
    other = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(store.home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    run = other.stdout.readline().strip()
    runs = Runs(store)
    try:
        assert not runs.get(run).interrupted
        with pytest.raises(UsageError, match=f"process {other.pid}"):
            runs.claim(run)
        assert runs.prune().runs == 0
    finally:
        other.kill()
        other.communicate()
    assert runs.get(run).interrupted
    assert runs.claim(run).run == run


async def test_pruning_removes_all_of_a_run_and_gives_space_back(store: Store) -> None:
    runs = Runs(store)
    secret = "a value that must be gone"
    for i in range(20):
        run = finished(runs, f"task {i}")
        key = StepKey(run, 0, "n1")
        runs.save_move(run, Move(plan=Plan(task="t", nodes=())))
        await SqlJournal(store).commit(Step(key, "tool", "t"), StepResult(value=secret + "x" * 20000))
        await SqlLedger(store).reserve(key, Amount(Decimal(1), 1), lambda total: None)
        await SqlApprovals(store).ask(key, "d", "t", "r", "p")
    kept = [row.run for row in runs.list(2)]
    assert runs.prune(older_than=timedelta(days=1)).runs == 0
    pruned = runs.prune(keep=2)
    assert pruned.runs == 18
    assert pruned.bytes > 18 * 20000
    assert [row.run for row in runs.list()] == kept
    with store.read() as connection:
        for table in (tables.plans, tables.steps, tables.ledger, tables.approvals):
            assert connection.execute(tables.count(table)).scalar_one() == 2
    assert runs.prune().runs == 2
    assert all(secret.encode() not in file.read_bytes() for file in store.home.iterdir() if file.is_file())


def test_size_counts_rows_and_bytes(store: Store, run: str) -> None:
    size = Runs(store).size()
    assert (size.runs, size.steps, size.trajectories, size.index_bytes) == (1, 0, 0, 0)
    assert size.bytes > 10000
    assert size.path.startswith(str(store.home))


async def test_the_same_question_keeps_its_id_and_its_answer(store: Store, run: str) -> None:
    approvals = SqlApprovals(store)
    key = StepKey(run, 0, "n1")
    assert await approvals.take(key, "d1") is None
    first = await approvals.ask(key, "d1", "write_file", "writes", "path=a")
    assert await approvals.ask(key, "d1", "write_file", "writes", "path=a") == first
    second = await approvals.ask(key, "d2", "write_file", "writes", "path=b")
    assert len(first) == 8 and second != first
    assert [question.id for question in approvals.list_pending(run)] == [first, second]
    assert approvals.list_pending("another") == []
    assert approvals.decide(first, True).allowed is True
    approvals.decide(second, False, by="flag")
    assert await approvals.take(key, "d1") is True
    assert await SqlApprovals(store).take(key, "d2") is False
    assert await approvals.take(StepKey(run, 1, "n1"), "d1") is None
    assert approvals.list_pending() == []
    assert [question.by for question in approvals.questions(run)] == ["person", "flag"]
    with pytest.raises(UnknownName, match="nothere"):
        approvals.decide("nothere", True)


async def test_what_a_run_took_counts_calls_and_answers_once_and_planning_not(store: Store) -> None:
    runs, journal = Runs(store), SqlJournal(store)
    run = runs.start("t")

    async def write(path: str, *, revision: int = 0, kind: Any = "tool", attempt: int = 1, **result: Any) -> None:
        step = Step(key=StepKey(run, revision, path), kind=kind, name="x", attempt=attempt)
        await journal.commit(step, StepResult(**result))

    spent = Usage(prompt=10, completion=1)
    await write("compile", kind="model", started=0.5, seconds=9.0, usage=spent)
    await write("repair.2", kind="model", started=9.5, seconds=1.0, usage=spent)
    await write("n1", started=1.0, seconds=2.0, cost=Decimal("0.1"))
    await write("n2", started=2.0, seconds=2.0, status="failed")
    await write("n2", started=8.0, seconds=1.0, attempt=2)
    await write("n3", status="waiting")
    await write("n4", status="denied")
    await write("join", kind="model", started=20.0, seconds=0.5, usage=spent, cost=Decimal("0.2"))
    await write("replan", revision=1, kind="model", started=30.0, seconds=1.0, usage=spent)
    took = runs.took(run)
    assert (took.calls, took.tokens, took.cost) == (3, 22, Decimal("0.3"))
    assert took.seconds == pytest.approx(3 + 1 + 0.5 + 1)


def test_how_a_run_is_planned_is_kept_with_it(store: Store) -> None:
    runs = Runs(store)
    run = runs.start("t", Settings(planner="auto"))
    assert (runs.get(run).planner, runs.get(run).choice) == ("auto", None)
    choice = Choice(planner="reuse", reason="alike", hints=(Hint(run="r", task="t", plan=PLAN, similarity=0.9),))
    runs.choose(run, choice)
    move = Move(plan=PLAN, answer="not kept here", again=True, memo={"n1": "why", "slots": [1, {"a": None}]})
    runs.save_move(run, move)
    assert runs.get(run).choice == choice
    assert runs.moves(run) == [move.model_copy(update={"answer": ""})] and runs.plans(run) == [PLAN]
    fork = runs.fork(runs.get(run), lambda key: True, last=0, settings=Settings(), limits=Limits())
    assert runs.get(fork).choice == choice and runs.moves(fork) == runs.moves(run)
    assert Runs(store).get(Runs(store).start("t")).planner == "dag", "also where no settings are known"
