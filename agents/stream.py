"""A run's events as something to iterate over."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator

import anyio

from ..events import Event


class QueueSink:
    """A sink that can be iterated once, until it is closed. It never drops and never blocks."""

    def __init__(self) -> None:
        """Open the queue."""
        self._send, self._receive = anyio.create_memory_object_stream[Event](math.inf)

    def __call__(self, event: Event) -> None:
        """Take one event."""
        self._send.send_nowait(event)

    def close(self) -> None:
        """End the iteration after what is queued."""
        self._send.close()

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Yield events in order."""
        async with self._receive:
            async for event in self._receive:
                yield event
