"""One request for a generation, from the queue to its last byte."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import anyio
from starlette.responses import Response

from ...errors import RequestRefused, ShuntyardError
from ...messages import Frozen, Place
from ..engines import Engine
from .events import fault_of, headers_of, status_of
from .generate import Meter
from .hall import Hall
from .metrics import Metrics
from .outlet import OUTLET
from .pool import Pool

Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
STALL = 60.0
"""Seconds in which a reader must take a piece; one that does not is cut off, because it holds a place."""
LEFT = 499
"""Status under which a client that left is counted."""


class Job(Protocol):
    """What an endpoint makes of an engine's chunks."""

    endpoint: str
    model: str
    stream: bool

    def events(self, engine: Engine, meter: Meter) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of a stream."""

    async def whole(self, engine: Engine, meter: Meter) -> Frozen:
        """Return the body of an answer."""

    def fault(self, error: Exception) -> bytes:
        """The bytes that end a stream which failed."""


@dataclass(frozen=True, slots=True)
class Rooms:
    """What every generation shares."""

    pool: Pool
    hall: Hall
    metrics: Metrics
    choose: Callable[[Job], str] | None = None
    """Returns the model of a request for ``auto``."""
    stall: float = STALL


class Generation(Response):
    """Waits for a place, generates, sends. A client that leaves, or does not read, ends all of it at once."""

    def __init__(self, rooms: Rooms, job: Job, place: Place | None = None) -> None:
        """Nothing is generated before it is called."""
        self._rooms = rooms
        self._job = job
        self._meter = Meter(place=place)
        self._status = 0
        self._sending = 0.0
        self._done = False
        self.background = None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Callable[[], Any], send: Send) -> None:
        """Answer."""
        self._meter.outlet = scope.get("extensions", {}).get(OUTLET)
        # The task group is the client's presence; an answer that is done ends it too.
        async with anyio.create_task_group() as group:
            group.start_soon(self._presence, receive, group.cancel_scope)
            try:
                await self._answer(send)
            finally:
                group.cancel_scope.cancel()
        self._rooms.metrics.ended(self._job, self._status or LEFT, self._meter)

    async def _answer(self, send: Send) -> None:
        rooms, job = self._rooms, self._job
        try:
            name, place = self._model(), self._meter.place
            if place is not None and place.next:
                rooms.pool.known(place.next)
            async with rooms.hall.place(place), rooms.pool.using(name) as engine:
                job.model = name
                if place is not None and place.next:
                    rooms.pool.prefetch(place.next)
                if job.stream:
                    await self._stream(engine, send)
                    return
                body = await job.whole(engine, self._meter)
            await self._body(send, 200, body)
        except Exception as error:
            if not isinstance(error, ShuntyardError):
                sys.stderr.write("".join(traceback.format_exception(error)))
            await self._failed(send, error)

    def _model(self) -> str:
        if self._job.model != "auto":
            return self._job.model or self._rooms.pool.default()
        if self._rooms.choose is None:
            raise RequestRefused(
                "model 'auto' needs a router and this server has none; name a model.", param="model", status=404
            )
        return self._rooms.choose(self._job)

    async def _stream(self, engine: Engine, send: Send) -> None:
        """Send the pieces; the status is sent with the first, so that an error before it has a status of its own."""
        async with aclosing(self._job.events(engine, self._meter)) as pieces:
            async for piece in pieces:
                if not self._status:
                    await self._start(send, 200, {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
                self._sending = time.monotonic()
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                self._sending = 0.0
        await self._end(send, b"")

    async def _failed(self, send: Send, error: Exception) -> None:
        if not self._status:
            await self._body(send, status_of(error), fault_of(error), headers_of(error))
            return
        self._status = status_of(error)
        await self._end(send, self._job.fault(error))

    async def _body(self, send: Send, status: int, body: Frozen, extra: dict[str, str] | None = None) -> None:
        content = body.model_dump_json(exclude_none=status != 200).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(content)), **(extra or {})}
        await self._start(send, status, headers)
        await self._end(send, content)

    async def _start(self, send: Send, status: int, headers: dict[str, str]) -> None:
        self._status = status
        pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})

    async def _end(self, send: Send, body: bytes) -> None:
        # From here on a client that goes is no client that left.
        self._done = True
        self._sending = time.monotonic()
        await send({"type": "http.response.body", "body": body})
        self._sending = 0.0

    async def _presence(self, receive: Callable[[], Any], scope: anyio.CancelScope) -> None:
        """End all of it when the client has left or has not read for too long."""
        stall = self._rooms.stall
        here = True
        while here:
            with anyio.move_on_after(stall / 4):
                here = (await receive())["type"] != "http.disconnect"
            if self._sending and time.monotonic() - self._sending > stall:
                here = False
        if not self._done or self._sending:
            self._status = LEFT
            scope.cancel()
