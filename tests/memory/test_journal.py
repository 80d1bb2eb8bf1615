from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import anyio
import pytest

from shuntyard.errors import UsageError
from shuntyard.memory import values
from shuntyard.memory.journal import SqlJournal, recorded
from shuntyard.memory.ledger import SqlLedger
from shuntyard.memory.runs import Runs
from shuntyard.memory.store import Store
from shuntyard.messages import Message, ModelRequest, Usage
from shuntyard.protocols import Amount, Ctx, Handler
from shuntyard.steps import (
    Bound,
    Decision,
    Effect,
    Failure,
    Label,
    Settlement,
    Step,
    StepKey,
    StepResult,
    Verdict,
)

pytestmark = pytest.mark.anyio


class Callee:
    """Stands at the place of guard, budget and dispatch: performs effects, counts calls."""

    def __init__(self, answer: Callable[[Step], Awaitable[StepResult]] | None = None) -> None:
        self.calls: list[Step] = []
        self.answer = answer

    async def __call__(self, step: Step, ctx: Ctx) -> StepResult:
        self.calls.append(step)
        await step.before_effect()
        if self.answer is not None:
            return await self.answer(step)
        return StepResult(value={"path": step.key.path, "args": dict(step.args)})


def step(run: str, path: str = "n1", **changes: Any) -> Step:
    base = Step(StepKey(run, 0, path), "tool", "calculator", {"expression": "1 + 1"})
    return replace(base, **changes)


def again(store: Store, run: str, callee: Handler, **options: Any) -> Handler:
    """The handler as a new process would build it."""
    return recorded(SqlJournal(store), run, **options)(callee)


async def test_results_come_back_byte_for_byte_in_any_order(store: Store, run: str, ctx: Ctx) -> None:
    async def answer(step: Step) -> StepResult:
        return StepResult(
            value={"é": [1, 2.5, None, "x" * 50], "big": 2**70, "path": step.key.path},
            label=Label(sources=("task", "tool"), tools=("calculator",)),
            usage=Usage(prompt=3, completion=4),
            cost=Decimal("0.000000123456"),
            seconds=0.125,
            started=1.5,
            verdict=Verdict(decision="allow", rule="r", reason="because"),
            decision=Decision(model="m", reason="only one", candidates=("m",)),
        )

    steps = [step(run, f"n{i + 1}[{i}]", args={"i": i}) for i in range(30)]
    first = again(store, run, Callee(answer))
    live = {item.key: await first(item, ctx) for item in steps}
    callee = Callee(answer)
    second = again(store, run, callee)
    random.Random(3).shuffle(steps)
    for item in steps:
        replayed = await second(item, ctx)
        assert replayed.replayed
        assert replayed.model_copy(update={"replayed": False}).model_dump_json() == live[item.key].model_dump_json()
    assert callee.calls == []


async def test_a_changed_call_runs_anew_the_same_prompt_does_not(store: Store, run: str, ctx: Ctx) -> None:
    def ask(text: str) -> Step:
        request = ModelRequest(messages=(Message(role="user", content=text),), role="compile")
        return step(run, "compile", kind="model", name="compile", args={}, request=request)

    async def answer(step: Step) -> StepResult:
        return StepResult(value={"text": "1. now()", "finish": "stop"})

    first = again(store, run, Callee(answer))
    await first(step(run), ctx)
    await first(ask("files: a"), ctx)
    callee = Callee(answer)
    second = again(store, run, callee)
    heard: list[str] = []
    spoken = await second(replace(ask("files: a"), on_text=heard.append), ctx)
    assert spoken.replayed
    assert heard == ["1. now()"]
    assert not (await again(store, run, Callee(answer))(ask("files: a, b"), ctx)).replayed
    assert not (await second(step(run, args={"expression": "2 + 2"}), ctx)).replayed
    assert [(call.key.path, call.attempt) for call in callee.calls] == [("n1", 2)]


@pytest.mark.parametrize("status", ["denied", "waiting", "spent", "doubt", "cancelled"])
async def test_what_did_not_run_is_decided_anew(store: Store, run: str, ctx: Ctx, status: Any) -> None:
    async def stopped(step: Step) -> StepResult:
        return StepResult(status=status)

    read = step(run)
    assert (await again(store, run, Callee(stopped))(read, ctx)).status == status
    result = await again(store, run, Callee())(replace(read, idempotent=True), ctx)
    assert (result.status, result.replayed) == ("done", False)
    assert [(row.attempt, row.state) for row in Runs(store).steps(run)] == [(1, status), (2, "done")]


async def test_a_failure_stays_unless_it_is_to_be_retried(store: Store, run: str, ctx: Ctx) -> None:
    async def fail(step: Step) -> StepResult:
        return StepResult(status="failed", failure=Failure(code="tool_error", message="no"))

    await again(store, run, Callee(fail))(step(run), ctx)
    kept = await again(store, run, Callee())(step(run), ctx)
    assert (kept.status, kept.replayed) == ("failed", True)
    tried = await again(store, run, Callee(), retry_failed=True)(step(run), ctx)
    assert (tried.status, tried.replayed) == ("done", False)


async def test_retries_within_and_after_a_process_count_on(store: Store, run: str, ctx: Ctx) -> None:
    async def fail(step: Step) -> StepResult:
        return StepResult(status="failed", failure=Failure(code="tool_retry", message="again", retryable=True))

    first = again(store, run, Callee(fail))
    await first(step(run, attempt=1), ctx)
    # Stopped before the second attempt: the resumed scheduler asks for attempt 1, then for 2.
    callee = Callee(fail)
    second = again(store, run, callee)
    assert (await second(step(run, attempt=1), ctx)).replayed
    assert not (await second(step(run, attempt=2), ctx)).replayed
    assert not (await second(step(run, attempt=3), ctx)).replayed
    assert [call.attempt for call in callee.calls] == [2, 3]
    assert [row.attempt for row in Runs(store).steps(run)] == [1, 2, 3]


async def test_only_effects_of_tools_write_an_intent(store: Store, run: str, ctx: Ctx) -> None:
    seen: list[list[str]] = []

    async def look(step: Step) -> StepResult:
        seen.append([row.state for row in Runs(store).steps(run)])
        return StepResult()

    handle = again(store, run, Callee(look))
    await handle(step(run, "n1"), ctx)
    await handle(step(run, "n2", effect=Effect.WRITE), ctx)
    await handle(step(run, "join", kind="model", name="join", effect=Effect.EXTERNAL), ctx)
    assert seen == [[], ["done", "intended"], ["done", "done"]]


async def crash_in_effect(store: Store, run: str, path: str = "n1") -> Step:
    effect = step(run, path, effect=Effect.WRITE)
    await SqlJournal(store).intend(effect)
    return effect


async def test_an_effect_without_outcome_is_in_doubt_until_someone_says(store: Store, run: str, ctx: Ctx) -> None:
    effect = await crash_in_effect(store, run)
    for _ in range(2):
        callee = Callee()
        result = await again(store, run, callee)(effect, ctx)
        assert result.status == "doubt"
        assert result.failure is not None
        assert (result.failure.code, result.failure.exit_code) == ("in_doubt", 5)
        assert f"shuntyard resume {run} --assume n1=done" in result.failure.message
        assert callee.calls == []
    done = await again(store, run, callee, assume={"n1": "done"})(effect, ctx)
    assert (done.status, done.value) == ("done", None)
    assert done.verdict is not None and done.verdict.by == "person"
    later = await again(store, run, callee)(effect, ctx)
    assert (later.status, later.replayed, callee.calls) == ("done", True, [])


async def test_not_done_and_idempotent_effects_run_again(store: Store, run: str, ctx: Ctx) -> None:
    effect = await crash_in_effect(store, run)
    callee = Callee()
    assert (await again(store, run, callee, assume={"n1": "not-done"})(effect, ctx)).ok
    assert [call.attempt for call in callee.calls] == [2]
    other = await crash_in_effect(store, run, "n2")
    assert (await again(store, run, callee)(replace(other, idempotent=True), ctx)).ok
    with pytest.raises(UsageError, match="n2=done"):
        recorded(SqlJournal(store), run, assume={"n2": "yes"})


async def test_cancelling_records_a_read_and_leaves_an_effect_in_doubt(store: Store, run: str, ctx: Ctx) -> None:
    async def hang(step: Step) -> StepResult:
        await anyio.sleep(30)
        return StepResult()

    handle = again(store, run, Callee(hang))
    with anyio.move_on_after(0.05):
        async with anyio.create_task_group() as group:
            group.start_soon(handle, step(run, "n1"), ctx)
            group.start_soon(handle, step(run, "n2", effect=Effect.EXTERNAL), ctx)
    assert {row.path: row.state for row in Runs(store).steps(run)} == {"n1": "cancelled", "n2": "intended"}
    resumed = again(store, run, Callee())
    assert (await resumed(step(run, "n1"), ctx)).ok
    assert (await resumed(step(run, "n2", effect=Effect.EXTERNAL), ctx)).status == "doubt"


async def test_an_effect_cancelled_before_it_began_is_not_in_doubt(store: Store, run: str, ctx: Ctx) -> None:
    async def waiting(step: Step, ctx: Ctx) -> StepResult:
        await anyio.sleep(30)
        return StepResult()

    effect = step(run, effect=Effect.WRITE)
    with anyio.move_on_after(0.05):
        await again(store, run, waiting)(effect, ctx)
    assert (await again(store, run, Callee())(effect, ctx)).ok


@pytest.mark.parametrize("value", [1, "x" * values.BIG], ids=["small", "big"])
async def test_settlements_are_written_with_the_result(store: Store, run: str, ctx: Ctx, value: str | int) -> None:
    ledger = SqlLedger(store)
    reservation = await ledger.reserve(StepKey(run, 0, "n1"), Amount(Decimal(1), 1000), lambda total: None)

    async def spend(step: Step) -> StepResult:
        settled = Settlement(reservation=reservation, cost=Decimal("0.0000375"), tokens=7)
        return StepResult(value=value, settlements=(settled,))

    await again(store, run, Callee(spend))(step(run), ctx)
    assert await ledger.spent(run) == Amount(Decimal("0.0000375"), 7)


async def test_a_result_that_is_no_json_fails_the_step(store: Store, run: str, ctx: Ctx) -> None:
    async def surrogate(step: Step) -> StepResult:
        return StepResult(value="\udc80")

    result = await again(store, run, Callee(surrogate))(step(run), ctx)
    assert result.status == "failed"
    assert result.failure is not None and "plain text" in result.failure.message


async def test_secrets_stay_out_and_a_call_made_with_one_is_still_the_same(store: Store, run: str, ctx: Ctx) -> None:
    def redact(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: redact(item) for key, item in value.items()}
        if isinstance(value, list):
            return [redact(item) for item in value]
        return value.replace("hunter2", "[secret]") if isinstance(value, str) else value

    async def leak(step: Step) -> StepResult:
        if step.key.path == "n2":
            return StepResult(status="failed", failure=Failure(code="x", message="hunter2 refused"))
        return StepResult(value=["hunter2"])

    def handler(callee: Handler) -> Handler:
        return recorded(SqlJournal(store, redact=redact), run)(callee)

    live = await handler(Callee(leak))(
        step(run, args={"password": "hunter2", "b": Bound("$1", {"$1": "hunter2"})}), ctx
    )
    assert live.value == ["hunter2"]
    await handler(Callee(leak))(step(run, "n2"), ctx)
    files = b"".join(file.read_bytes() for file in store.home.iterdir() if file.is_file())
    assert b"hunter2" not in files
    callee = Callee()
    same = step(run, args={"password": "[secret]", "b": Bound("$1", {"$1": "[secret]"})})
    replayed = await handler(callee)(same, ctx)
    assert (replayed.replayed, replayed.value, callee.calls) == (True, ["[secret]"], [])


async def test_many_steps_at_once_load_the_record_once(store: Store, run: str, ctx: Ctx) -> None:
    class Counting(SqlJournal):
        loads = 0

        async def recorded(self, run: str) -> Any:
            self.loads += 1
            await anyio.sleep(0.01)
            return await super().recorded(run)

    journal = Counting(store)
    handle = recorded(journal, run)(Callee())
    async with anyio.create_task_group() as group:
        for i in range(50):
            group.start_soon(handle, step(run, f"n{i + 1}"), ctx)
    assert journal.loads == 1
    assert len(await journal.recorded(run)) == 50
