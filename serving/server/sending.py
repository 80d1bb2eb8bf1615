"""An answer on its way to its client: sent in pieces or whole, and ended when the client has left."""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from abc import abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import aclosing, contextmanager
from functools import partial
from typing import Any, TypeAlias

import anyio
from starlette.responses import Response

from ...errors import ShuntyardError
from ...messages import Frozen
from .events import fault_of, headers_of, status_of
from .outlet import GONE, Outlet, Tell

Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
STALL = 60.0
"""Seconds in which a reader must take a piece; one that does not is cut off, because it holds a place."""
LEFT = 499
"""Status under which a client that left is counted."""


class Sent(Response):
    """An answer that is made while its client waits. One that leaves, or does not read, ends all of it at once."""

    def __init__(self, stall: float = STALL) -> None:
        """Nothing is made before it is called."""
        self._stall = stall
        self._status = 0
        self._sending = 0.0
        self._outlet: Outlet | None = None
        """A short way to the client, once the answer has begun."""
        self._done = False
        self._watch: asyncio.TimerHandle | None = None
        self.background = None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Callable[[], Any], send: Send) -> None:
        """Answer."""
        tell: Tell | None = scope.get("extensions", {}).get(GONE)
        with anyio.CancelScope() as life, self._present(receive, tell, partial(self._left, life)):
            self._watched(life)
            try:
                await self._answered(send)
            finally:
                if self._watch is not None:
                    self._watch.cancel()

    @abstractmethod
    async def _answer(self, send: Send) -> None:
        """Make the answer and send it. What it raises is told the client."""

    @abstractmethod
    def _fault(self, error: Exception) -> bytes:
        """Return the bytes that end a stream which failed."""

    def _extra(self) -> Mapping[str, str]:
        """Return headers of an answer; asked for when its first bytes are there."""
        return {}

    async def _answered(self, send: Send) -> None:
        try:
            await self._answer(send)
        except Exception as error:
            if not isinstance(error, ShuntyardError):
                sys.stderr.write("".join(traceback.format_exception(error)))
            await self._failed(send, error)

    async def _stream(self, events: AsyncGenerator[bytes, None], send: Send) -> None:
        """Send the pieces; the status is sent with the first, so that an error before it has a status of its own."""
        async with aclosing(events) as pieces:
            async for piece in pieces:
                if not self._status:
                    headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", **self._extra()}
                    await self._start(send, 200, headers)
                if self._outlet is not None and self._outlet(piece):
                    continue
                self._sending = time.monotonic()
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                self._sending = 0.0
        await self._end(send, b"")

    async def _failed(self, send: Send, error: Exception) -> None:
        if not self._status:
            await self._body(send, status_of(error), fault_of(error), headers_of(error))
            return
        self._status = status_of(error)
        await self._end(send, self._fault(error))

    async def _body(self, send: Send, status: int, body: Frozen, extra: Mapping[str, str] | None = None) -> None:
        content = body.model_dump_json(exclude_none=status >= 400).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(content)), **(extra or {})}
        await self._start(send, status, headers)
        await self._end(send, content)

    async def _start(self, send: Send, status: int, headers: Mapping[str, str]) -> None:
        self._status = status
        pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})

    async def _end(self, send: Send, body: bytes) -> None:
        # From here on a client that goes is no client that left.
        self._done = True
        self._sending = time.monotonic()
        await send({"type": "http.response.body", "body": body})
        self._sending = 0.0

    @contextmanager
    def _present(self, receive: Callable[[], Any], tell: Tell | None, left: Callable[[], None]) -> Iterator[None]:
        """Have ``left`` called when the client leaves."""
        if tell is not None:
            tell(left)
            try:
                yield
            finally:
                tell(None)
            return

        async def presence() -> None:
            while (await receive())["type"] != "http.disconnect":
                continue
            left()

        task = asyncio.ensure_future(presence())
        try:
            yield
        finally:
            task.cancel()

    def _watched(self, life: anyio.CancelScope) -> None:
        """Look again and again whether the client still reads."""
        if self._sending and time.monotonic() - self._sending > self._stall:
            self._left(life)
        else:
            self._watch = asyncio.get_running_loop().call_later(self._stall / 4, self._watched, life)

    def _left(self, life: anyio.CancelScope) -> None:
        """End all of it: the client is gone, or has not read for too long."""
        if not self._done or self._sending:
            self._status = LEFT
            life.cancel()
