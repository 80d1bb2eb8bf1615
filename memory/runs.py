"""Runs: begun, claimed by one process at a time, finished, listed, shown and pruned."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from pydantic import BaseModel

from ..errors import UnknownName, UsageError
from ..estimates import Took
from ..messages import Frozen
from ..steps import Limits, Plan, RunResult, RunStatus, StepResult
from . import tables
from .liveness import alive, me, pid_of
from .store import Store

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


class Size(Frozen):
    """What the database holds."""

    path: str
    bytes: int
    index_bytes: int
    runs: int
    steps: int
    trajectories: int


class Pruned(Frozen):
    """What pruning removed."""

    runs: int
    bytes: int
    """Given back to the disk."""


class Runs:
    """The table of runs. Calls are short and synchronous; ``prune`` belongs in a thread."""

    def __init__(self, store: Store) -> None:
        """Write to ``store``."""
        self._store = store

    def start(self, task: str, settings: BaseModel | None = None, limits: Limits | None = None) -> str:
        """Begin a run, claimed by this process, and return its id: ten letters that sort by time."""
        run = new_id()
        values = {
            "id": run,
            "task": task,
            "status": "running",
            "started": time.time(),
            "settings": "{}" if settings is None else settings.model_dump_json(),
            "limits": (limits or Limits()).model_dump_json(),
            "owner": me(),
        }
        with self._store.write() as connection:
            connection.execute(tables.runs.insert(), values)
        self._store.claimed.add(run)
        return run

    def claim(self, run: str) -> RunRow:
        """Take a run to go on with it, so that no second process does at the same time.

        Raises UsageError while it is executed elsewhere, UnknownName when there is none.
        """
        run = self.get(run).run
        with self._store.write() as connection:
            row = connection.execute(tables.runs.select().where(tables.runs.c.id == run)).one()
            mine = row.owner == me()
            if row.status == "running" and (run in self._store.claimed if mine else alive(row.owner)):
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
        """Write how the run ended or stopped, and give it free for a resume."""
        values = {"status": result.status, "ended": time.time(), "result": result.model_dump_json()}
        try:
            with self._store.write() as connection:
                connection.execute(tables.runs.update().where(tables.runs.c.id == run), values)
        finally:
            self._store.claimed.discard(run)

    def get(self, run: str) -> RunRow:
        """Return the run called ``run``, by id, by the beginning of its id, or by ``last``.

        Raises UnknownName when there is none, UsageError when several begin like that.
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
                raise UnknownName("run", run, known[:200], mend="List them with shuntyard runs.")
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

    def save_plan(self, run: str, plan: Plan) -> None:
        """Keep a revision of the run's plan; the same revision again replaces it."""
        values = {"run": run, "revision": plan.revision, "plan": plan.model_dump_json(), "made": time.time()}
        with self._store.write() as connection:
            connection.execute(tables.upsert(tables.plans), values)

    def plans(self, run: str) -> Sequence[Plan]:
        """Return the run's plans by revision."""
        query = tables.plans.select().where(tables.plans.c.run == run).order_by(tables.plans.c.revision)
        with self._store.read() as connection:
            return [Plan.model_validate_json(row.plan) for row in connection.execute(query)]

    def steps(self, run: str) -> Sequence[StepRow]:
        """Return every attempt of every step in the order of writing; verdict and decision are in the results."""
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

    def prune(self, *, older_than: timedelta = timedelta(0), keep: int = 0) -> Pruned:
        """Delete ended and interrupted runs older than ``older_than``, except the newest ``keep`` of all.

        Their plans, steps, ledger entries and approvals go too; what was learnt from them stays. The
        space is given back to the disk, which takes a while: call it in a thread.
        """
        before = self._store.size()
        runs = tables.runs.c
        limit = time.time() - older_than.total_seconds()
        with self._store.write() as connection:
            query = tables.runs.select().order_by(runs.started.desc(), runs.id.desc()).offset(keep)
            doomed = [row.id for row in connection.execute(query) if row.started <= limit and not _executed(row)]
            for run in doomed:
                connection.execute(tables.runs.delete().where(runs.id == run))
        self._store.compact()
        return Pruned(runs=len(doomed), bytes=max(0, before - self._store.size()))

    def size(self) -> Size:
        """Return what the database holds, in rows and bytes."""
        with self._store.read() as connection:
            rows = [
                connection.execute(tables.count(table)).scalar_one()
                for table in (tables.runs, tables.steps, tables.trajectories)
            ]
        folder = self._store.home / "index"
        files = [file.stat().st_size for file in folder.rglob("*") if file.is_file()] if folder.is_dir() else []
        return Size(
            path=str(self._store.path),
            bytes=self._store.size(),
            index_bytes=sum(files),
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
    )
