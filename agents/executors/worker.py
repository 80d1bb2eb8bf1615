"""What a worker process runs: started by ``processes.py``, never imported by the driver.

Its stdin is a lifeline that carries nothing and closes when the driver is gone, however the driver ended; its
stdout is the socket to the driver. What tools print goes to the driver's stderr.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from .hands import Hands
from .wire import pack, take


def main() -> None:
    """Serve until the driver hangs up."""
    line, wire = os.dup(0), socket.socket(fileno=os.dup(1))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    die_with(line)
    tell = _teller(wire)

    def emit(event: object) -> None:
        # An event is worth less than the call: one that cannot cross is dropped.
        with suppress(Exception):
            tell(event)

    hands = Hands()
    with suppress(EOFError, ConnectionError):
        while True:
            tell(hands.do(take(wire), emit))
    hands.close()


def _teller(wire: socket.socket) -> Callable[[Any], None]:
    """Return a ``send`` for all threads of this process."""
    lock = threading.Lock()

    def tell(item: Any) -> None:
        data = pack(item)
        with lock:
            wire.sendall(data)

    return tell


def die_with(line: int) -> None:
    """End this process group as soon as the other end of ``line`` is closed.

    A thread sees to it. On Linux the kernel does too, since a thread waits for ever behind a tool in C code
    that never lets go of the interpreter's lock.
    """
    if sys.platform == "linux":
        import fcntl

        fcntl.fcntl(line, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(line, fcntl.F_SETFL, fcntl.fcntl(line, fcntl.F_GETFL) | os.O_ASYNC)

    def wait() -> None:
        os.read(line, 1)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, name="shuntyard-lifeline", daemon=True).start()
