"""One run from its task to its result: limits, events, and what is kept when it stops."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import anyio

from ..errors import DeadlinePassed, ShuntyardError
from ..events import Event, RunDone, RunStarted, Spent
from ..guard.redact import Redactor
from ..messages import Usage
from ..protocols import Approver, Ctx, Emit, Handler, Sink
from ..steps import Limits, RunResult
from .clean import redacted
from .clock import now
from .dispatch import failure_of
from .graph import build_graph
from .phases import Phases, Progress
from .pipeline import pipeline
from .rooms import Rooms


@dataclass(slots=True)
class Tally:
    """What a run has spent over all its parts, as its events tell it."""

    usage: Usage = field(default_factory=Usage)
    cost: Decimal = Decimal(0)

    def add(self, event: Event) -> None:
        """Take the newest figures."""
        if event.type == "spent":
            self.usage, self.cost = event.usage, event.cost


def emitter(sinks: Sequence[Sink], redactor: Redactor, tally: Tally) -> Emit:
    """Return an ``emit`` that redacts, counts and hands to every sink; a broken sink harms no run."""
    broken: set[int] = set()

    def emit(event: Event) -> None:
        tally.add(event)
        shown = event if _clean(event, redactor.suspects) else redacted(event, redactor)
        for index, sink in enumerate(sinks):
            if index in broken:
                continue
            try:
                sink(shown)
            except Exception:
                broken.add(index)

    return emit


def _clean(event: Event, suspects: Callable[[str], bool]) -> bool:
    """True for an event of those that every call makes whose texts, all but names and numbers, hold no secret.

    Told by ``type``: an instance check of a class of pydantic's costs more than all the rest.
    """
    if event.type == "step_started":
        return True
    if event.type == "guarded":
        return not suspects(event.verdict.reason)
    if event.type == "step_done":
        return not suspects(event.summary) and (event.failure is None or not suspects(event.failure.message))
    return False


@dataclass(frozen=True, slots=True)
class Job:
    """What to run."""

    run: str
    progress: Progress
    limits: Limits
    resumed: bool = False
    assume: Mapping[str, str] = field(default_factory=dict)
    retry_failed: bool = False
    around: Callable[[Handler], Handler] | None = None
    """What a replay puts around the pipeline."""


async def execute(rooms: Rooms, job: Job, *, sinks: Sequence[Sink] = (), approver: Approver | None = None) -> RunResult:
    """Run ``job`` and return what came of it; failures are in the result.

    When cancelled from outside, what is finished is recorded and the run can be resumed.
    """
    clock = time.perf_counter()
    tally = Tally()
    emit = emitter(sinks, rooms.redactor, tally)
    ctx = Ctx(run=job.run, workspace=rooms.workspace, emit=emit, limits=job.limits)
    handle = pipeline(rooms, job.run, approver=approver, assume=job.assume, retry_failed=job.retry_failed)
    phases = Phases(rooms, job.around(handle) if job.around else handle, ctx, job.progress)
    emit(RunStarted(run=job.run, at=now(), task=job.progress.task, resumed=job.resumed))
    spent = rooms.runs.spent(job.run)
    if spent.usage.total or spent.cost:
        emit(Spent(run=job.run, at=now(), cost=spent.cost, usage=spent.usage))

    async def learn() -> None:
        await phases.learn(tally.usage, tally.cost)

    def result() -> RunResult:
        progress = job.progress
        return RunResult(
            run=job.run,
            task=progress.task,
            status=progress.status,
            answer=progress.answer,
            plan=progress.plan,
            results=progress.results,
            usage=tally.usage,
            cost=tally.cost,
            seconds=time.perf_counter() - clock,
            hints=progress.hints,
            failure=progress.failure,
            predicted=progress.predicted,
        )

    try:
        with anyio.move_on_after(job.limits.deadline) as scope:
            await walk(phases, learn)
        if scope.cancelled_caught:
            _late(job)
    except anyio.get_cancelled_exc_class():
        job.progress.status = "cancelled"
        _close(rooms, emit, result())
        raise
    done = result()
    _close(rooms, emit, done)
    return done


async def walk(phases: Phases, learn: Callable[[], Awaitable[None]]) -> None:
    """Take a run through its phases; an error of ours is its failure."""
    progress = phases.progress
    graph = build_graph(phases, learn)
    try:
        await graph.ainvoke({"progress": progress}, {"recursion_limit": 100})
    except ShuntyardError as error:
        progress.status, progress.failure = "failed", failure_of(error, "run")


def _late(job: Job) -> None:
    error = DeadlinePassed(
        f"the deadline of {job.limits.deadline:g} s is over; finished nodes are kept: "
        f"shuntyard resume {job.run} --deadline SECONDS goes on."
    )
    job.progress.status = "spent"
    job.progress.failure = failure_of(error, "run")


def _close(rooms: Rooms, emit: Emit, done: RunResult) -> None:
    rooms.ledger.close(done.run)
    rooms.runs.finish(done.run, redacted(done, rooms.redactor))
    emit(
        RunDone(
            run=done.run,
            at=now(),
            status=done.status,
            answer=done.answer,
            seconds=done.seconds,
            cost=done.cost,
            usage=done.usage,
            failure=done.failure,
        )
    )
