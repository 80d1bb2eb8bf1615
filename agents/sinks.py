"""Event sinks for programs and plain terminals: JSONL, and one line per event.

A sink never raises into a run: when its stream is gone, it goes silent.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TextIO

from ..events import Event
from .board import Board

if TYPE_CHECKING:
    from .live import LiveSink

HEARTBEAT = 2.0
"""Seconds of silence after which a plain display says what it waits for."""


class JsonlSink:
    """Writes every event as one JSON line and flushes it. The stream stays the caller's to close."""

    def __init__(self, stream: TextIO) -> None:
        """Write to ``stream``."""
        self._stream = stream
        self._gone = False

    def __call__(self, event: Event) -> None:
        """Write one line."""
        if self._gone:
            return
        try:
            self._stream.write(event.model_dump_json() + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            self._gone = True

    def close(self) -> None:
        """Write no more."""
        self._gone = True


class PlainSink:
    """Writes what matters as plain lines, for logs and pipes; says every two seconds what it waits for."""

    def __init__(self, stream: TextIO, *, heartbeat: float = HEARTBEAT) -> None:
        """Write to ``stream``; ``heartbeat`` 0 writes only when something happens."""
        self._stream = stream
        self._heartbeat = heartbeat
        self._board = Board()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._last = time.monotonic()

    def __call__(self, event: Event) -> None:
        """Take one event; the first one starts the heartbeat."""
        with self._lock:
            line = self._board.take(event)
            if line:
                self._write(line)
        self.begin()

    def begin(self) -> None:
        """Start the heartbeat now instead of with the first event."""
        if self._thread is None and self._heartbeat > 0 and not self._stop.is_set():
            self._thread = threading.Thread(target=self._beat, name="shuntyard-progress", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop the heartbeat."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=2)
            self._thread = None

    def _beat(self) -> None:
        while not self._stop.wait(self._heartbeat / 8):
            with self._lock:
                if time.monotonic() - self._last >= self._heartbeat * 0.8 and self._board.finished is None:
                    self._write(self._board.headline())

    def _write(self, line: str) -> None:
        self._last = time.monotonic()
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            self._stop.set()


def progress_sink(stream: TextIO) -> LiveSink | PlainSink:
    """Return the live display when ``stream`` is a terminal that can redraw, else plain lines; it has begun."""
    if stream.isatty():
        from .live import LiveSink, QuietConsole

        console = QuietConsole(file=stream)
        if console.is_terminal and not console.is_dumb_terminal:
            live = LiveSink(console)
            live.begin()
            return live
    plain = PlainSink(stream)
    plain.begin()
    return plain
