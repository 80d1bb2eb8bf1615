"""An answer on its way to its client: sent in pieces or whole, and ended when the client has left."""

from __future__ import annotations

import sys
import time
import traceback
from abc import abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import aclosing
from typing import Any, TypeAlias

import anyio
from starlette.responses import Response

from ...errors import ShuntyardError
from ...messages import Frozen
from .events import fault_of, headers_of, status_of

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
        self._done = False
        self.background = None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Callable[[], Any], send: Send) -> None:
        """Answer."""
        # The task group is the client's presence; an answer that is done ends it too.
        async with anyio.create_task_group() as group:
            group.start_soon(self._presence, receive, group.cancel_scope)
            try:
                await self._answered(send)
            finally:
                group.cancel_scope.cancel()

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

    async def _presence(self, receive: Callable[[], Any], scope: anyio.CancelScope) -> None:
        """End all of it when the client has left or has not read for too long."""
        stall = self._stall
        here = True
        while here:
            with anyio.move_on_after(stall / 4):
                here = (await receive())["type"] != "http.disconnect"
            if self._sending and time.monotonic() - self._sending > stall:
                here = False
        if not self._done or self._sending:
            self._status = LEFT
            scope.cancel()
