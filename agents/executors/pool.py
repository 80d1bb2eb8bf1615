"""A pool of workers, wherever they are: who takes which call, and what happens when one dies.

A worker does one call at a time. It is hired when a call finds none free, kept between calls and runs, and
replaced when it died or when its call was cancelled, because a call that runs elsewhere ends only with its worker.
Other calls never notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import anyio

from ...errors import WorkerDied
from ...protocols import Begin, Ctx, Emit, Toolset
from ...steps import Step
from .crossing import Call, Outcome, Source


class Worker(Protocol):
    """A process with ``Hands``, near or far."""

    loaded: set[str]
    """Modules that it has loaded."""

    @property
    def free(self) -> bool:
        """True while it lives and owes no answer."""

    async def ask(self, request: Source | Call, emit: Emit) -> Outcome:
        """Hand over one request and wait. Raises WorkerDied; cancelled, it leaves the worker owing an answer."""

    async def stop(self) -> None:
        """Kill it, whatever it does, and return when it is gone. Not to be cancelled."""

    def leave(self) -> None:
        """Tell it to end; returns at once."""

    def close(self) -> None:
        """Wait a moment for its end, then kill it."""


class Crew(Protocol):
    """Where workers come from."""

    place: str
    """Where its workers are, for a person: ``in a worker process``."""
    patience: float
    """Seconds after which a worker that was asked to load a module is given up."""

    async def size(self) -> int:
        """How many workers there may be; asked once, before the first is hired."""

    async def hire(self) -> Worker:
        """Start a worker."""

    def close(self) -> None:
        """End what it needed beside its workers."""


class Pool:
    """An executor over a crew. Calls wait for a free worker in the order they came, outside of their time limit."""

    def __init__(self, toolset: Toolset, crossings: Mapping[str, Source | str], crew: Crew) -> None:
        """Run the tools that ``crossings`` gives a source by workers of ``crew``, all others in this process."""
        self._toolset = toolset
        self._crossings = crossings
        self._crew = crew
        self._workers: list[Worker] = []
        self._idle: list[Worker] = []
        self._opening = anyio.Lock()
        self._slots: anyio.Semaphore | None = None

    async def run(self, step: Step, ctx: Ctx, begin: Begin) -> Any:
        """Run the call in a worker, or here when its tool cannot cross."""
        source = self._crossings.get(step.name, "")
        if isinstance(source, str):
            await begin()
            return await self._toolset.call(step, ctx)
        async with await self._open():
            worker = await self._take()
            try:
                await self._load(worker, source, step, ctx)
                await begin()
                outcome = await worker.ask(Call.of(source, step, ctx), ctx.emit)
            except WorkerDied as error:
                raise WorkerDied(f"{step.name}: {error.message}") from error
            finally:
                await self._give(worker)
        return outcome.result(step.name)

    def where(self, tool: str) -> str:
        """In a worker, or in this process and why."""
        source = self._crossings.get(tool, "it is not known")
        return self._crew.place if isinstance(source, Source) else f"in this process: {source}"

    def close(self) -> None:
        """End every worker: politely first, so that what tools registered for their exit runs, then by force."""
        workers, self._workers, self._idle = self._workers, [], []
        for worker in workers:
            worker.leave()
        for worker in workers:
            worker.close()
        self._crew.close()

    async def _open(self) -> anyio.Semaphore:
        if self._slots is None:
            async with self._opening:
                if self._slots is None:
                    self._slots = anyio.Semaphore(await self._crew.size())
        return self._slots

    async def _take(self) -> Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.free:
                return worker
            await self._dismiss(worker)
        worker = await self._crew.hire()
        self._workers.append(worker)
        return worker

    async def _load(self, worker: Worker, source: Source, step: Step, ctx: Ctx) -> None:
        """Have the module there before the call's clock starts."""
        if source.module in worker.loaded:
            return
        with anyio.move_on_after(self._crew.patience) as scope:
            (await worker.ask(source, ctx.emit)).result(step.name)
            worker.loaded.add(source.module)
        if scope.cancelled_caught:
            raise WorkerDied(
                f"no worker could load {source.module!r} within {self._crew.patience:g} s; "
                "make what it does at import shorter, or give the workers more room."
            )

    async def _give(self, worker: Worker) -> None:
        if worker.free:
            self._idle.append(worker)
        else:
            await self._dismiss(worker)

    async def _dismiss(self, worker: Worker) -> None:
        if worker in self._workers:
            self._workers.remove(worker)
        await worker.stop()
