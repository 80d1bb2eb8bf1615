"""Connections to engines: HTTP/1.1 straight off the socket, for answers that come in many small pieces.

What a client library does for each piece between the socket and its reader (buffers, timers, a task that is woken)
costs more than a piece is worth. Here a compiled parser finds the pieces, and whoever waits for one may have it
handed over on the spot, in the same turn of the event loop in which it came.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Callable
from typing import TypeAlias, cast
from urllib.parse import SplitResult, unquote, urlsplit

import httptools

from .coalesce import Coalescer

Take: TypeAlias = Callable[[bytes], bool]
"""Is offered a piece of a body; True when it took all of it, False when it left all of it."""
MOST = 64 * 1024
"""Bytes that wait for a reader before the engine is held up."""
PATIENCE = 10.0
"""Seconds to connect."""
IDLE = 2.0
"""Seconds for which a connection is kept: an engine may hold a thread for each."""
SPARE = 4
"""Connections that are kept for one address."""


class Wire(asyncio.Protocol):
    """One connection, with one answer on it at a time."""

    def __init__(self) -> None:
        """Nothing is asked yet."""
        self.status = 0
        """Of the answer; 0 before its head has come."""
        self.location = ""
        """Where the answer says to ask instead."""
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._bodies: list[bytes] = []
        self._size = 0
        self._held = False
        self._bounded = False
        self._between = False
        self._complete = False
        self._lasting = False
        self._failure: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._take: Take | None = None
        self._then: Callable[[], None] | None = None
        self._coalescer: Coalescer | None = None

    @property
    def closed(self) -> bool:
        """Whether the connection is no more."""
        return self._transport is None or self._transport.is_closing()

    @property
    def over(self) -> bool:
        """Whether all of the answer has come."""
        return self._complete

    @property
    def fit(self) -> bool:
        """Whether another request may be sent."""
        return self._complete and self._lasting and not self.closed

    def ask(self, data: bytes, *, interval: float = 0.0) -> None:
        """Send a request; pieces of its answer may wait for each other for about ``interval`` seconds.

        Only where the connection ends with the answer: on one that lasts the last pieces would wait in vain.
        """
        self.status, self.location = 0, ""
        self._bounded = self._between = self._complete = self._lasting = False
        self._parser = httptools.HttpResponseParser(self)
        self._then = None
        if self._transport is not None:
            self._coalescer = Coalescer(self._transport, interval) if interval else None
            self._transport.write(data)

    async def head(self) -> int:
        """Return the status of the answer. Raises ConnectionError."""
        while not self.status:
            if self._failure is not None:
                raise self._failure
            await self._wait()
        return self.status

    async def read(self, take: Take | None = None) -> bytes:
        """Return what has come of the body, empty at its end; may be cancelled and called again.

        While it waits, every piece is offered to ``take`` first, and what that took is not returned. Raises
        ConnectionError when the body broke off, and what ``fail`` was told.
        """
        while not self._bodies:
            if self._failure is not None:
                raise self._failure
            if self._complete:
                return b""
            self._take = take
            try:
                await self._wait()
            finally:
                self._take = None
        return self._taken()

    def fail(self, error: Exception) -> None:
        """Give the answer up: its reader gets ``error``."""
        if self._failure is None:
            self._failure = error
        self.abort()
        self._wake()

    def abort(self) -> None:
        """Close the connection, which ends what the engine does for it."""
        self._lasting = False
        if self._transport is not None:
            self._transport.abort()

    def rest(self, then: Callable[[], None]) -> None:
        """Drop what still comes of the answer; ``then`` is called at its end."""
        self._then = then
        self._taken()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        # Not every event loop's transports are asyncio's by class.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Find the pieces, and hand them to whoever waits."""
        if self._coalescer is not None and self.status:
            # The head says nothing of the pace.
            self._coalescer.came(len(data))
        if self._parser is None or self.over:
            self.fail(ConnectionError("it sent more than its answer"))
            return
        if self._take is not None and self._between and not self._bodies:
            # Whole chunks, as nearly all that comes; the parser need not see them.
            body = whole_chunks(data)
            if body and self._take(body):
                return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.fail(ConnectionError(f"its answer is not HTTP: {error}"))
            return
        if self._then is not None:
            self._taken()
            if self._complete:
                self._then()
            return
        bodies = self._bodies
        if bodies and self._take is not None and self._take(bodies[0] if len(bodies) == 1 else b"".join(bodies)):
            bodies.clear()
            self._size = 0
            if not self._complete:
                return
        self._wake()
        if self._size > MOST and not self._held and self._transport is not None:
            self._held = True
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the answer when nothing else says where it ends, else break it off."""
        self._lasting = False
        if self._coalescer is not None:
            self._coalescer.stop()
        if exc is None and self.status and not self._bounded:
            self._complete = True
        elif not self._complete and self._failure is None:
            told = "its answer broke off" if self.status else "it closed the connection"
            self._failure = ConnectionError(str(exc) if exc is not None and str(exc) else told)
        self._wake()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Learn how the body ends."""
        name = name.lower()
        if name in (b"content-length", b"transfer-encoding"):
            self._bounded = True
        elif name == b"location":
            self.location = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Tell the status; one below 200 only announces an answer."""
        assert self._parser is not None
        status = self._parser.get_status_code()
        if status >= 200:
            self.status = status

    def on_body(self, body: bytes) -> None:
        """Keep a piece."""
        self._bodies.append(body)
        self._size += len(body)

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self._between = False

    def on_chunk_complete(self) -> None:
        """A chunk has ended, and what comes is another."""
        self._between = True

    def on_message_complete(self) -> None:
        """The answer is over."""
        if self.status and self._parser is not None:
            self._complete = True
            self._lasting = self._parser.should_keep_alive()

    def _taken(self) -> bytes:
        bodies, self._bodies = self._bodies, []
        self._size = 0
        if self._held and self._transport is not None:
            self._held = False
            self._transport.resume_reading()
        return bodies[0] if len(bodies) == 1 else b"".join(bodies)

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Wires:
    """Connections, kept for a moment for the next request to the same address."""

    def __init__(self) -> None:
        """None yet."""
        self._spare: dict[str, list[tuple[Wire, asyncio.TimerHandle]]] = {}
        self._ending: dict[Wire, asyncio.TimerHandle] = {}

    async def post(self, url: str, path: str, data: bytes, *, key: str = "", interval: float = 0.0) -> Wire:
        """Return the connection on which the answer to the JSON ``data`` comes, once its head is there.

        The caller gives it back. Raises ConnectionError, TimeoutError. With an ``interval`` (``Wire.ask``) the
        connection is this request's alone.
        """
        parts = urlsplit(url)
        wire = (None if interval else self._kept(url)) or await _connected(parts)
        try:
            wire.ask(_head(parts, path, len(data), key, close=bool(interval)) + data, interval=interval)
            await wire.head()
        except ConnectionError:
            # What was kept with it is as old.
            self.close()
            raise
        except BaseException:
            wire.abort()
            raise
        return wire

    def give(self, url: str, wire: Wire, *, ended: bool) -> None:
        """Take a connection back; one whose answer has not ``ended`` for its reader is closed."""
        if ended and not wire.fit and not wire.closed:
            # The end of the body comes after the end of what it says.
            loop = asyncio.get_running_loop()
            self._ending[wire] = loop.call_later(IDLE, self._dropped, wire)
            wire.rest(lambda: self._rested(url, wire))
        elif ended and wire.fit and len(self._spare.get(url, ())) < SPARE:
            timer = asyncio.get_running_loop().call_later(IDLE, self._expired, url, wire)
            self._spare.setdefault(url, []).append((wire, timer))
        else:
            wire.abort()

    def close(self) -> None:
        """Close what nobody uses."""
        for spare in self._spare.values():
            for wire, timer in spare:
                timer.cancel()
                wire.abort()
        self._spare.clear()
        for wire in list(self._ending):
            self._dropped(wire)

    def _kept(self, url: str) -> Wire | None:
        spare = self._spare.get(url, [])
        while spare:
            wire, timer = spare.pop()
            timer.cancel()
            if wire.fit:
                return wire
        return None

    def _expired(self, url: str, wire: Wire) -> None:
        self._spare[url] = [pair for pair in self._spare[url] if pair[0] is not wire]
        if not self._spare[url]:
            del self._spare[url]
        wire.abort()

    def _rested(self, url: str, wire: Wire) -> None:
        timer = self._ending.pop(wire, None)
        if timer is not None:
            timer.cancel()
            self.give(url, wire, ended=wire.fit)

    def _dropped(self, wire: Wire) -> None:
        timer = self._ending.pop(wire, None)
        if timer is not None:
            timer.cancel()
        wire.abort()


def whole_chunks(data: bytes) -> bytes:
    """Return what the chunks of ``data`` hold; empty when it is not whole chunks alone, or one of them is the last."""
    *parts, end = data.split(b"\r\n")
    bodies = parts[1::2]
    if end or len(parts) != 2 * len(bodies):
        return b""
    for size, body in zip(parts[::2], bodies, strict=True):
        if not body or size != b"%x" % len(body):
            return b""
    return bodies[0] if len(bodies) == 1 else b"".join(bodies)


async def _connected(parts: SplitResult) -> Wire:
    secure = parts.scheme == "https"
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(PATIENCE):
            _, wire = await loop.create_connection(
                Wire,
                parts.hostname or "",
                parts.port or (443 if secure else 80),
                ssl=ssl.create_default_context() if secure else None,
            )
    except TimeoutError:
        raise TimeoutError(f"no connection within {PATIENCE:g} s") from None
    except OSError as error:
        raise ConnectionError(str(error)) from None
    return wire


def _head(parts: SplitResult, path: str, size: int, key: str, *, close: bool) -> bytes:
    host = parts.netloc.rpartition("@")[2]
    lines = [
        f"POST {parts.path.rstrip('/')}{path} HTTP/1.1",
        f"Host: {host}",
        "Accept: text/event-stream, application/json",
        "Content-Type: application/json",
        f"Content-Length: {size}",
    ]
    if close:
        lines.append("Connection: close")
    if key:
        lines.append(f"Authorization: Bearer {key}")
    elif parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        lines.append(f"Authorization: Basic {base64.b64encode(pair.encode()).decode()}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
