"""The waiting room: so many requests at once, so many waiting, and the rest told when to come back."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ...errors import ServerBusy
from ...messages import Place
from ..prompt import Prompt, call_of
from ..schedule.scheduler import Scheduler


class Hall:
    """Applications in the order in which they came; a request without a place is one. Who leaves leaves no gap."""

    def __init__(self, concurrency: int, queue: int) -> None:
        """``concurrency`` requests generate, ``queue`` wait."""
        self._concurrency = concurrency
        self._queue = queue
        self._scheduler: Scheduler | None = None
        self._mean = 1.0
        self._inside = 0

    @property
    def running(self) -> int:
        """Requests that are being answered."""
        return self._inside

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return self._scheduler.waiting if self._scheduler is not None else 0

    @asynccontextmanager
    async def place(self, place: Place | None = None) -> AsyncIterator[None]:
        """Hold a place while a request is answered. Raises ServerBusy at once when too many wait."""
        if self._scheduler is None:
            self._scheduler = Scheduler(self._concurrency, grace=0.0)
        self.admit()
        async with self._scheduler.slot(call_of(place, Prompt(b"", 0))):
            self._inside += 1
            began = time.monotonic()
            try:
                yield
            finally:
                self._inside -= 1
                self._mean += (time.monotonic() - began - self._mean) / 8

    def admit(self) -> None:
        """Raise ServerBusy when too many wait."""
        if self._inside + self.waiting >= self._concurrency + self._queue:
            after = min(60.0, max(1.0, self._mean * (self.waiting + 1) / self._concurrency))
            raise ServerBusy(
                f"this server answers {self._inside} at once and has {self.waiting} waiting, the most that it takes; "
                f"come back in {after:.0f} s.",
                after=after,
            )
