"""Pieces that come quickly are taken together: whoever reads them is woken for several and not for each.

To be woken costs more than to read what is there, and a busy engine's caches pay too. From how many bytes on a reader
is woken is the low-water mark of its socket (SO_RCVLOWAT); the end of a connection wakes it always.
"""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress

LEARNING = 2
"""Pieces whose pace is looked at before any wait for each other."""
MEMORY = 4
"""Pieces over which the pace is taken."""
MOST = 32 * 1024
"""Largest mark, in bytes."""
STEP = 0.25
"""Relative change of the mark that is worth a system call."""


class Coalescer:
    """Sets the low-water mark of one connection, by the pace at which its pieces come."""

    def __init__(self, transport: asyncio.BaseTransport, interval: float) -> None:
        """Pieces wait for about ``interval`` seconds, and for twice that when they come more slowly than before."""
        self._transport = transport
        self._interval = interval
        self._mark = 1
        self._count = 0
        self._size = self._gap = self._last = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def mark(self) -> int:
        """Bytes from which on the reader is woken."""
        return self._mark

    def came(self, size: int) -> None:
        """Learn from ``size`` bytes that have come."""
        now = time.monotonic()
        self._count += 1
        pieces = 1 if self._mark == 1 else max(1, round(size / self._size))
        if self._count > 1:
            weight = 1 / min(self._count - 1, MEMORY)
            self._size += (size / pieces - self._size) * weight
            self._gap += ((now - self._last) / pieces - self._gap) * weight
        else:
            self._size = self._gap = 0.0
        self._last = now
        if self._count > LEARNING:
            self._raise()

    def stop(self) -> None:
        """End with the connection."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _raise(self) -> None:
        fit = int(self._interval / self._gap) if self._gap > 0 else 0
        # Half a piece less, because pieces differ in size and the last of them is to wake.
        mark = min(round((fit - 0.5) * self._size), MOST) if fit > 1 else 1
        if abs(mark - self._mark) > STEP * self._mark:
            self._set(mark)
        # Begun anew by every piece, so that it wakes nobody while they come.
        self.stop()
        if self._mark > 1:
            self._timer = asyncio.get_running_loop().call_later(2 * self._interval, self._overdue)

    def _overdue(self) -> None:
        """Take what waits: it has waited for long enough."""
        self._timer = None
        self._count = 0
        self._set(1)

    def _set(self, mark: int) -> None:
        if mark == self._mark or self._transport.is_closing():
            return
        # Lowered to what is already there, it wakes at once. A system without it wakes for every piece.
        with suppress(OSError):
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, mark)
            self._mark = mark
