"""The caller's side of the token-level engine: a child of ours, asked over a pipe."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ContextTooLong, ModelError, ModelUnavailable, UsageError
from ..engine import SPIN
from . import layout

Event = dict[str, Any]
ERRORS: dict[str, type[ModelError] | type[UsageError]] = {
    "ContextTooLong": ContextTooLong,
    "ModelUnavailable": ModelUnavailable,
    "UsageError": UsageError,
}
GONE: Event = {"gone": True}


@dataclass(frozen=True, slots=True)
class Order:
    """What a child is started with."""

    name: str
    """How people call the model; for messages only."""
    model: Path
    context: int
    threads: int = 1
    large: Path | None = None


class TokenChild:
    """One process with its models loaded. It answers one order after the other; several threads may ask."""

    def __init__(self, order: Order) -> None:
        """Start it and wait until it is ready. Raises ModelUnavailable, also for a wheel that is not known."""
        why = layout.unavailable()
        if why:
            raise ModelUnavailable(f"model {order.name!r} has no token-level engine: {why}", ids={"model": order.name})
        self.name = order.name
        self._log = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "shuntyard.serving.tokens.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, "GOMP_SPINCOUNT": SPIN},
            text=True,
            encoding="utf-8",
        )
        self._lock = threading.Lock()
        self._ids = 0
        self._waiting: dict[int, queue.SimpleQueue[Event]] = {}
        self._dead = False
        first: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._waiting[0] = first
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        large = str(order.large) if order.large is not None else ""
        self._send({"model": str(order.model), "large": large, "context": order.context, "threads": order.threads})
        event = first.get()
        if "ready" not in event:
            error = self._raised(event)
            self.close()
            raise error

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return not self._dead and self._process.poll() is None

    def ask(self, order: dict[str, Any]) -> Ticket:
        """Send an order; its events come through the ticket. Raises ModelUnavailable when the child is gone."""
        with self._lock:
            self._ids += 1
            number = self._ids
            events: queue.SimpleQueue[Event] = queue.SimpleQueue()
            self._waiting[number] = events
        self._send({"id": number, **order})
        if self._dead:
            events.put(GONE)
        return Ticket(self, number, events)

    def result(self, order: dict[str, Any]) -> dict[str, Any]:
        """Ask, and return what ``done`` holds. Raises as the method does."""
        for event in self.ask(order):
            if "done" in event:
                return dict(event["done"])
        raise AssertionError

    def cancel(self, number: int) -> None:
        """End an order before its next pass; nothing of it comes any more."""
        with self._lock:
            known = self._waiting.pop(number, None)
        if known is not None and self.alive:
            with contextlib.suppress(ModelUnavailable):
                self._send({"cancel": number})

    def close(self) -> None:
        """End the process and wait for it."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._log.close()

    def _send(self, order: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            with self._lock:
                self._process.stdin.write(json.dumps(order) + "\n")
                self._process.stdin.flush()
        except (OSError, ValueError):
            raise self._gone() from None

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as pipe:
            for line in pipe:
                event = json.loads(line)
                number = int(event.get("id", 0))
                with self._lock:
                    events = self._waiting.get(number)
                    if "done" in event or "error" in event or not number:
                        self._waiting.pop(number, None)
                if events is not None:
                    events.put(event)
        self._dead = True
        with self._lock:
            left = list(self._waiting.values())
        for events in left:
            events.put(GONE)

    def _raised(self, event: Event) -> ModelError | UsageError:
        if event is GONE:
            return self._gone()
        error = event["error"]
        return ERRORS.get(error["kind"], ModelUnavailable)(error["message"], ids={"model": self.name})

    def _gone(self) -> ModelUnavailable:
        code = self._process.wait()
        how = signal.Signals(-code).name if code < 0 else f"code {code}"
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().decode(errors="replace").splitlines() if line.strip()]
        said = f": {lines[-1][:200]}" if lines else ""
        return ModelUnavailable(
            f"the token-level engine of {self.name!r} ended ({how}){said}; send the request again.",
            ids={"model": self.name},
        )


class Ticket:
    """The events of one order."""

    def __init__(self, child: TokenChild, number: int, events: queue.SimpleQueue[Event]) -> None:
        """Nothing has come."""
        self._child = child
        self._number = number
        self._events = events

    def next(self) -> Event:
        """Wait for the next event. Raises the method's error, ModelUnavailable when the child has gone."""
        event = self._events.get()
        if event is GONE or "error" in event:
            raise self._child._raised(event)
        return event

    def cancel(self) -> None:
        """Leave; a thread that waits in ``next`` gets an end."""
        self._child.cancel(self._number)
        self._events.put({"done": {"cancelled": True}})

    def __iter__(self) -> Iterator[Event]:
        """Yield events up to ``done``."""
        while True:
            event = self.next()
            yield event
            if "done" in event:
                return
