"""Workers on a Ray cluster: Ray places and runs them, the scheduler and the journal stay ours.

Each worker is an actor with one CPU that loads the tools once and does one call at a time. It is never restarted
or retried by Ray, which knows nothing of effects: a dead one is a failure of its call, and the node's policy
decides. Actors belong to the driver, and end with it.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import re
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from ...errors import SettingsInvalid, UsageError, WorkerDied
from ...protocols import Emit
from .crossing import Call, Outcome, Source
from .hands import Hands

if TYPE_CHECKING:
    from ...events import Event


_ADDRESS = re.compile(r"(?:auto|(?:ray://)?(?P<host>[^\s/]+):(?P<port>\d+))?")
_FAREWELL = 30.0
"""Seconds that a local cluster has to end."""


class Actor:
    """``Hands`` behind Ray; events of a call come back with its outcome."""

    def __init__(self) -> None:
        """Nothing is loaded yet."""
        self._hands = Hands()

    def do(self, request: Source | Call) -> tuple[Outcome, list[Event]]:
        """Do it."""
        events: list[Event] = []
        return self._hands.do(request, events.append), events


class RayWorker:
    """An actor, reached through Ray."""

    def __init__(self, ray: Any, actor: Any) -> None:
        """Take an actor that may still be starting."""
        self.loaded: set[str] = set()
        self._ray = ray
        self._actor = actor
        self._busy = False
        self._gone = False

    @property
    def free(self) -> bool:
        """True while it owes no answer. That it died unasked shows at its next call."""
        return not self._busy and not self._gone

    async def ask(self, request: Source | Call, emit: Emit) -> Outcome:
        """Hand over one request and wait. Raises WorkerDied."""
        self._busy = True
        try:
            answer: asyncio.Future[tuple[Outcome, list[Event]]] = asyncio.wrap_future(
                self._actor.do.remote(request).future()
            )
            answer.add_done_callback(_heard)
            # Ray's client stumbles over a future that was cancelled here; the actor is killed instead.
            outcome, events = await asyncio.shield(answer)
        except (self._ray.exceptions.RayError, ConnectionError) as error:
            # Whatever it was, nobody knows how far the call came.
            await self.stop()
            raise WorkerDied(
                f"its worker on Ray ended during the call: {_first_line(error)}; "
                "look into Ray's logs, and whether Shuntyard and the tool's module are on every node."
            ) from error
        self._busy = False
        for event in events:
            emit(event)
        return outcome

    async def stop(self) -> None:
        """Kill its process."""
        self.close()

    def leave(self) -> None:
        """Nothing: ``close`` is quick."""

    def close(self) -> None:
        """Kill its process; Ray sees to it in the background."""
        if not self._gone:
            self._gone = True
            with suppress(Exception):  # without a cluster there is no actor either
                self._ray.kill(self._actor, no_restart=True)


class Ray:
    """A crew of actors. The first that is hired connects, or starts a cluster on this machine."""

    place = "in a worker on the Ray cluster"
    patience = 300.0

    def __init__(self, address: str = "", *, workers: int = 0) -> None:
        """At most ``workers``; 0 takes the CPUs of the cluster.

        Raises SettingsInvalid for an address that is none, UsageError when Ray is not installed.
        """
        if not _ADDRESS.fullmatch(address):
            raise SettingsInvalid(
                f"ray_address = {address!r} is no address; write auto, HOST:PORT or ray://HOST:PORT, or leave it out."
            )
        if importlib.util.find_spec("ray") is None:
            raise UsageError("executor 'ray' needs the package ray; install it with: pip install 'shuntyard[ray]'")
        self._workers = workers
        self._link = _Link(address)

    async def size(self) -> int:
        """As many as was said, or as the cluster has CPUs now."""
        ray = await self._link.connect()
        resources = await anyio.to_thread.run_sync(ray.cluster_resources)
        return self._workers or max(1, int(resources.get("CPU", 1)))

    async def hire(self) -> RayWorker:
        """Ask for an actor; Ray starts it as soon as a CPU is free."""
        ray = await self._link.connect()
        remote = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(Actor)
        return RayWorker(ray, await anyio.to_thread.run_sync(remote.remote))

    def close(self) -> None:
        """Disconnect, and end the cluster if it was started here; a connection that was there before stays."""
        self._link.close()


class _Link:
    """The connection, made and ended by one thread.

    What Ray starts on this machine is bound to the thread that started it: with a pool thread, which ends when
    it is idle, the cluster would go too.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._opening = threading.Lock()
        self._thread: threading.Thread | None = None
        self._open = threading.Event()
        self._end = threading.Event()
        self._ray: Any = None
        self._error: Exception | None = None

    async def connect(self) -> Any:
        """Return the connected module."""
        with self._opening:
            if self._thread is None:
                self._thread = threading.Thread(target=self._hold, name="shuntyard-ray", daemon=True)
                self._thread.start()
        if not self._open.is_set():
            await anyio.to_thread.run_sync(self._open.wait, abandon_on_cancel=True)
        if self._error is not None:
            where = repr(self._address) if self._address else "on this machine"
            raise UsageError(
                f"no Ray cluster {where}: {_first_line(self._error)}; set ray_address to auto, HOST:PORT or "
                "ray://HOST:PORT (and RAY_AUTH_MODE=token where it asks for one), or leave it out to start one here."
            )
        return self._ray

    def close(self) -> None:
        """Undo what ``connect`` did; a connection that is still being made is undone when it stands."""
        self._end.set()
        if self._thread is not None:
            self._thread.join(timeout=_FAREWELL if self._open.is_set() else 0)

    def _hold(self) -> None:
        try:
            import ray

            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            mine = not ray.is_initialized()
            if mine:
                _reach(self._address)
                ray.init(
                    address=self._address or "local",
                    include_dashboard=False,
                    # Prints of tools would end up among the results on stdout; they are in Ray's logs.
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
            self._ray = ray
        except Exception as error:
            self._error = error
            return
        finally:
            self._open.set()
        self._end.wait()
        if mine:
            ray.shutdown()


def _reach(address: str) -> None:
    """Raise OSError when nobody listens there: Ray itself would try for minutes, and let nothing else run."""
    found = _ADDRESS.fullmatch(address)
    if found is not None and found["host"]:
        socket.create_connection((found["host"].strip("[]"), int(found["port"])), timeout=10).close()


def _heard(answer: asyncio.Future[Any]) -> None:
    """Look at an error that nobody waits for any more, or asyncio complains."""
    if not answer.cancelled():
        answer.exception()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
