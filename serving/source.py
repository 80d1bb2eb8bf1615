"""Local models by name: fetched when missing, their engines started or found warm."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.to_thread

from ..errors import ModelUnavailable
from ..events import Progress
from ..messages import ModelInfo
from ..protocols import Emit, Model
from ..settings import Settings
from . import fetch, kernels, supervise
from .desk import Desk
from .knobs import profiles
from .knobs.knobs import Knobs, threads_of
from .leases import Leases
from .local import LocalModel
from .predict.host import PaceStore
from .predict.slots import with_slots
from .predict.watch import Watch
from .predict.work import setup_of
from .registry import MODELS, LocalEntry, find_answering, is_path
from .schedule.dispatch import Order
from .schedule.states import StateIdentity, States, fingerprint
from .supervise import EngineSpec, Running

if TYPE_CHECKING:
    from .fleet.fleet import Fleet
    from .knobs.speculating import Heard
    from .tokens.engine import TokenEngine

T = TypeVar("T")

TOLD = 0.5
"""Seconds between two Progress events of one piece of work."""


class LocalSource:
    """The registered models, and any GGUF file by its path. ``emit`` receives Progress (with an empty run)."""

    def __init__(self, settings: Settings, emit: Emit | None = None) -> None:
        """Nothing is read or started."""
        self._settings = settings
        self._emit = emit
        self._engines: dict[str, TokenEngine] = {}

    def infos(self) -> Sequence[ModelInfo]:
        """Registered models that answer requests, and GGUF paths that the settings name; any other opens too."""
        asked = dict.fromkeys(name for name in (self._settings.model, *self._settings.fallback) if is_path(name))
        own = [LocalEntry(name=name, kind="generate", licence="unknown").info for name in asked]
        tokens: list[ModelInfo] = []
        if any(model.engine for model in self._settings.models.values()):
            from .tokens.open import info_of

            tokens = [info_of(name, model) for name, model in self._settings.models.items() if model.engine]
        return [*(entry.info for entry in MODELS if entry.kind == "generate"), *own, *tokens]

    def installed(self, name: str) -> bool:
        """Tell whether the model's files are there. Raises UnknownName."""
        tokens = self._settings.models.get(name)
        file = tokens.model if tokens is not None and tokens.engine else name
        return fetch.installed(file, self._settings)

    async def open(self, name: str) -> Model:
        """Return the model with its engine warm, fetching and starting what is missing.

        Cancelling stops a download (what came is kept); an engine that is being loaded goes on. A model on the
        token-level engine starts at its first call. Raises UnknownName, UsageError, ModelUnavailable, DownloadFailed,
        ModelFileBad, StoreUnwritable, SettingsInvalid.
        """
        tokens = self._settings.models.get(name)
        if tokens is not None and tokens.engine:
            from .tokens.engine import TokenModel
            from .tokens.open import engine_of, info_of

            if name not in self._engines:
                self._engines[name] = engine_of(name, tokens, self._settings)
            return TokenModel(info_of(name, tokens), self._engines[name])
        info, connection = await self.connect(name)
        if self._settings.fleet.instances > 1:
            return await self.fleet(info, connection)
        if self._settings.engine.speculation != "auto":
            return await self._on(info, connection)
        from .knobs.speculating import SpeculatingModel, hear, kept
        from .knobs.switch import GUESSES, Way

        spec = connection.spec
        switch, keep = await anyio.to_thread.run_sync(partial(kept, spec.model, self._settings))

        async def guessing(way: Way) -> Model:
            knobs = spec.knobs.model_copy(update={"speculation": "ngram_mod", "guess": GUESSES[way]})
            return await self._on(info, Connection(self, replace(spec, knobs=knobs)), hear(switch, way=way, keep=keep))

        plain = await self._on(info, connection, hear(switch, way="off", keep=keep))
        return SpeculatingModel(plain, guessing, switch)

    async def _on(self, info: ModelInfo, connection: Connection, heard: Heard | None = None) -> LocalModel:
        desk = await self.desk(connection)
        desk.watch = self._watch(connection.spec)
        return LocalModel(
            info,
            connection,
            emit=self._emit,
            desk=desk,
            reuse=self._settings.reuse_answers,
            heard=heard,
            long=self._settings.long_inputs,
        )

    async def connect(self, name: str) -> tuple[ModelInfo, Connection]:
        """As ``open``, but return the model's info and what finds its engine for every request."""
        entry = find_answering(name)
        if find_spec("xllamacpp") is None:
            raise ModelUnavailable(
                f"local model {name!r} needs the engine; run `pip install 'shuntyard[engine]'`.", ids={"model": name}
            )
        what = f"checking {name}" if fetch.installed(name, self._settings) else f"fetching {name}"
        path = (await self._patiently(partial(fetch.ensure, name, self._settings), what))[0]
        build = await self._build(path)
        knobs = await self._knobs(name, path)
        knobs = knobs.model_copy(update={"threads": max(1, knobs.threads // self._settings.fleet.instances)})
        knobs = await anyio.to_thread.run_sync(partial(with_slots, knobs, path, entry.context, self._settings))
        spec = supervise.spec_of(name, path, entry.context, self._settings, knobs=knobs)
        spec = replace(spec, build=build)
        connection = Connection(self, spec)
        engine = await connection(True)
        return entry.info.model_copy(update={"context": min(entry.context, engine.context)}), connection

    async def _build(self, weights: Path) -> str:
        """Return the folder of the engine of one's own that the settings name, once it has proved itself, or ""."""
        if self._settings.engine_path is None:
            return ""

        def work(*, on_progress: Callable[[float, float], None]) -> str:
            return build_of(weights, self._settings, self._tell)

        return await self._patiently(work, "checking the engine of engine_path")

    async def _knobs(self, name: str, weights: Path) -> Knobs:
        """Return what the engine is started with; a KV type goes through its gate first."""
        draft = None
        if self._settings.engine.draft:
            what = f"checking {self._settings.engine.draft}"
            draft = (await self._patiently(partial(fetch.ensure, self._settings.engine.draft, self._settings), what))[0]
        choose = partial(profiles.chosen, weights, self._settings, draft=draft, tell=self._tell)
        knobs = await anyio.to_thread.run_sync(choose)
        if knobs.small:
            from .knobs import gate

            what = f"comparing {name} with KV types {knobs.kv} and f16"
            await self._patiently(partial(gate.ensure, weights, knobs, self._settings), what)
        return knobs

    async def fleet(self, info: ModelInfo, first: Connection) -> Fleet:
        """Return the model behind several engines, all of them started."""
        from .fleet.fleet import Fleet, Options
        from .fleet.member import Member
        from .fleet.policy import UrgentFirst

        settings = self._settings.fleet
        members = []
        for instance in range(settings.instances):
            connection = first if not instance else Connection(self, replace(first.spec, instance=instance))
            if instance:
                await connection(True)
            desk = await self.desk(connection, order=UrgentFirst(settings.urgent))
            role = settings.roles[instance] if settings.roles else "mixed"
            members.append(Member(info, connection, desk=desk, slots=first.spec.knobs.slots, role=role))
        return Fleet(
            info,
            members,
            emit=self._emit,
            reuse=self._settings.reuse_answers,
            options=Options(migrate=settings.migrate, urgent=settings.urgent, long=self._settings.long_inputs),
        )

    async def desk(self, connection: Connection, *, order: Order | None = None) -> Desk:
        """Return what calls to the engine of ``connection`` share in this process; one for all who call it."""
        return await anyio.to_thread.run_sync(partial(self._desk, connection.spec, order=order))

    def _desk(self, spec: EngineSpec, *, order: Order | None = None) -> Desk:
        folder = supervise.engines_folder(self._settings)
        most = self._settings.state_mib << 20
        states = None
        if most:
            engine = kernels.name_of(spec.build)
            identity = StateIdentity(model=fingerprint(spec.model), engine=engine, kv=spec.knobs.kv)
            states = States(supervise.states_folder(folder), identity, most=most, refused=self._tell)
        slots, leases = spec.knobs.slots, Leases(folder, spec.key, spec.knobs.slots)
        return Desk(slots=slots, states=states, leases=leases, order=order, piece=spec.knobs.batch)

    def _watch(self, spec: EngineSpec) -> Watch | None:
        """Return what learns from an agent's calls. A server's calls are not watched: seldom is one alone."""
        if spec.knobs.speculation != "off" or spec.build:
            # The constants are the package's engine's, and they know no guesses.
            return None
        setup = setup_of(spec.context, spec.knobs)
        return Watch(PaceStore.of(self._settings, setup), spec.model, setup)

    def _tell(self, what: str) -> None:
        if self._emit is not None:
            self._emit(Progress(run="", at=time.time(), what=what))

    async def start(self, spec: EngineSpec) -> Running:
        """Return the engine of ``spec``, warm or started, with signs of life. Raises ModelUnavailable."""

        def work(*, on_progress: Callable[[float, float], None]) -> Running:
            folder = supervise.engines_folder(self._settings)
            return supervise.start(folder, spec, on_wait=lambda seconds: on_progress(seconds, 0))

        return await self._patiently(work, f"loading {spec.name}")

    async def _patiently(self, work: Callable[..., T], what: str) -> T:
        """Run blocking ``work`` in a thread, with a sign of life twice a second; cancelling ends it."""
        left = threading.Event()
        known = [0.0, 0.0]

        def on_progress(done: float, total: float) -> None:
            if left.is_set():
                raise _Left
            known[:] = done, total

        async def show() -> None:
            while self._emit is not None:
                await anyio.sleep(TOLD)
                self._emit(Progress(run="", at=time.time(), what=what, done=known[0], total=known[1]))

        failure: Exception | None = None
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(show)
                try:
                    return await anyio.to_thread.run_sync(
                        partial(work, on_progress=on_progress), abandon_on_cancel=True
                    )
                except Exception as error:
                    # Kept out of the task group, which would wrap it.
                    failure = error
                finally:
                    group.cancel_scope.cancel()
        finally:
            left.set()
        raise failure or AssertionError


def build_of(weights: Path, settings: Settings, tell: Callable[[str], None]) -> str:
    """Return the folder of the engine of one's own that runs ``weights`` under ``settings``, or "" (the package's).

    Blocks, for minutes where the build has to prove itself first; ``tell`` is told when it does not. Raises
    SettingsInvalid.
    """
    if settings.engine_path is None:
        return ""
    folder, threads = supervise.engines_folder(settings), threads_of(settings)
    return kernels.usable(settings.engine_path, weights, folder, threads=threads, tell=tell)


class _Left(Exception):
    """Nobody waits any more; ends a worker thread."""


class Connection:
    """Finds the engine of a spec for every request: from memory, or through the lock when that is out of date."""

    def __init__(self, source: LocalSource, spec: EngineSpec) -> None:
        """Nothing is started yet."""
        self.spec = spec
        self._source = source
        self._known: Running | None = None

    async def __call__(self, distrust: bool) -> Running:
        """Return the engine, started where it is not; ``distrust`` forgets what was known of it."""
        if self._known is None or distrust or not self._known.touch():
            self._known = await self._source.start(self.spec)
        return self._known
