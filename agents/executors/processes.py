"""Worker processes on this machine, for tools that compute.

A pool of our own, because none at hand keeps the promise. ``ProcessPoolExecutor`` fails every call in flight when
one worker dies and cannot end a running call; ``anyio.to_process`` runs the person's main script again in each
worker, keeps its workers to one event loop, lets no event out, and its workers outlive a killed driver until their
call ends; ``multiprocessing`` and ``loky`` run the main script too.

Workers are fresh interpreters (no fork: the driver has threads), each in a session of its own, so that Ctrl-C
reaches the driver alone and a kill reaches what a tool has started as well.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress

import anyio
import anyio.to_thread

from ...errors import UsageError, WorkerDied
from ...protocols import Emit
from .crossing import Call, Outcome, Source
from .wire import pack, receive, send

_START = f"import sys, json; sys.path[:] = json.loads(sys.argv[1]); from {__package__}.worker import main; main()"
_FAREWELL = 2.0
"""Seconds that a worker has to end when it is told to."""


class ProcessWorker:
    """A child process with ``Hands``, reached over a socket pair."""

    def __init__(self) -> None:
        """Start it; it is of use a few tenths of a second later."""
        self.loaded: set[str] = set()
        self._busy = False
        self._wire, theirs = socket.socketpair()
        self._wire.setblocking(False)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, json.dumps([str(place) for place in sys.path])],
                stdin=subprocess.PIPE,
                stdout=theirs.fileno(),
                start_new_session=True,
            )

    @property
    def free(self) -> bool:
        """True while it lives and owes no answer."""
        return not self._busy and self._process.poll() is None

    async def ask(self, request: Source | Call, emit: Emit) -> Outcome:
        """Hand over one request and wait; events of the tool come out as they happen. Raises WorkerDied."""
        data = pack(request)
        self._busy = True
        try:
            await send(self._wire, data)
            while not isinstance(reply := await receive(self._wire), Outcome):
                emit(reply)
        except (EOFError, OSError):
            await self.stop()
            raise WorkerDied(
                f"its worker process {_ended(self._process.returncode)} during the call; "
                "look at what the tool does to its process and how much memory it takes."
            ) from None
        except Exception as error:
            await self.stop()
            raise WorkerDied(
                f"its worker process sent what cannot be read ({error!r:.200}); emit only events from shuntyard.events."
            ) from error
        self._busy = False
        return reply

    async def stop(self) -> None:
        """Kill it and all that its tool started, and return when it is gone."""
        self._kill()
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._process.wait)
        self._close()

    def leave(self) -> None:
        """Hang up: it ends when it has nothing to do."""
        self._wire.close()

    def close(self) -> None:
        """Wait a moment for its end, then kill it."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=0 if self._busy else _FAREWELL)
        self._kill()
        self._process.wait()
        self._close()

    def _kill(self) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()

    def _close(self) -> None:
        self._wire.close()
        if self._process.stdin is not None:
            self._process.stdin.close()


class Processes:
    """A crew of child processes."""

    place = "in a worker process"
    patience = 60.0

    def __init__(self, workers: int = 0) -> None:
        """At most ``workers``; 0 takes the cores that this process may use. Raises UsageError on Windows."""
        if sys.platform == "win32":
            raise UsageError("executor 'processes' needs Linux or macOS; take executor = 'inprocess' or 'ray' here.")
        self._workers = workers

    async def size(self) -> int:
        """As many as was said, or as there are cores."""
        return self._workers or cores()

    async def hire(self) -> ProcessWorker:
        """Start a child."""
        return ProcessWorker()

    def close(self) -> None:
        """Nothing beside the workers."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _ended(code: int) -> str:
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
