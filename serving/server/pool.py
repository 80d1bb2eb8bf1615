"""Which models are offered, and which are loaded: on demand, the least recently used leaving first."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from ...errors import ModelUnavailable, ServerBusy, ShuntyardError, UnknownName
from ...settings import Settings
from .. import fetch, supervise
from ..desk import Desk
from ..engines import CHILD, Capabilities, Engine
from ..fleet.served import FleetEngine
from ..joined import DeskEngine
from ..predict.slots import more_bytes
from ..registry import MODELS, LocalEntry, find
from ..source import LocalSource
from ..supervise import Running
from ..tokens.open import engine_of, info_of
from ..upstream import Address, HttpEngine, url_engine
from .answers import ModelRow

MIB = 1024 * 1024
SHARE = 0.75
"""Of the machine's memory, for engines, when no budget is set."""
FACTOR, BASE = 1.3, 256 * MIB
"""What an engine is taken to need before it was ever measured: weights and a part repacked, KV and buffers."""


@dataclass(slots=True)
class Resident:
    """A loaded model."""

    engine: Engine
    running: list[Running] = field(default_factory=list)
    """Its processes, of a fleet one per instance; none behind a URL."""
    users: int = 0
    used: float = field(default_factory=time.monotonic)


class Pool:
    """The models of one server.

    Engines are shared with every other command on this machine, so none is stopped when the server ends; they go
    when idle. To make room, one is stopped that nobody uses, here or elsewhere.
    """

    def __init__(self, settings: Settings, *, measure: Callable[[int], int] | None = None) -> None:
        """Nothing is loaded. ``measure`` returns the resident bytes of a process."""
        self._settings = settings
        self._source = LocalSource(settings)
        self._measure = measure or resident_bytes
        self._budget = settings.serve.memory_mib * MIB or int(memory_bytes() * SHARE)
        self._residents: dict[str, Resident] = {}
        self._known: dict[str, int] = {}
        self._loading = anyio.Lock()
        self._coming: dict[str, asyncio.Task[None]] = {}

    @property
    def resident(self) -> tuple[str, ...]:
        """Names of loaded models."""
        return tuple(self._residents)

    def names(self) -> list[str]:
        """Every model that is offered."""
        models = self._settings.models.items()
        remote = [name for name, model in models if model.engine or (model.url and not model.key_env)]
        local = [entry.name for entry in MODELS if entry.kind == "generate"]
        return list(self._settings.serve.models) or [*local, *remote]

    def default(self) -> str:
        """The model of a request that names none: the settings', else the first that is there."""
        offered = self.names()
        if self._settings.model in offered:
            return self._settings.model
        return next((name for name in offered if self._installed(name)), offered[0])

    def rows(self) -> tuple[ModelRow, ...]:
        """What ``/v1/models`` tells."""
        return tuple(self._row(name) for name in self.names())

    @asynccontextmanager
    async def using(self, name: str) -> AsyncIterator[Engine]:
        """Lend the engine of ``name``, loading it first when it is not; it is not evicted meanwhile.

        Raises UnknownName, ModelUnavailable (not installed, not reachable), ServerBusy when models in use leave no
        room for it.
        """
        resident = self._residents.get(name) or await self._load(name)
        resident.users += 1
        try:
            yield resident.engine
        finally:
            resident.users -= 1
            resident.used = time.monotonic()

    def known(self, name: str, field: str = "model") -> None:
        """Raise UnknownName when ``name``, which ``field`` of a request asks for, is not offered."""
        offered = self.names()
        if name not in offered:
            raise UnknownName("model", name, offered, mend="GET /v1/models lists what is served.", param=field)

    def prefetch(self, name: str) -> None:
        """Load ``name`` in the background, because it is asked next; no model in use is evicted for it.

        Where that fails, the request that comes for it is told why.
        """
        if name not in self._residents and name not in self._coming:
            self._coming[name] = asyncio.ensure_future(self._fetched(name))

    async def _fetched(self, name: str) -> None:
        try:
            with suppress(ShuntyardError):
                await self._load(name)
        finally:
            del self._coming[name]

    async def close(self) -> None:
        """Let go of every connection."""
        for task in self._coming.values():
            task.cancel()
        for resident in self._residents.values():
            await resident.engine.close()
        self._residents.clear()

    def bytes(self) -> dict[str, int]:
        """Resident bytes of every loaded local model, measured now."""
        return {name: self._needs(name) for name, item in self._residents.items() if item.running}

    def fleets(self) -> dict[str, FleetEngine]:
        """Loaded models that several engines answer for."""
        engines = {name: item.engine for name, item in self._residents.items()}
        return {name: engine for name, engine in engines.items() if isinstance(engine, FleetEngine)}

    async def _load(self, name: str) -> Resident:
        self.known(name)
        async with self._loading:
            if name in self._residents:
                return self._residents[name]
            remote = self._settings.models.get(name)
            if remote is not None and remote.engine:
                loaded = Resident(engine_of(name, remote, self._settings))
            elif remote is not None:
                loaded = Resident(await url_engine(name, remote, interval=self._settings.serve.stream_interval))
            else:
                loaded = await self._load_local(name)
            self._residents[name] = loaded
            return loaded

    async def _load_local(self, name: str) -> Resident:
        if not self._installed(name):
            raise ModelUnavailable(
                f"model {name!r} is not installed; run `shuntyard models pull {name}`.", ids={"model": name}
            )
        await self._make_room(name)
        info, connect = await self._source.connect(name)
        if self._settings.fleet.instances == 1:
            desk = await self._source.desk(connect)
            return Resident(self._joined(name, info.context, connect, desk), [await connect(False)])
        fleet = await self._source.fleet(info, connect)
        engines = [self._joined(name, info.context, member._connect, member.desk) for member in fleet.members]
        return Resident(FleetEngine(fleet, engines), [await member._connect(False) for member in fleet.members])

    def _joined(self, name: str, context: int, connect: Callable[[bool], Awaitable[Running]], desk: Desk) -> DeskEngine:
        async def where(distrust: bool) -> Address:
            running = await connect(distrust)
            return Address(running.url, running.token)

        slots = {"n": desk.size, "slots": desk.size}
        can = CHILD.model_copy(update={"context": context, **slots})
        http = HttpEngine(name, where, can, interval=self._settings.serve.stream_interval)
        return DeskEngine(http, connect, desk, reuse=self._settings.reuse_answers)

    async def _make_room(self, name: str) -> None:
        """Evict until ``name`` fits the budget beside the rest."""
        entry = find(name)
        weights = entry.path.stat().st_size if entry.path is not None else entry.bytes
        more = partial(more_bytes, fetch.path_of(entry, self._settings), entry.context, self._settings)
        needs = self._known.get(name) or (
            (int(weights * FACTOR) + BASE) * self._settings.fleet.instances + await anyio.to_thread.run_sync(more)
        )
        if needs > self._budget:
            raise ModelUnavailable(
                f"model {name!r} needs about {needs // MIB} MiB, and engines may have {self._budget // MIB} MiB; "
                "raise memory_mib under [serve].",
                ids={"model": name},
            )
        while needs + sum(self.bytes().values()) > self._budget:
            if not await self._evict():
                raise ServerBusy(f"no memory for {name!r} while other models are in use; try again later.", after=5.0)

    async def _evict(self) -> bool:
        idle = [(item.used, name) for name, item in self._residents.items() if item.running and not item.users]
        for _, name in sorted(idle):
            resident = self._residents.pop(name)
            if await anyio.to_thread.run_sync(partial(_retired, tuple(resident.running))):
                await resident.engine.close()
                return True
            # Another command is using it.
            self._residents[name] = resident
        return False

    def _needs(self, name: str) -> int:
        measured = sum(self._measure(_now(running).engine_pid) for running in self._residents[name].running)
        if measured:
            self._known[name] = measured
        return measured or self._known.get(name, 0)

    def _entry(self, name: str) -> LocalEntry | None:
        return None if name in self._settings.models else find(name)

    def _installed(self, name: str) -> bool:
        return name in self._settings.models or fetch.installed(name, self._settings)

    def _offered(self, loaded: Resident) -> Capabilities:
        """What clients can have of it: what its engine can do, and what this server makes of that."""
        can = loaded.engine.capabilities
        return can.model_copy(
            update={
                "tool_choice": can.tool_choice or (can.grammar and can.render),
                "json_schema": can.json_schema or can.grammar,
                "save_restore": can.save_restore or bool(loaded.running and self._settings.state_mib),
            }
        )

    def _row(self, name: str) -> ModelRow:
        entry, loaded = self._entry(name), self._residents.get(name)
        remote = self._settings.models.get(name)
        context = remote.context if remote is not None else find(name).context
        if remote is not None and remote.engine:
            context = info_of(name, remote).context
        return ModelRow(
            id=name,
            owned_by="shuntyard" if entry is not None else "remote",
            context=context,
            resident=loaded is not None,
            installed=self._installed(name),
            capabilities=self._offered(loaded) if loaded is not None else None,
        )


def _retired(engines: Sequence[Running]) -> bool:
    """Stop ``engines``; False when one of them works for anybody. Those before it are started again when asked."""
    return all(supervise.retire(_now(engine)) for engine in engines)


def _now(running: Running) -> Running:
    """The engine that was ``running``, which may have been started anew since."""
    return supervise.peek(running.file.parent, running.key) or running


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process; 0 where the system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def memory_bytes() -> int:
    """Return the machine's memory; 16 GiB where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 16 * 1024 * MIB
