"""Questions to people: several at once, answered in any order and by any process, until their call was made."""

from __future__ import annotations

import random
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from shuntyard.errors import UnknownName, UsageError
from shuntyard.memory.approvals import SqlApprovals
from shuntyard.memory.journal import SqlJournal
from shuntyard.memory.runs import Runs
from shuntyard.memory.store import Store
from shuntyard.protocols import Edited
from shuntyard.steps import Effect, RunResult, Step, StepKey, StepResult

pytestmark = pytest.mark.anyio


async def ask(approvals: SqlApprovals, run: str, node: str, **args: Any) -> str:
    return await approvals.ask(StepKey(run, 0, node), f"d-{node}", "write_file", "writes", "p", args=args)


def effect(run: str, node: str) -> Step:
    return Step(key=StepKey(run, 0, node), kind="tool", name="write_file", effect=Effect.WRITE)


async def test_several_are_answered_in_any_order_each_by_its_own_id(store: Store, run: str) -> None:
    approvals = SqlApprovals(store)
    nodes = [f"n{at}" for at in range(1, 9)]
    ids = {node: await ask(approvals, run, node, path=node) for node in nodes}
    assert len(set(ids.values())) == 8
    wanted: dict[str, Any] = {
        node: [True, False, Edited({"path": f"{node}.txt"}, by="ann")][at % 3] for at, node in enumerate(nodes)
    }
    for node in random.Random(3).sample(nodes, 8):
        answer = wanted[node]
        edited = answer if isinstance(answer, Edited) else None
        approvals.decide(ids[node], bool(answer), by="ann", edited=edited)
        assert len(approvals.list_pending(run)) == 8 - len([q for q in approvals.questions() if q.decided])
    for node in nodes:
        assert await approvals.take(StepKey(run, 0, node), f"d-{node}") == wanted[node]
    assert approvals.get(ids["n3"]).edited == {"path": "n3.txt"} and approvals.get(ids["n3"]).args == {"path": "n3"}
    with pytest.raises(UnknownName, match="nothere"):
        approvals.get("nothere")


async def test_a_later_answer_replaces_an_earlier_one_also_its_edit(store: Store, run: str) -> None:
    approvals, key = SqlApprovals(store), StepKey(run, 0, "n1")
    id = await ask(approvals, run, "n1")
    approvals.decide(id, True, edited=Edited({"path": "b"}))
    approvals.decide(id, True)
    assert approvals.get(id).edited is None
    approvals.decide(id, False, edited=Edited({"path": "c"}))
    assert approvals.get(id).edited is None and await approvals.take(key, "d-n1") is False


@pytest.mark.parametrize("result", [None, StepResult(), StepResult(status="failed"), StepResult(status="doubt")])
async def test_an_answer_after_the_call_is_refused_and_changes_nothing(
    store: Store, run: str, result: StepResult | None
) -> None:
    approvals, journal = SqlApprovals(store), SqlJournal(store)
    id = await ask(approvals, run, "n1")
    approvals.decide(id, True)
    await journal.intend(effect(run, "n1"))
    if result is not None:
        await journal.commit(effect(run, "n1"), result)
    Runs(store).finish(run, RunResult(run=run, task="t", status="waiting"))
    for allow, edited in ((False, None), (True, Edited({"path": "b"}))):
        with pytest.raises(UsageError, match=f"{id}.*n1 write_file of run {run}: the call was made.*was yes"):
            approvals.decide(id, allow, edited=edited)
    question = approvals.get(id)
    assert question.allowed is True and question.edited is None


async def test_a_taken_answer_stands_while_the_run_goes_on_and_is_free_after_it(store: Store, run: str) -> None:
    approvals, key = SqlApprovals(store), StepKey(run, 0, "n1")
    id = await ask(approvals, run, "n1")
    approvals.decide(id, False)
    assert await approvals.take(key, "d-n1") is False
    with pytest.raises(UsageError, match="has taken the answer"):
        approvals.decide(id, True)
    await SqlJournal(store).commit(effect(run, "n1"), StepResult(status="denied"))
    Runs(store).finish(run, RunResult(run=run, task="t", status="denied"))
    assert approvals.decide(id, True).taken is None
    assert await approvals.take(key, "d-n1") is True


async def test_a_question_whose_call_was_made_all_the_same_is_not_open(store: Store, run: str) -> None:
    approvals, journal = SqlApprovals(store), SqlJournal(store)
    ids = [await ask(approvals, run, node) for node in ("n1", "n2")]
    await journal.commit(effect(run, "n1"), StepResult(status="waiting"))
    assert [question.id for question in approvals.list_pending()] == ids
    await journal.intend(effect(run, "n1"))
    assert [question.id for question in approvals.list_pending(run)] == ids[1:]
    assert [question.id for question in approvals.questions(run)] == ids


async def test_a_reopened_question_has_no_answer(store: Store, run: str) -> None:
    approvals, key = SqlApprovals(store), StepKey(run, 0, "n1")
    id = await ask(approvals, run, "n1")
    approvals.decide(id, True, edited=Edited({"path": "b"}))
    await approvals.take(key, "d-n1")
    await approvals.reopen(key, "d-n1")
    assert [question.id for question in approvals.list_pending()] == [id]
    assert await approvals.take(key, "d-n1") is None and approvals.get(id).edited is None


async def test_processes_answer_at_the_same_time_and_no_answer_is_lost(store: Store, run: str) -> None:
    approvals = SqlApprovals(store)
    ids = [await ask(approvals, run, f"n{at}") for at in range(1, 13)]
    code = """
        import sys
        from pathlib import Path
        from shuntyard.memory.approvals import SqlApprovals
        from shuntyard.memory.store import Store
        from shuntyard.protocols import Edited
        approvals = SqlApprovals(Store.open(Path(sys.argv[1])))
        print("ready", flush=True)
        sys.stdin.readline()
        for id in sys.argv[2:]:
            approvals.decide(id, True, by=sys.argv[2], edited=Edited({"path": id}))
    """
    others = [
        subprocess.Popen(  # noqa: ASYNC220  three processes that wait for one another's start
            [sys.executable, "-c", textwrap.dedent(code), str(store.home), *ids[at::3]],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for at in range(3)
    ]  # fmt: skip
    for other in others:
        assert other.stdout is not None and other.stdout.readline() == "ready\n"
    for other in others:
        assert other.stdin is not None
        other.stdin.write("go\n")
        other.stdin.flush()
    assert [other.communicate(timeout=60) and other.returncode for other in others] == [0, 0, 0]
    for at, id in enumerate(ids):
        question = approvals.get(id)
        assert (question.edited, question.by) == ({"path": id}, ids[at % 3])
