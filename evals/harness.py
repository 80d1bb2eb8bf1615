"""Runs a suite: cases at once up to a limit, each within its time, each in the log as soon as it ends.

A solver or scorer that fails costs its case and nothing else. What is in the log is not run again, so that a
run that was killed goes on where it stopped, and a larger sample of the same run only adds to it.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

import anyio
import anyio.lowlevel
import anyio.to_thread

from ..errors import ModelUnavailable, UnknownName, UsageError
from ..protocols import Model
from ..settings import Settings
from .attempt import judge, solve
from .case import Output, Score
from .data import Data, DataUse
from .figures import Figure, failure, figures
from .log import (
    Configuration,
    LogWriter,
    RunEnd,
    RunHeader,
    RunLog,
    RunRow,
    RunSession,
    Selection,
    claim,
    folder,
    latest,
    new_id,
    read,
)
from .sample import Picked, draw
from .sources import code_digest
from .suite import Means, Solver, SolverInfo, Suite

TICK = 1.0
"""Seconds between signs of life."""
PATIENCE = 5
"""A run ends when the model could not be reached for more cases one after the other, beside those in flight."""


class Progress(NamedTuple):
    """How far a run is; told after each case and once a second."""

    phase: str
    total: int = 0
    """Cases times epochs that were asked for."""
    done: int = 0
    kept: int = 0
    """How many of the done ones were in the log before."""
    mean: float = 0.0
    """Score of the done ones."""
    errors: int = 0
    seconds: float = 0.0
    """Since the first case of this session began."""
    row: RunRow | None = None
    """The one that just ended; None: a sign of life."""

    @property
    def eta(self) -> float | None:
        """Seconds that the rest takes at this session's pace; None while that is unknown."""
        new = self.done - self.kept
        return self.seconds / new * (self.total - self.done) if new else None


Watch = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Under what conditions a suite runs."""

    settings: Settings
    configuration: Configuration
    open_model: Callable[[], Awaitable[Model]] | None = None
    """Opens the model under test; called only when there is a case to solve and the solver needs one."""
    selection: Selection = field(default_factory=Selection)
    concurrency: int = 1
    fresh: bool = False
    """Begin a new log instead of going on with the last one of this configuration."""


class Result(NamedTuple):
    """What a run came to. ``rows`` and ``figures`` are of the cases asked for; the log may hold more."""

    log: RunLog
    rows: tuple[RunRow, ...]
    figures: tuple[Figure, ...]
    new: int
    """Rows that this session made."""
    seconds: float


async def run(suite: Suite, setup: Setup, *, watch: Watch = lambda progress: None) -> Result:
    """Run what of the selection is not in the log yet, and return all of it.

    Raises UnknownName for the solver, DataMissing and DataInvalid for the suite's data, UsageError when
    another process runs the same, StoreUnwritable when the log cannot be written (what it has is kept), and
    ModelUnavailable when the model cannot be reached. Cancelling keeps every row that has ended.
    """
    info = solver_of(suite, setup.configuration.solver)
    began = time.monotonic()
    with claim(folder(setup.settings), suite.name, suite.version, setup.configuration):
        bench = _Bench(suite, setup, watch)
        async with _ticking(bench.tell):
            data = Data(suite.sources, settings=setup.settings)
            job = await anyio.to_thread.run_sync(partial(_prepare, suite, setup, data), abandon_on_cancel=True)
            with _writing(suite, setup, data, job) as writer:
                await bench.work(info, job, writer)
                rows = tuple(job.wanted())
                found = tuple(figures(rows))
                seconds = time.monotonic() - began
                summary = [figure.model_dump(mode="json") for figure in found]
                writer.write(RunEnd(at=_now(), rows=len(job.rows), seconds=seconds, figures=summary))
        return Result(read(writer.path), rows, found, job.new, seconds)


def solver_of(suite: Suite, name: str) -> SolverInfo:
    """Return the solver called ``name``. Raises UnknownName."""
    if name not in suite.solvers:
        raise UnknownName("solver", name, list(suite.solvers))
    return suite.solvers[name]


@dataclass(slots=True)
class _Job:
    """The cases of a run, and the rows that there are of them."""

    picked: Sequence[Picked]
    epochs: int
    baselines: Mapping[str, Mapping[str, Score]]
    log: RunLog | None
    rows: dict[tuple[str, int], RunRow]
    dropped: tuple[str, ...]
    """Digests that the log has and the suite no longer."""
    new: int = 0

    def todo(self) -> list[tuple[Picked, int, Output | None]]:
        """What is still to do, all cases of an epoch before the next; with the output where only a score is."""
        found: list[tuple[Picked, int, Output | None]] = []
        for epoch in range(self.epochs):
            for picked in self.picked:
                row = self.rows.get((picked.digest, epoch))
                if row is None or row.unsolved:
                    found.append((picked, epoch, None))
                elif row.error:
                    found.append((picked, epoch, row.output))
        return found

    def wanted(self) -> list[RunRow]:
        """The rows of the cases asked for."""
        keys = [(picked.digest, epoch) for epoch in range(self.epochs) for picked in self.picked]
        return [self.rows[key] for key in keys if key in self.rows]


def _prepare(suite: Suite, setup: Setup, data: Data) -> _Job:
    """Read and draw the cases, and what the log has of them. Blocks."""
    picked, known = draw(suite.cases(data), setup.selection)
    cases = [each.case for each in picked]
    log = None
    if not setup.fresh:
        log = latest(folder(setup.settings), suite.name, suite.version, setup.configuration)
    rows = log.rows if log is not None else ()
    return _Job(
        picked=picked,
        epochs=setup.selection.epochs,
        baselines={name: baseline(cases) for name, baseline in suite.baselines.items()},
        log=log,
        rows={row.key: row for row in rows if row.digest in known},
        dropped=tuple(sorted({row.digest for row in rows} - known)),
    )


class _Bench:
    """Where cases are solved, several at once, and how far that is."""

    def __init__(self, suite: Suite, setup: Setup, watch: Watch) -> None:
        self._suite = suite
        self._setup = setup
        self._watch = watch
        self._now = Progress("reading the cases")
        self._sum = 0.0
        self._began = time.monotonic()
        self._unreached = 0

    def tell(self, row: RunRow | None = None) -> None:
        """Say how far it is."""
        seconds = time.monotonic() - self._began
        mean = self._sum / self._now.done if self._now.done else 0.0
        self._watch(self._now._replace(seconds=seconds, mean=mean, row=row))

    async def work(self, info: SolverInfo, job: _Job, writer: LogWriter) -> None:
        """Do all that is to do. Raises the first error that is no single case's."""
        todo = job.todo()
        settled = {(picked.digest, epoch) for picked, epoch, _ in todo}
        kept = [row for row in job.wanted() if row.key not in settled]
        self._sum = sum(row.score.value for row in kept)
        count, total = len(kept), len(job.picked) * job.epochs
        phase = "opening the model" if todo and info.needs_model else "running" if todo else "all was run before"
        self._now = Progress(phase, total=total, done=count, kept=count, errors=sum(map(bool, map(failure, kept))))
        self.tell()
        if not todo:
            return
        means = await self._means(info)
        async with info.open(means) as solver:
            self._now = self._now._replace(phase="running")
            self._began = time.monotonic()
            self.tell()
            attempt = partial(self._attempt, solver, means.model, job, writer)
            await _each(attempt, todo, self._setup.concurrency)

    async def _means(self, info: SolverInfo) -> Means:
        made = self._setup.configuration
        model = None
        if info.needs_model:
            if self._setup.open_model is None:
                raise UsageError(f"solver {made.solver!r} needs a model; name one with --model NAME.")
            model = await self._setup.open_model()
        return Means(settings=self._setup.settings, model=model, temperature=made.temperature)

    async def _attempt(
        self, solver: Solver, model: Model | None, job: _Job, writer: LogWriter, item: tuple[Picked, int, Output | None]
    ) -> None:
        picked, epoch, output = item
        case, timeout = picked.case, self._suite.timeout
        if output is None:
            seed = self._setup.configuration.seed + epoch
            info = model.info if model is not None else None
            output = await solve(solver, case, seed=seed, timeout=timeout, info=info)
        score, error = await judge(self._suite.scorer, case, output, timeout=timeout)
        row = RunRow(
            id=case.id,
            category=case.category,
            digest=picked.digest,
            split=case.split,
            epoch=epoch,
            input=case.input,
            target=case.target,
            output=output,
            score=score,
            error=error,
            baselines={name: found[case.id].value for name, found in job.baselines.items() if case.id in found},
            at=_now(),
        )
        writer.write(row)
        job.rows[row.key] = row
        job.new += 1
        self._sum += score.value
        self._now = self._now._replace(done=self._now.done + 1, errors=self._now.errors + bool(failure(row)))
        self.tell(row)
        self._unreached = self._unreached + 1 if row.unsolved else 0
        if self._unreached >= PATIENCE + self._setup.concurrency:
            raise ModelUnavailable(
                f"the model did not answer {self._unreached} cases in a row ({output.error}); "
                "see that it runs, then run the same command again: these cases are solved anew."
            )


async def _each(
    attempt: Callable[[tuple[Picked, int, Output | None]], Awaitable[None]],
    todo: Sequence[tuple[Picked, int, Output | None]],
    concurrency: int,
) -> None:
    """Attempt every item, ``concurrency`` at a time; the first error ends it."""
    queue = iter(todo)
    errors: list[Exception] = []
    async with anyio.create_task_group() as group:

        async def worker() -> None:
            try:
                for item in queue:
                    await attempt(item)
                    # A solver that never waits would keep out Ctrl-C and the signs of life.
                    await anyio.lowlevel.checkpoint()
            except Exception as error:
                # Kept out of the task group, which would wrap it.
                errors.append(error)
                group.cancel_scope.cancel()

        for _ in range(min(concurrency, len(todo))):
            group.start_soon(worker)
    if errors:
        raise errors[0]


@asynccontextmanager
async def _ticking(tell: Callable[[], None]) -> AsyncIterator[None]:
    """Give a sign of life every second; an error of the body leaves unwrapped."""

    async def tick() -> None:
        while True:
            tell()
            await anyio.sleep(TICK)

    error: Exception | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        try:
            yield
        except Exception as caught:
            error = caught
        group.cancel_scope.cancel()
    if error is not None:
        raise error


@contextmanager
def _writing(suite: Suite, setup: Setup, data: Data, job: _Job) -> Iterator[LogWriter]:
    """Go on with the log or begin one; either way a session line says what is asked for."""
    used, old = tuple(data.used), job.log
    header = old.header if old is not None else _header(suite, setup, used)
    session = RunSession(
        at=_now(),
        selection=setup.selection,
        cases=len(job.picked) * job.epochs,
        kept=len(job.picked) * job.epochs - len(job.todo()),
        concurrency=setup.concurrency,
        data=() if used == header.data else used,
        code=code_digest(),
        dropped=job.dropped,
    )
    path = folder(setup.settings) / f"{header.run}.jsonl"
    writer = LogWriter(path, size=old.size if old is not None else 0)
    try:
        writer.write(*([] if old is not None else [header]), session)
        yield writer
    finally:
        writer.close()


def _header(suite: Suite, setup: Setup, used: tuple[DataUse, ...]) -> RunHeader:
    now = _now()
    return RunHeader(
        run=new_id(suite.name, setup.configuration, now, folder(setup.settings)),
        suite=suite.name,
        version=suite.version,
        configuration=setup.configuration,
        data=used,
        started=now,
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        notes=suite.notes,
    )


def _now() -> datetime:
    return datetime.now(UTC)
