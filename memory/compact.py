"""Makes ended runs smaller: what nobody needs to show, resume or replay them goes, big values go into files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from ..errors import UsageError
from ..messages import Frozen
from ..steps import RunResult, StepResult
from . import tables, values
from .runs import RunRow, Runs
from .store import Store
from .sweep import sweep


class Compacted(Frozen):
    """What compacting saved."""

    runs: int
    """Looked at."""
    attempts: int
    """Dropped: attempts at steps that were made again later."""
    values: int
    """Big values that moved into files."""
    bytes: int
    """Given back to the disk, files of values counted in."""


def compact(store: Store, runs: Sequence[str] = (), *, head: values.Head = values.opening) -> Compacted:
    """Compact ``runs``, or all that have ended, and give the space back to the disk. Blocks for long.

    Attempts that were made again are dropped. The newest attempt of each step stays, also an intent
    without an outcome, so that a run shows, resumes and replays as it did. A run that is executed is never
    touched; a killed compaction leaves every run whole, and the next one goes on with it. Raises UsageError
    for one of ``runs`` that has not ended, UnknownName when there is none.
    """
    chosen = dict.fromkeys(_ended(Runs(store).get(run)).run for run in runs) or _all(store)
    before = store.size() + store.blobs.size()[1]
    attempts = moved = 0
    for run in chosen:
        attempts += _drop(store, run)
        moved += sum(_move_step(store, key, head) for key in _big_steps(store, run)) + _move_result(store, run, head)
    store.compact()
    sweep(store)
    after = store.size() + store.blobs.size()[1]
    return Compacted(runs=len(chosen), attempts=attempts, values=moved, bytes=max(0, before - after))


def _all(store: Store) -> list[str]:
    runs = tables.runs.c
    with store.read() as connection:
        return list(connection.execute(select(runs.id).where(runs.status != "running").order_by(runs.id)).scalars())


def _ended(row: RunRow) -> RunRow:
    if row.status == "running":
        mend = f"go on with it: shuntyard resume {row.run}" if row.interrupted else "wait for its end"
        raise UsageError(f"run {row.run!r} has not ended; {mend}, then compact.")
    return row


def _drop(store: Store, run: str) -> int:
    with store.write() as connection:
        if not _rests(connection, run):
            return 0
        return connection.execute(tables.SUPERSEDED, {"of": run}).rowcount


def _big_steps(store: Store, run: str) -> list[Any]:
    """Where results that may hold a big value stand."""
    steps = tables.steps.c
    query = select(steps.run, steps.revision, steps.path, steps.attempt).where(
        steps.run == run, steps.blob.is_(None), func.length(steps.result) >= values.BIG
    )
    with store.read() as connection:
        return list(connection.execute(query))


def _move_step(store: Store, key: Any, head: values.Head) -> int:
    steps = tables.steps.c
    here = [steps.run == key.run, steps.revision == key.revision, steps.path == key.path, steps.attempt == key.attempt]
    with store.write() as connection:
        row = connection.execute(tables.steps.select().where(*here, steps.blob.is_(None))).one_or_none()
        if row is None or row.result is None or not _rests(connection, key.run):
            return 0
        result = StepResult.model_validate_json(row.result)
        big = values.apart(store.blobs, result.value, head)
        if big is None:
            return 0
        text = values.with_value(result, None).model_dump_json()
        connection.execute(tables.steps.update().where(*here), {"result": text, **values.columns(big.blob)})
    return 1


def _move_result(store: Store, run: str, head: values.Head) -> int:
    here = tables.runs.c.id == run
    with store.write() as connection:
        text = connection.execute(select(tables.runs.c.result).where(here)).scalar_one_or_none() or ""
        if len(text) < values.BIG or not _rests(connection, run):
            return 0
        result = RunResult.model_validate_json(text)
        big = values.split(store.blobs, result, head)
        if big:
            text = values.without(result, big).model_dump_json()
            connection.execute(tables.runs.update().where(here), {"result": text})
            values.name(connection, run, big)
    return len(big)


def _rests(connection: Connection, run: str) -> bool:
    """Return whether no process has the run; asked in the transaction that changes it."""
    status = connection.execute(select(tables.runs.c.status).where(tables.runs.c.id == run)).scalar_one_or_none()
    return status is not None and status != "running"
