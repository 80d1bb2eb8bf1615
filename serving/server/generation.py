"""One request for a generation, from the queue to its last byte."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Protocol

from ...errors import RequestRefused
from ...messages import Frozen
from ..engines import Engine
from .generate import Meter
from .hall import Hall
from .metrics import Metrics
from .outlet import OUTLET
from .places import Told
from .pool import Pool
from .sending import LEFT, STALL, Send, Sent


class Asking(Protocol):
    """What asks for a model."""

    endpoint: str
    model: str


class Job(Asking, Protocol):
    """What an endpoint makes of an engine's chunks."""

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
    choose: Callable[[Asking], str] | None = None
    """Returns the model of a request for ``auto``."""
    stall: float = STALL

    def named(self, name: str, asking: Asking, field: str = "model") -> str:
        """Return the model that ``name`` stands for: itself, the default, or for ``auto`` the router's choice.

        ``field`` of the request holds ``name``. Raises RequestRefused.
        """
        if name != "auto":
            return name or self.pool.default()
        if self.choose is None:
            raise RequestRefused(
                "model 'auto' needs a router and this server has none; name a model.", param=field, status=404
            )
        return self.choose(asking)


class Generation(Sent):
    """Waits for a place, generates, sends."""

    def __init__(self, rooms: Rooms, job: Job, told: Told) -> None:
        """Nothing is generated before it is called."""
        super().__init__(rooms.stall)
        self._rooms = rooms
        self._job = job
        self._meter = Meter(place=told.place, long=told.long)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Callable[[], Any], send: Send) -> None:
        """Answer, and count it."""
        self._outlet = self._meter.outlet = scope.get("extensions", {}).get(OUTLET)
        await super().__call__(scope, receive, send)
        self._rooms.metrics.ended(self._job, self._status or LEFT, self._meter)

    async def _answer(self, send: Send) -> None:
        rooms, job = self._rooms, self._job
        name, place = rooms.named(job.model, job), self._meter.place
        if place is not None and place.next:
            rooms.pool.known(place.next, "shuntyard.next")
        async with rooms.hall.place(place), rooms.pool.using(name) as engine:
            job.model = name
            if place is not None and place.next:
                rooms.pool.prefetch(place.next)
            if job.stream:
                await self._stream(job.events(engine, self._meter), send)
                return
            body = await job.whole(engine, self._meter)
        await self._body(send, 200, body, self._extra())

    def _extra(self) -> dict[str, str]:
        return {"X-Shuntyard-Read": self._meter.read} if self._meter.read else {}

    def _fault(self, error: Exception) -> bytes:
        return self._job.fault(error)
