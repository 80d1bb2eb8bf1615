"""The waiting room: so many requests at once, so many waiting, and the rest told when to come back."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from ...errors import ServerBusy


class Hall:
    """First come, first served. A client that leaves the queue leaves no gap."""

    def __init__(self, concurrency: int, queue: int) -> None:
        """``concurrency`` requests generate, ``queue`` wait."""
        self._concurrency = concurrency
        self._queue = queue
        self._free = anyio.Semaphore(concurrency, fast_acquire=True)
        self._mean = 1.0
        self.running = 0
        self.waiting = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place while a request is answered. Raises ServerBusy at once when too many wait."""
        if self._free.value == 0 and self.waiting >= self._queue:
            after = min(60.0, max(1.0, self._mean * (self.waiting + 1) / self._concurrency))
            raise ServerBusy(
                f"{self.running} requests are being answered and {self.waiting} wait, the most that this server takes; "
                f"come back in {after:.0f} s.",
                after=after,
            )
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        began = time.monotonic()
        try:
            yield
        finally:
            self.running -= 1
            self._free.release()
            self._mean += (time.monotonic() - began - self._mean) / 8
