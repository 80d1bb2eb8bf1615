"""The journal: what happened in a run, durably, and the wrapper that writes and replays it.

A result is on disk before anything that depends on it starts; the intent of an effect is on disk
before the effect begins. Steps are found by key, never by position, so they may replay in any order.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import anyio
import anyio.to_thread
from pydantic import JsonValue
from sqlalchemy import bindparam, select

from ..errors import BlobDamaged, InDoubt, StoreError, UsageError
from ..protocols import Ctx, Handler, Recorded
from ..steps import Bound, Effect, Failure, Step, StepKey, StepResult, Verdict, digest_call, digest_text, text_of_call
from . import tables, values
from .store import Store

Redact: TypeAlias = Callable[[JsonValue], JsonValue]

_BLOB = ("blob", "blob_bytes", "blob_head")
_STEP = tables.Prepared(tables.upsert(tables.steps, without=_BLOB), without=_BLOB)
_BIG_STEP = tables.upsert(tables.steps)
_SETTLE = tables.Prepared(tables.SETTLE)
_S = tables.steps.c
_TRACES = (
    select(_S.revision, _S.path, _S.attempt, _S.digest, _S.state, _S.result, _S.written)
    .add_columns(_S.blob, _S.blob_bytes, _S.blob_head)
    .where(_S.run == bindparam("of"))
    .order_by(_S.attempt)
)
"""Every attempt of run ``of``, later ones last."""
_FINAL = ("done", "skipped")


class SqlJournal:
    """Journal in the store. ``redact`` is applied to values and messages before they are written.

    Big values lie in files beside the database; a row never names a file that is not there.
    """

    def __init__(
        self,
        store: Store,
        redact: Redact | None = None,
        *,
        suspects: Callable[[str], bool] = lambda text: True,
        head: values.Head = values.opening,
    ) -> None:
        """Write to ``store``; a replayed value is the redacted one. ``head`` says a big value in a few words.

        ``suspects`` says of JSON whether ``redact`` may find something in it; false must be certain.
        """
        self._store = store
        self._redact = redact
        self._suspects = suspects
        self._head = head

    async def recorded(self, run: str) -> Mapping[StepKey, Recorded]:
        """Return the newest attempt of every step of ``run``; an outcome in doubt counts as unknown."""
        with self._store.read() as connection:
            found = connection.execute(_TRACES, {"of": run}).all()
        rows = {StepKey(run, row.revision, row.path): row for row in found}
        if any(row.blob is not None for row in rows.values()):
            return await anyio.to_thread.run_sync(self._traces, rows)
        return self._traces(rows)

    async def intend(self, step: Step) -> None:
        """Write that ``step`` begins its effect; durable when it returns."""
        self._store.put((_STEP, self._row(step, state="intended", result=None)))

    async def commit(self, step: Step, result: StepResult) -> None:
        """Write ``result`` and its settlements in one transaction; durable when it returns."""
        clean = self._clean(result)
        try:
            text = clean.model_dump_json()
        except ValueError as error:
            raise StoreError(
                f"the result of {step.key.path!r} ({step.name}) is not JSON: {error}; "
                "let the tool return plain text, numbers, lists and dicts."
            ) from None
        row = self._row(step, state=result.status, result=text)
        settled = [
            {"reservation": each.reservation, "pico": tables.to_pico(each.cost), "tokens": each.tokens}
            for each in result.settlements
        ]
        big = await self._apart(clean, row) if len(text) >= values.BIG else {}
        if not big:
            self._store.put((_STEP, row), *((_SETTLE, each) for each in settled))
            return
        with self._store.write() as connection:
            values.hold(self._store.blobs, big)
            connection.execute(_BIG_STEP, row)
            if settled:
                connection.execute(tables.SETTLE, settled)

    def digest(self, step: Step) -> str:
        """Return the hash that tells a changed call from the same one, over redacted arguments.

        With the raw ones, a call that was made with a secret would look changed on resume.
        """
        if self._redact is None or step.request is not None:
            return step.digest
        text = text_of_call(step.name, {"args": dict(step.args)})
        if not self._suspects(text):
            return digest_text(text)
        return digest_call(step.name, {"args": self._redact(_unbound(step.args))})

    async def _apart(self, result: StepResult, row: dict[str, Any]) -> Mapping[str, values.Apart]:
        """Write a big value into a file and change ``row`` so that it names the file."""
        # The call was made: a cancellation must not come between it and its record.
        with anyio.CancelScope(shield=True):
            big = await anyio.to_thread.run_sync(values.apart, self._store.blobs, result.value, self._head)
        if big is None:
            return {}
        row.update(values.columns(big.blob), result=values.with_value(result, None).model_dump_json())
        return {row["path"]: big}

    def _traces(self, rows: Mapping[StepKey, Any]) -> dict[StepKey, Recorded]:
        return {key: self._trace(row) for key, row in rows.items()}

    def _trace(self, row: Any) -> Recorded:
        if row.result is None or row.state == "doubt":
            return Recorded(row.digest, row.attempt, None, "", row.written)
        result = StepResult.model_validate_json(row.result)
        blob = values.blob_of(row)
        if blob is not None:
            try:
                result = values.with_value(result, values.load(self._store.blobs, blob))
            except BlobDamaged as error:
                return Recorded(row.digest, row.attempt, None, error.message, row.written)
        return Recorded(row.digest, row.attempt, result, "", row.written)

    def _row(self, step: Step, *, state: str, result: str | None) -> dict[str, Any]:
        return {
            "run": step.key.run,
            "revision": step.key.revision,
            "path": step.key.path,
            "attempt": step.attempt,
            "kind": step.kind,
            "name": step.name,
            "effect": step.effect.value,
            "digest": self.digest(step),
            "state": state,
            "result": result,
            "written": time.time(),
        }

    def _clean(self, result: StepResult) -> StepResult:
        if self._redact is None:
            return result
        value = self._redact(result.value)
        if result.failure is None and value is result.value:
            return result
        update: dict[str, Any] = {"value": value}
        if result.failure is not None:
            message = str(self._redact(result.failure.message))
            update["failure"] = result.failure.model_copy(update={"message": message})
        return result.model_copy(update=update)


def recorded(
    journal: SqlJournal, run: str, *, assume: Mapping[str, str] | None = None, retry_failed: bool = False
) -> Callable[[Handler], Handler]:
    """Return the wrapper that replays finished steps of ``run`` and records all others.

    What is on record is read once, before the first step. ``done``, ``skipped`` and (unless
    ``retry_failed``) ``failed`` steps are replayed when they are the same call; everything else runs
    as a new attempt. An effect without outcome, or whose value is lost, is run again only if it is
    idempotent or ``assume`` says ``not-done`` for its path; with ``done`` it counts as done, without a
    value, with ``failed`` as failed. A recorded failure is settled by the same words.
    A guess is recorded when it succeeded, and found by the step that it was made for.
    Raises UsageError for any other word in ``assume``.
    """
    for path, word in (assume or {}).items():
        if word not in ("done", "not-done", "failed"):
            raise UsageError(
                f"--assume {path}={word!r} is not known; say {path}=done, {path}=not-done or {path}=failed."
            )
    past = _Past(journal, run, assume or {}, retry_failed)

    def wrap(handle: Handler) -> Handler:
        async def record(step: Step, ctx: Ctx) -> StepResult:
            try:
                known = await past.find(step)
                if known is not None:
                    return known
                if step.guess:
                    return await past.guess(step, lambda anew: _run(journal, handle, anew, ctx))
                return await _run(journal, handle, past.anew(step), ctx)
            except StoreError as error:
                return _unrecorded(error)

        return record

    return wrap


async def _run(journal: SqlJournal, handle: Handler, step: Step, ctx: Ctx) -> StepResult:
    intended = False

    async def intend() -> None:
        nonlocal intended
        await journal.intend(step)
        intended = True

    if step.effect is not Effect.READ and step.kind == "tool":
        step = replace(step, before_effect=intend)
    try:
        result = await handle(step, ctx)
    except anyio.get_cancelled_exc_class():
        if not intended and not step.guess:
            with anyio.CancelScope(shield=True):
                await _commit(journal, step, StepResult(status="cancelled", started=time.time()))
        raise
    if step.guess and not result.ok:
        return result
    return await _commit(journal, step, result)


async def _commit(journal: SqlJournal, step: Step, result: StepResult) -> StepResult:
    try:
        await journal.commit(step, result)
    except StoreError as error:
        return _unrecorded(error, result)
    return result


def _unrecorded(error: StoreError, result: StepResult | None = None) -> StepResult:
    failure = Failure(code=error.code, message=error.message, exit_code=error.exit_code)
    return (result or StepResult()).model_copy(update={"status": "failed", "value": None, "failure": failure})


class _Past:
    """What earlier processes left of a run, and how many attempts each step has had."""

    def __init__(self, journal: SqlJournal, run: str, assume: Mapping[str, str], retry_failed: bool) -> None:
        self._journal = journal
        self._run = run
        self._assume = assume
        self._retry_failed = retry_failed
        self._lock = anyio.Lock()
        self._steps: dict[StepKey, Recorded] | None = None
        self._attempts: dict[StepKey, int] = {}

    async def find(self, step: Step) -> StepResult | None:
        """Return what ``step`` need not run for again, or None."""
        if self._steps is None:
            async with self._lock:
                await self._read()
        assert self._steps is not None
        found = self._steps.get(step.key)
        if found is None:
            return None
        failed = found.result is not None and found.result.status == "failed"
        if found.result is None or (failed and step.key.path in self._assume):
            return await self._undecided(step, found)
        if not self._stands(step, found, found.result):
            del self._steps[step.key]
            return None
        speak(step, found.result)
        return found.result.model_copy(update={"replayed": True, "attempts": found.attempt})

    async def _read(self) -> None:
        if self._steps is None:
            steps = dict(await self._journal.recorded(self._run))
            self._attempts = {key: found.attempt for key, found in steps.items()}
            self._steps = steps

    def anew(self, step: Step) -> Step:
        """Return ``step`` under an attempt number that no earlier attempt had."""
        attempt = max(step.attempt, self._attempts.get(step.key, 0) + 1)
        self._attempts[step.key] = attempt
        return step if attempt == step.attempt else replace(step, attempt=attempt)

    async def guess(self, step: Step, run: Callable[[Step], Awaitable[StepResult]]) -> StepResult:
        """Return what ``run`` makes of ``step``; a guess that comes to nothing leaves no trace, and is no attempt."""
        result: StepResult | None = None
        try:
            result = await run(self.anew(step))
            return result
        finally:
            if result is None or not result.ok:
                self._attempts[step.key] -= 1

    def _stands(self, step: Step, found: Recorded, result: StepResult) -> bool:
        if result.status == "failed":
            if self._retry_failed or step.attempt > found.attempt:
                return False
        elif result.status not in _FINAL:
            return False
        # Also for model calls: a join over results that were retried since must not repeat the old answer.
        return found.digest == self._journal.digest(step)

    async def _undecided(self, step: Step, found: Recorded) -> StepResult | None:
        assert self._steps is not None
        if found.lost and (step.effect is Effect.READ or step.kind == "model"):
            del self._steps[step.key]
            return None
        assumption = self._assume.get(step.key.path)
        if assumption in ("done", "failed"):
            result = _assumed(found, done=assumption == "done")
            self._steps[step.key] = found._replace(result=result, digest=self._journal.digest(step))
            return await _commit(self._journal, replace(step, attempt=found.attempt), result)
        if assumption == "not-done" or step.idempotent:
            del self._steps[step.key]
            return None
        return in_doubt(step, found.lost)


def _assumed(found: Recorded, *, done: bool) -> StepResult:
    said = "was done before the stop" if done else "failed"
    verdict = Verdict(
        decision="allow" if done else "deny", rule="assume", reason=f"a person says that it {said}", by="person"
    )
    if done:
        return StepResult(verdict=verdict, started=time.time(), attempts=found.attempt)
    failure = Failure(code=InDoubt.code, message=f"{verdict.reason}; nothing is known of its outcome")
    result = found.result or StepResult(status="failed", failure=failure, started=time.time(), attempts=found.attempt)
    return result.model_copy(update={"verdict": verdict})


def in_doubt(step: Step, lost: str = "") -> StepResult:
    """Return the result of an effect that a person has to look after; ``lost`` says what became of its value."""
    path, run = step.key.path, step.key.run
    why = f"was done, but {lost}" if lost else "began its effect, and whether it happened was never recorded"
    message = (
        f"node {path!r} ({step.name}) {why}; look, then run: "
        f"shuntyard resume {run} --assume {path}=done or --assume {path}=not-done"
    )
    failure = Failure(code=InDoubt.code, message=message, exit_code=InDoubt.exit_code)
    return StepResult(status="doubt", failure=failure)


def speak(step: Step, result: StepResult) -> None:
    """Give the text of a recorded answer to whoever listens to the model."""
    if step.kind == "model" and step.on_text is not None and isinstance(result.value, dict):
        text = result.value.get("text")
        if isinstance(text, str):
            step.on_text(text)


def _unbound(value: Any) -> Any:
    """``value`` as plain data, for the redactor to look into."""
    if isinstance(value, Mapping):
        return {key: _unbound(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_unbound(part) for part in value]
    if isinstance(value, Bound):
        return {"$text": value.text, "values": _unbound(value.values)}
    return value if isinstance(value, str | int | float | None) else str(value)
