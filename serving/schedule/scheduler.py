"""The queue in front of an engine's slots, in asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

from .dispatch import GRACE, Call, Dispatch, Order, Placement
from .order import ApplicationFirst

T = TypeVar("T")


class Scheduler:
    """Runs work on slots, one piece per slot at a time, in the order of ``order``.

    It belongs to one event loop. Cancelling a caller withdraws its call, or frees its slot once the work has
    ended; no slot is ever lost.
    """

    def __init__(
        self, slots: int, *, order: Order | None = None, placement: Placement | None = None, grace: float = GRACE
    ) -> None:
        """Begin with ``slots`` free slots."""
        self._dispatch = Dispatch(slots, order or ApplicationFirst(), placement, grace=grace)
        self._granted: dict[Call, asyncio.Future[int]] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Calls that wait for a slot."""
        return self._dispatch.waiting

    @property
    def queued(self) -> tuple[Call, ...]:
        """Those calls, in no order."""
        return tuple(call for call, granted in self._granted.items() if not granted.done())

    @property
    def running(self) -> int:
        """Calls that have one."""
        return self._dispatch.running

    def outranked(self, call: Call) -> bool:
        """Whether the running ``call`` should give its slot up, where it can, and wait again."""
        return self._dispatch.outranked(call)

    @contextmanager
    def coming(self, app: str) -> Iterator[None]:
        """While this lasts a call of ``app`` is being prepared: slots held for the application go on waiting."""
        self._dispatch.expect(app)
        try:
            yield
        finally:
            self._dispatch.expected(app)
            # Not at once: the call is submitted in this turn of the loop.
            asyncio.get_running_loop().call_soon(self.poke)

    async def run(self, call: Call, work: Callable[[int], Awaitable[T]]) -> T:
        """Wait for a slot, await ``work(slot)`` and return its result. Raises what ``work`` raises."""
        async with self.slot(call) as slot:
            return await work(slot)

    @asynccontextmanager
    async def slot(self, call: Call) -> AsyncIterator[int]:
        """Hold a slot, once ``call`` gets one."""
        granted = self._granted[call] = asyncio.get_running_loop().create_future()
        self._dispatch.submit(call)
        # The others that come in the same turn of the loop are ranked together with it.
        asyncio.get_running_loop().call_soon(self.poke)
        try:
            yield await granted
        finally:
            self._granted.pop(call, None)
            self._dispatch.end(call, time.monotonic())
            self.poke()

    def poke(self) -> None:
        """Start what can start; call it when a reason to wait (``Placement.blocked``) is gone."""
        now = time.monotonic()
        for call, slot in self._dispatch.starts(now):
            granted = self._granted[call]
            if not granted.done():
                granted.set_result(slot)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wakes = self._dispatch.wakes(now)
        if wakes is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, wakes - now), self.poke)
