"""Programs by their ids: started, found again, stopped, and forgotten after a while."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping, MutableMapping
from functools import partial
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import Response

from ...errors import RequestRefused
from ...settings import ServeSettings
from ..program import ProgramBody, ProgramRequest
from .door import read
from .events import fault_of, named, status_of
from .generation import Rooms
from .openapi import PROGRAMS
from .places import Told, told_of
from .programs import Run
from .sending import LEFT, Send, Sent

KEPT_BYTES = 64 << 20
"""Of the values of programs that are over."""


class Shelf:
    """Programs that are over, as they ended: at most so many, so old and so large."""

    def __init__(self, most: int, seconds: float, *, room: int = KEPT_BYTES) -> None:
        """Empty; ``room`` bounds the letters of all values together."""
        self._most = most
        self._seconds = seconds
        self._room = room
        self._size = 0
        self._kept: OrderedDict[str, tuple[float, int, ProgramBody]] = OrderedDict()

    def put(self, body: ProgramBody) -> None:
        """Keep ``body``; the oldest go for it."""
        size = sum(len(value) for value in body.variables.values())
        self._kept[body.id] = time.monotonic(), size, body
        self._size += size
        self._sweep()

    def get(self, id: str) -> ProgramBody | None:
        """Return the program ``id``, None where it is not kept any more."""
        self._sweep()
        found = self._kept.get(id)
        return found[2] if found is not None else None

    def take(self, id: str) -> ProgramBody | None:
        """As ``get``, and forget it."""
        found = self.get(id)
        if found is not None:
            self._size -= self._kept.pop(id)[1]
        return found

    def _sweep(self) -> None:
        old = time.monotonic() - self._seconds
        while self._kept:
            ended, size, _ = next(iter(self._kept.values()))
            if len(self._kept) <= self._most and self._size <= self._room and ended > old:
                return
            self._kept.popitem(last=False)
            self._size -= size


class ProgramDesk:
    """The programs of one server. None outlives it."""

    def __init__(self, rooms: Rooms, serve: ServeSettings) -> None:
        """Nothing runs yet."""
        self._rooms = rooms
        self._body = int(serve.body_mib * 1024 * 1024)
        self._limits = serve.programs, serve.program_minutes
        self._shelf = Shelf(serve.programs, serve.program_minutes * 60)
        self._running: dict[str, tuple[Run, asyncio.Task[None]]] = {}

    async def post(self, request: Request) -> Response:
        """Start a program, and answer when it is over, or at once when it runs in the background."""
        asked = await read(request, ProgramRequest, self._body, whole=True)
        told = told_of(request.scope["headers"], asked.shuntyard)
        if asked.stream and asked.background:
            raise RequestRefused("'background' excludes 'stream'; send one of them.", param="background")
        run = self._run(asked, told)
        if not asked.background:
            return _Answer(self, run, self._rooms.stall)
        # A program that nobody waits for is told at once that there is no place, too.
        self._rooms.hall.admit()
        self.start(run)
        return _json(run.body(), 202, {"Location": f"{PROGRAMS}/{run.id}"})

    async def one(self, request: Request) -> Response:
        """Tell how far a program is; with DELETE stop it and tell its last state, or forget one that is over."""
        id = request.path_params["id"]
        if request.method != "DELETE":
            return _json(self._found(id))
        if id in self._running:
            run, _ = self._running[id]
            await self.stop(run)
            return _json(run.body())
        found = self._found(id)
        self._shelf.take(id)
        return _json(found)

    def start(self, run: Run) -> None:
        """Have ``run`` carried out."""
        place = run.meter.place
        if place is not None and place.next:
            self._rooms.pool.prefetch(place.next)
        task = asyncio.ensure_future(run.carry(self._rooms.hall.place(place)))
        self._running[run.id] = run, task
        task.add_done_callback(partial(self._ended, run))

    async def stop(self, run: Run) -> None:
        """Stop ``run`` where it still runs; its engines are free when this returns."""
        held = self._running.get(run.id)
        if held is not None:
            held[1].cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait({held[1]})

    async def close(self) -> None:
        """Stop all."""
        for run, _ in list(self._running.values()):
            await self.stop(run)

    def _run(self, asked: ProgramRequest, told: Told) -> Run:
        pool, place = self._rooms.pool, told.place
        run = Run(asked, pool.using, place=place, long=told.long, prefetch=pool.prefetch)

        def named(name: str, field: str) -> str:
            found = self._rooms.named(name, run, field)
            pool.known(found, field)
            return found

        run.models(named)
        if place is not None and place.next:
            pool.known(place.next, "shuntyard.next")
        return run

    def _ended(self, run: Run, task: asyncio.Task[None]) -> None:
        # Also of a task that was cancelled before it began.
        run.end()
        del self._running[run.id]
        if run.failure is None or run.background:
            self._shelf.put(run.body())
        status = LEFT if task.cancelled() else 200 if run.failure is None else status_of(run.failure)
        self._rooms.metrics.ended(run, status, run.meter)

    def _found(self, id: str) -> ProgramBody:
        held = self._running.get(id)
        found = held[0].body() if held is not None else self._shelf.get(id)
        if found is None:
            most, minutes = self._limits
            raise RequestRefused(
                f"program {id!r} is not kept here: it never ran on this server since it started, was deleted, or ended "
                f"too long ago (the last {most} are kept, for {minutes:g} minutes; [serve] programs and "
                "program_minutes); send it again.",
                param="id",
                status=404,
            )
        return found


class _Answer(Sent):
    """A program that its client waits for; it ends with it."""

    def __init__(self, desk: ProgramDesk, run: Run, stall: float) -> None:
        super().__init__(stall)
        self._desk = desk
        self._run = run

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Send) -> None:
        """Run and answer."""
        self._desk.start(self._run)
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._desk.stop(self._run)
            self._run.leave()

    async def _answer(self, send: Send) -> None:
        if self._run.stream:
            await self._stream(self._run.events(), send)
        else:
            await self._body(send, 200, await self._run.whole())

    def _fault(self, error: Exception) -> bytes:
        return named("error", fault_of(error).model_dump())


def _json(body: ProgramBody, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body.model_dump_json(), status, media_type="application/json", headers=headers)
