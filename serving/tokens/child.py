"""The token-level engine's process: one order a line in, events out, until stdin ends.

Run as ``python -m shuntyard.serving.tokens.child``. The first line names the models; the answer is ``{"ready": …}`` or
an error. Every order has an ``id``, its events carry it, and the last holds ``done`` or ``error``. ``{"cancel": ID}``
ends an order before its next pass. llama.cpp can end this process; the caller only sees the pipe close.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from typing import Any

from ...errors import ShuntyardError
from .worker import Worker


class _Cancelled(Exception):
    """The caller has left."""


class _Desk:
    """Orders that wait, and which of them nobody wants any more."""

    def __init__(self) -> None:
        self.orders: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.current = -1
        self._left: set[int] = set()

    def listen(self) -> None:
        """Read stdin; a parent that dies takes this process with it."""
        for line in sys.stdin:
            order = json.loads(line)
            if "cancel" in order:
                self._left.add(order["cancel"])
            else:
                self.orders.put(order)
        os._exit(0)

    def check(self) -> None:
        """Raise when the order at work was cancelled."""
        if self.current in self._left:
            self._left.discard(self.current)
            raise _Cancelled


def main() -> None:
    """Serve until stdin ends."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(event: dict[str, Any]) -> None:
        out.write(json.dumps(event) + "\n")
        out.flush()

    first = json.loads(sys.stdin.readline())
    desk = _Desk()
    threading.Thread(target=desk.listen, daemon=True).start()
    try:
        worker = Worker(first, desk.check)
    except ShuntyardError as error:
        tell(_error(error))
        return
    tell({"ready": {"vocabulary": worker.llama.vocabulary, "trained": worker.llama.trained}})
    while True:
        order = desk.orders.get()
        desk.current = order["id"]
        try:
            for event in worker.answer(order):
                tell({"id": order["id"], **event})
        except _Cancelled:
            worker.tidy()
            tell({"id": order["id"], "done": {"cancelled": True}})
        except ShuntyardError as error:
            worker.tidy()
            tell({"id": order["id"], **_error(error)})


def _error(error: ShuntyardError) -> dict[str, Any]:
    return {"error": {"kind": type(error).__name__, "message": str(error)}}


if __name__ == "__main__":
    main()
