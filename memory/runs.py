"""Runs: begun, claimed by one process at a time, finished, listed, shown and pruned."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from pydantic import BaseModel

from ..errors import UnknownName, UsageError
from ..estimates import Took
from ..messages import Frozen, Usage
from ..moves import Choice, Move
from ..protocols import Spending
from ..steps import Limits, Plan, RunResult, RunStatus, StepKey, StepResult
from . import tables, values
from .blobs import Blob
from .liveness import alive, executing, me, pid_of
from .moves import move_of, row_of
from .store import Store
from .sweep import sweep

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_EPOCH = 1_735_689_600
"""Start of 2025: with it, ten letters last until 2059."""


class RunRow(Frozen):
    """A run as it stands."""

    run: str
    task: str
    status: RunStatus
    started: float
    """Unix time."""
    ended: float | None = None
    settings: str = "{}"
    """Snapshot, JSON."""
    limits: Limits = Limits()
    result: RunResult | None = None
    pid: int = 0
    """Process that executes it, or did last."""
    interrupted: bool = False
    """Marked as running, but its process is gone: ``resume`` goes on with it."""
    parent: str = ""
    """The run that this one replays a part of."""
    choice: Choice | None = None
    """How it is planned; None before that was decided, and for a plan that a person wrote."""

    @property
    def planner(self) -> str:
        """What its settings said: a strategy, or ``auto``."""
        found = json.loads(self.settings)
        return str(found.get("planner", "dag")) if isinstance(found, dict) else "dag"


class StepRow(Frozen):
    """One attempt at one step, as journaled."""

    revision: int
    path: str
    attempt: int
    kind: str
    name: str
    effect: str
    digest: str
    state: str
    """``intended``, or the result's status."""
    result: StepResult | None = None
    written: float = 0.0
    """Unix time."""
    blob: Blob | None = None
    """Where the value lies when it is big; it is in ``result`` only if it was asked for."""


class Size(Frozen):
    """What the database holds."""

    path: str
    bytes: int
    index_bytes: int
    blobs: int
    """Files of big values."""
    blob_bytes: int
    runs: int
    steps: int
    trajectories: int


class Pruned(Frozen):
    """What pruning removed."""

    runs: int
    blobs: int
    """Files of values that no run names any more."""
    bytes: int
    """Given back to the disk."""


class Runs:
    """The table of runs. Calls are short and synchronous; ``prune`` belongs in a thread."""

    def __init__(self, store: Store, *, head: values.Head = values.opening) -> None:
        """Write to ``store``; ``head`` says a big value in a few words."""
        self._store = store
        self._head = head

    def start(self, task: str, settings: BaseModel | None = None, limits: Limits | None = None) -> str:
        """Begin a run, claimed by this process, and return its id: ten letters that sort by time."""
        row = _begun(task, settings, limits)
        with self._store.write() as connection:
            connection.execute(tables.runs.insert(), row)
        self._store.claimed.add(row["id"])
        return str(row["id"])

    def fork(
        self, parent: RunRow, keep: Callable[[StepKey], bool], *, last: int, settings: BaseModel, limits: Limits
    ) -> str:
        """Begin a run with part of ``parent``'s record, claimed by this process, and return its id.

        It has the plans up to revision ``last`` and the newest attempts of the steps that ``keep`` names,
        as if it had made them itself; so it can be resumed. Files of values are shared.
        """
        choice = None if parent.choice is None else parent.choice.model_dump_json()
        row = {**_begun(parent.task, settings, limits), "parent": parent.run, "choice": choice}
        plans, steps = tables.plans.c, tables.steps.c
        with self._store.write() as connection:
            made = connection.execute(tables.plans.select().where(plans.run == parent.run, plans.revision <= last))
            query = tables.steps.select().where(steps.run == parent.run).order_by(steps.attempt)
            newest = {StepKey(each.run, each.revision, each.path): each for each in connection.execute(query)}
            connection.execute(tables.runs.insert(), row)
            for table, found in (
                (tables.plans, made.all()),
                (tables.steps, [each for key, each in newest.items() if keep(key)]),
            ):
                if found:
                    connection.execute(table.insert(), [{**each._mapping, "run": row["id"]} for each in found])
        self._store.claimed.add(row["id"])
        return str(row["id"])

    def claim(self, run: str) -> RunRow:
        """Take a run to go on with it, so that no second process does at the same time.

        Raises UsageError while it is executed elsewhere, UnknownName when there is none.
        """
        run = self.get(run).run
        with self._store.write() as connection:
            row = connection.execute(tables.runs.select().where(tables.runs.c.id == run)).one()
            if executing(row.status, row.owner, here=run in self._store.claimed):
                raise UsageError(
                    f"run {run!r} is being executed by process {pid_of(row.owner)}; wait for it or end that process, "
                    "then resume."
                )
            connection.execute(
                tables.runs.update().where(tables.runs.c.id == run), {"owner": me(), "status": "running"}
            )
        self._store.claimed.add(run)
        return _run(row)

    def finish(self, run: str, result: RunResult) -> None:
        """Write how the run ended or stopped, and give it free for a resume. Big values go into files."""
        try:
            text = result.model_dump_json()
            big = values.split(self._store.blobs, result, self._head) if len(text) >= values.BIG else {}
            if big:
                text = values.without(result, big).model_dump_json()
            row = {"status": result.status, "ended": time.time(), "result": text}
            with self._store.write() as connection:
                values.hold(self._store.blobs, big)
                connection.execute(tables.runs.update().where(tables.runs.c.id == run), row)
                connection.execute(tables.outcomes.delete().where(tables.outcomes.c.run == run))
                values.name(connection, run, big)
        finally:
            self._store.claimed.discard(run)

    def get(self, run: str) -> RunRow:
        """Return the run called ``run``, by id, by the beginning of its id, or by ``last``.

        Big values are not in its result; ``whole`` reads them. Raises UnknownName when there is none,
        UsageError when several begin like that.
        """
        runs = tables.runs.c
        query = tables.runs.select().order_by(runs.started.desc(), runs.id.desc()).limit(10)
        wanted = run.strip().lower()
        if wanted != "last":
            query = query.where(runs.id.startswith(wanted, autoescape=True))
        with self._store.read() as connection:
            rows = connection.execute(query).all()
            if not rows or not wanted:
                known = [row.id for row in connection.execute(tables.runs.select().order_by(runs.started.desc()))]
                raise UnknownName("run", run, known, mend="List them with shuntyard runs.")
        exact = [row for row in rows if row.id == wanted] or (rows[:1] if wanted == "last" else rows)
        if len(exact) > 1:
            raise UsageError(f"{run!r} begins several runs: {', '.join(row.id for row in exact)}; write more of it.")
        return _run(exact[0])

    def list(self, limit: int = 20, status: RunStatus | None = None) -> Sequence[RunRow]:
        """Return the newest runs first, of one status or of all."""
        query = tables.runs.select().order_by(tables.runs.c.started.desc(), tables.runs.c.id.desc()).limit(limit)
        if status is not None:
            query = query.where(tables.runs.c.status == status)
        with self._store.read() as connection:
            return [_run(row) for row in connection.execute(query)]

    def choose(self, run: str, choice: Choice) -> None:
        """Keep how the run is planned, for a resume to go on with."""
        with self._store.write() as connection:
            connection.execute(
                tables.runs.update().where(tables.runs.c.id == run), {"choice": choice.model_dump_json()}
            )

    def save_move(self, run: str, move: Move) -> None:
        """Keep a revision of the run's plan with what its planner noted; the same revision again replaces it."""
        with self._store.write() as connection:
            connection.execute(tables.upsert(tables.plans), row_of(run, move))

    def moves(self, run: str) -> Sequence[Move]:
        """Return the run's plans by revision, each with what its planner noted."""
        query = tables.plans.select().where(tables.plans.c.run == run).order_by(tables.plans.c.revision)
        with self._store.read() as connection:
            return [move_of(row) for row in connection.execute(query)]

    def plans(self, run: str) -> Sequence[Plan]:
        """Return the run's plans by revision."""
        return [move.plan for move in self.moves(run)]

    def steps(self, run: str) -> Sequence[StepRow]:
        """Return every attempt of every step in the order of writing; verdict and decision are in the results.

        Big values are not in the results: ``whole_step`` reads one.
        """
        steps = tables.steps.c
        query = tables.steps.select().where(steps.run == run).order_by(steps.written, steps.path, steps.attempt)
        with self._store.read() as connection:
            return [_step(row) for row in connection.execute(query)]

    def took(self, run: str) -> Took:
        """Return what the run took from its plan on, over all its parts: calls, answers and replans, planning not."""
        counted = [step for step in self.steps(run) if not (step.kind == "model" and _plans(step))]
        made = [step.result for step in counted if step.result is not None and step.result.started]
        return Took(
            seconds=_busy((result.started, result.started + result.seconds) for result in made),
            calls=sum(step.kind == "tool" and _began(step) for step in counted),
            tokens=sum(result.usage.total for result in made),
            cost=sum((result.cost for result in made), Decimal(0)),
        )

    def spent(self, run: str) -> Spending:
        """Return what all recorded attempts of a run took, planning and answers too."""
        with self._store.read() as connection:
            used = connection.execute(tables.USED, {"of": run}).one()
            paid = connection.execute(tables.PAID, {"of": run}).scalars().all()
        usage = Usage(prompt=used[0], completion=used[1], cached=used[2])
        return Spending(usage, sum((Decimal(each) for each in paid), Decimal(0)))

    def whole(self, row: RunRow) -> RunRow:
        """Return ``row`` with the big values of its result. Raises BlobDamaged, naming the node and the mend."""
        if row.result is None:
            return row
        outcomes = tables.outcomes
        with self._store.read() as connection:
            rows = connection.execute(outcomes.select().where(outcomes.c.run == row.run)).all()
        found = {each.node: blob for each in rows if (blob := values.blob_of(each)) is not None}
        return row.model_copy(update={"result": values.whole(self._store.blobs, row.result, found)})

    def whole_step(self, run: str, step: StepRow) -> StepRow:
        """Return ``step`` of ``run`` with its value, if that is big. Raises BlobDamaged as ``whole`` does."""
        if step.blob is None or step.result is None:
            return step
        value = values.read(self._store.blobs, step.blob, run, step.path)
        return step.model_copy(update={"result": values.with_value(step.result, value)})

    def prune(self, *, older_than: timedelta = timedelta(0), keep: int = 0) -> Pruned:
        """Delete ended and interrupted runs older than ``older_than``, except the newest ``keep`` of all.

        Their plans, steps, ledger entries and approvals go too, and files of values that no other run names;
        what was learnt from them stays. The space is given back to the disk, which takes a while: call it in
        a thread.
        """
        before = self._store.size()
        runs = tables.runs.c
        limit = time.time() - older_than.total_seconds()
        with self._store.write() as connection:
            query = tables.runs.select().order_by(runs.started.desc(), runs.id.desc()).offset(keep)
            doomed = [row.id for row in connection.execute(query) if row.started <= limit and not _executed(row)]
            for run in doomed:
                connection.execute(tables.runs.delete().where(runs.id == run))
        # First, because it makes the deletion durable: a row that a power cut brings back must find its file.
        self._store.compact()
        swept = sweep(self._store)
        return Pruned(runs=len(doomed), blobs=swept.blobs, bytes=max(0, before - self._store.size() + swept.bytes))

    def size(self) -> Size:
        """Return what the database holds, in rows and bytes."""
        with self._store.read() as connection:
            rows = [
                connection.execute(tables.count(table)).scalar_one()
                for table in (tables.runs, tables.steps, tables.trajectories)
            ]
        folder = self._store.home / "index"
        files = [file.stat().st_size for file in folder.rglob("*") if file.is_file()] if folder.is_dir() else []
        blobs, blob_bytes = self._store.blobs.size()
        return Size(
            path=str(self._store.path),
            bytes=self._store.size(),
            index_bytes=sum(files),
            blobs=blobs,
            blob_bytes=blob_bytes,
            runs=rows[0],
            steps=rows[1],
            trajectories=rows[2],
        )


def new_id() -> str:
    """Return a new run id: forty bits of milliseconds, ten of chance."""
    number = (int((time.time() - _EPOCH) * 1000) & (1 << 40) - 1) << 10 | secrets.randbits(10)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(45, -5, -5))


def _plans(step: StepRow) -> bool:
    return step.revision == 0 and step.path.partition(".")[0] in ("compile", "repair")


def _began(step: StepRow) -> bool:
    """True for a call that was made or may have been: not for one that the guard or the budget held back."""
    return step.result is None or step.state in ("done", "failed")


def _busy(spans: Iterable[tuple[float, float]]) -> float:
    """Seconds in at least one of the spans."""
    total, end = 0.0, float("-inf")
    for begun, ended in sorted(spans):
        total += max(0.0, ended - max(begun, end))
        end = max(end, ended)
    return total


def _begun(task: str, settings: BaseModel | None, limits: Limits | None) -> dict[str, Any]:
    return {
        "id": new_id(),
        "task": task,
        "status": "running",
        "started": time.time(),
        "settings": "{}" if settings is None else settings.model_dump_json(),
        "limits": (limits or Limits()).model_dump_json(),
        "owner": me(),
    }


def _executed(row: Any) -> bool:
    return bool(row.status == "running" and alive(row.owner))


def _run(row: Any) -> RunRow:
    return RunRow(
        run=row.id,
        task=row.task,
        status=row.status,
        started=row.started,
        ended=row.ended,
        settings=row.settings,
        limits=Limits.model_validate_json(row.limits),
        result=None if row.result is None else RunResult.model_validate_json(row.result),
        pid=pid_of(row.owner),
        interrupted=row.status == "running" and not alive(row.owner),
        parent=row.parent or "",
        choice=None if row.choice is None else Choice.model_validate_json(row.choice),
    )


def _step(row: Any) -> StepRow:
    return StepRow(
        revision=row.revision,
        path=row.path,
        attempt=row.attempt,
        kind=row.kind,
        name=row.name,
        effect=row.effect,
        digest=row.digest,
        state=row.state,
        result=None if row.result is None else StepResult.model_validate_json(row.result),
        written=row.written,
        blob=values.blob_of(row),
    )
