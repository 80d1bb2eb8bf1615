"""Local models by name: fetched when missing, their engines started or found warm."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from typing import TypeVar

import anyio
import anyio.to_thread

from ..errors import ModelUnavailable, UnknownName
from ..events import Progress
from ..messages import ModelInfo
from ..protocols import Emit, Model
from ..settings import Settings
from . import fetch, supervise
from .desk import Desk, Leases
from .engine import KV_TYPE
from .local import LocalModel
from .registry import MODELS, LocalEntry, find, is_path
from .schedule.states import StateIdentity, States, fingerprint
from .supervise import EngineSpec, Running
from .tokens.engine import TokenEngine, TokenModel
from .tokens.open import engine_of, info_of

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
        tokens = [info_of(name, model) for name, model in self._settings.models.items() if model.engine]
        return [*(entry.info for entry in MODELS if entry.kind == "generate"), *own, *tokens]

    def installed(self, name: str) -> bool:
        """Tell whether the model's files are there. Raises UnknownName."""
        return fetch.installed(name, self._settings)

    async def open(self, name: str) -> Model:
        """Return the model with its engine warm, fetching and starting what is missing.

        Cancelling stops a download (what came is kept); an engine that is being loaded goes on. A model on the
        token-level engine starts at its first call. Raises UnknownName, ModelUnavailable, DownloadFailed, ModelFileBad,
        StoreUnwritable.
        """
        tokens = self._settings.models.get(name)
        if tokens is not None and tokens.engine:
            if name not in self._engines:
                self._engines[name] = engine_of(name, tokens, self._settings)
            return TokenModel(info_of(name, tokens), self._engines[name])
        info, connection = await self.connect(name)
        desk = await anyio.to_thread.run_sync(partial(self._desk, connection.spec))
        return LocalModel(info, connection, emit=self._emit, desk=desk, reuse=self._settings.reuse_answers)

    async def connect(self, name: str) -> tuple[ModelInfo, Connection]:
        """As ``open``, but return the model's info and what finds its engine for every request."""
        entry = find(name)
        if entry.kind != "generate":
            raise UnknownName("model that answers", name, [info.name for info in self.infos()])
        if find_spec("xllamacpp") is None:
            raise ModelUnavailable(
                f"local model {name!r} needs the engine; run `pip install 'shuntyard[engine]'`.", ids={"model": name}
            )
        what = f"checking {name}" if fetch.installed(name, self._settings) else f"fetching {name}"
        path = (await self._patiently(partial(fetch.ensure, name, self._settings), what))[0]
        spec = supervise.spec_of(name, path, entry.context, self._settings)
        connection = Connection(self, spec)
        engine = await connection(True)
        return entry.info.model_copy(update={"context": min(entry.context, engine.context)}), connection

    def _desk(self, spec: EngineSpec) -> Desk:
        folder = supervise.engines_folder(self._settings)
        most = self._settings.state_mib << 20
        states = None
        if most:
            engine = f"xllamacpp {version('xllamacpp')}"
            identity = StateIdentity(model=fingerprint(spec.model), engine=engine, kv=KV_TYPE)
            states = States(supervise.states_folder(folder), identity, most=most, refused=self._tell)
        return Desk(states=states, leases=Leases(folder, spec.key))

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
        if self._known is None or distrust or not self._known.file.exists():
            self._known = await self._source.start(self.spec)
        self._known.touch()
        return self._known
