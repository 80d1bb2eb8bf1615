"""Engines from the outside: find the warm one, start it when there is none, stop it.

Everything blocks; call it in a thread from async code. The state folder holds, per engine, a port file, two
locks and a log. ``SHUNTYARD_ENGINES`` moves it, which gives a test run engines of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModelUnavailable
from ..settings import Settings, cache
from .knobs.knobs import Knobs, from_settings
from .part import writing

PROTOCOL = 3
"""Part of an engine's key: engines started by an incompatible version are not reused."""
START_SECONDS = 600.0
"""A load slower than this is given up."""

ASKED = 3
"""How often an engine is asked whether it works, when its connection breaks."""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """What an engine is started with; engines of equal specs are one."""

    name: str
    """How people call the model; for messages only."""
    model: Path
    context: int
    knobs: Knobs
    idle_seconds: float = 600.0
    """Of the one who starts it; not part of what is equal."""
    instance: int = 0
    """Which of several engines that are otherwise equal."""
    build: str = ""
    """Folder of an engine of one's own (``kernels``); empty: that of the package."""

    @property
    def key(self) -> str:
        """File name of the engine's state; changes with the model file."""
        state = self.model.stat()
        file = (str(self.model.resolve()), state.st_size, state.st_mtime_ns)
        parts = [PROTOCOL, *file, self.context, self.knobs.order()]
        if self.build:
            from .kernels import name_of

            # A build that was made again is another engine.
            parts += [self.instance, name_of(self.build)]
        elif self.instance:
            parts += [self.instance, ""]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Running:
    """An engine that answers."""

    key: str
    name: str
    model: str
    url: str
    token: str
    context: int
    pid: int
    """Of its watchdog."""
    engine_pid: int
    started: float
    file: Path

    def touch(self) -> bool:
        """Note that it is used now, and will not be stopped as idle; False when it is no more to be found."""
        try:
            os.utime(self.file)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            # A file that is not ours to touch, or a disk that takes nothing: the engine is there.
            return True
        return True


def engines_folder(settings: Settings) -> Path:
    """Return the folder of engine state."""
    elsewhere = os.environ.get("SHUNTYARD_ENGINES")
    return Path(elsewhere).absolute() if elsewhere else cache(settings) / "engines"


def states_folder(folder: Path) -> Path:
    """Return the folder of saved prompt states of the engines in ``folder``, made when it is not there."""
    states = folder / "states"
    with writing(states):
        states.mkdir(parents=True, exist_ok=True, mode=0o700)
    return states


def spec_of(name: str, model: Path, context: int, settings: Settings, *, knobs: Knobs | None = None) -> EngineSpec:
    """Return what the engine of ``model`` is started with under ``settings``; ``knobs``, where given, go before."""
    return EngineSpec(name, model, context, knobs or from_settings(settings), settings.idle_minutes * 60)


def peek(folder: Path, key: str) -> Running | None:
    """Return what the port file says; it may be out of date."""
    path = folder / f"{key}.json"
    try:
        seen: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Running(
            key=key,
            name=seen["name"],
            model=seen["model"],
            url=seen["url"],
            token=seen["token"],
            context=seen["context"],
            pid=seen["pid"],
            engine_pid=seen["engine_pid"],
            started=seen["started"],
            file=path,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def start(folder: Path, spec: EngineSpec, *, on_wait: Callable[[float], None] | None = None) -> Running:
    """Return the running engine of ``spec``, starting it when there is none.

    ``on_wait`` is called with the seconds waited, several times a second; it may raise to give up (an engine
    that is being loaded goes on and the next command finds it). Raises ModelUnavailable.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    wait = _Wait(on_wait or (lambda seconds: None), spec)
    key = spec.key
    with _start_lock(folder, key, wait):
        spawned = False
        while True:
            # A port file without an owner may point at a stranger; an owner without engine may still be ending.
            owned = _owned(folder, key)
            found = peek(folder, key)
            if owned and found is not None and _answers(found):
                found.touch()
                return found
            if not owned:
                if spawned:
                    raise _failed(folder, key, spec)
                _forget(folder, key)
                _spawn(folder, key, spec)
                spawned = True
            wait.tick()


def running(settings: Settings) -> list[Running]:
    """Return every engine that answers now."""
    folder = engines_folder(settings)
    keys = sorted(path.stem for path in folder.glob("*.json"))
    found = [engine for key in keys if (engine := peek(folder, key)) is not None and _owned(folder, key)]
    return [engine for engine in found if _answers(engine)]


def stop(settings: Settings, name: str = "") -> list[str]:
    """Stop the engines of model ``name`` (or of that file), or all, and return the names of those stopped.

    One that is still being loaded is stopped too. Returns when they are gone.
    """
    folder = engines_folder(settings)
    stopped: list[str] = []
    for path in sorted(folder.glob("*.owner")):
        key = path.stem
        if not _owned(folder, key):
            _forget(folder, key)
            continue
        known = _order(folder, key)
        if name and name not in (known.get("name"), known.get("model")):
            continue
        _end(folder, key, int(known.get("pid", 0)))
        stopped.append(str(known.get("name", key)))
    return stopped


def retire(engine: Running) -> bool:
    """Stop ``engine`` and return when it is gone; False, and nothing done, while it generates for anybody."""
    import httpx

    headers = {"Authorization": f"Bearer {engine.token}"}
    for _ in range(ASKED):
        try:
            slots = httpx.get(f"{engine.url}/slots", headers=headers, timeout=30.0, trust_env=False).json()
            if any(slot["is_processing"] for slot in slots):
                return False
            break
        except (httpx.ConnectError, httpx.TimeoutException):
            # One that does not answer is of no use to anybody.
            break
        except (httpx.HTTPError, ValueError, TypeError, KeyError):
            # A connection that broke says nothing of the engine behind it.
            continue
    _end(engine.file.parent, engine.key, engine.pid)
    return True


class _Wait:
    def __init__(self, told: Callable[[float], None], spec: EngineSpec) -> None:
        self._told = told
        self._spec = spec
        self._begin = time.monotonic()

    def tick(self) -> None:
        waited = time.monotonic() - self._begin
        if waited > START_SECONDS:
            raise ModelUnavailable(
                f"the engine of {self._spec.name!r} did not start in {START_SECONDS:.0f} s; "
                "run `shuntyard models stop` and try again."
            )
        self._told(waited)
        time.sleep(0.05)


@contextmanager
def _start_lock(folder: Path, key: str, wait: _Wait) -> Iterator[None]:
    from filelock import Timeout

    from .watchdog import start_lock

    lock = start_lock(folder, key)
    while True:
        try:
            lock.acquire(timeout=0)
            break
        except Timeout:
            wait.tick()
    try:
        yield
    finally:
        lock.release()


def _owned(folder: Path, key: str) -> bool:
    from filelock import Timeout

    from .watchdog import owner_lock

    lock = owner_lock(folder, key)
    try:
        # Not at once: another process may be asking the same and hold the lock for a moment.
        lock.acquire(timeout=0.05, poll_interval=0.01)
    except Timeout:
        return True
    lock.release()
    return False


def _spawn(folder: Path, key: str, spec: EngineSpec) -> None:
    """Start a watchdog; when this returns it holds its lock, or has failed."""
    order = {
        "folder": str(folder),
        "key": key,
        "name": spec.name,
        "model": str(spec.model),
        "context": spec.context,
        "threads": spec.knobs.threads,
        "knobs": spec.knobs.order(),
        "idle": spec.idle_seconds,
        "states": str(states_folder(folder)),
        "build": spec.build,
    }
    with writing(folder), (folder / f"{key}.log").open("wb") as log:
        subprocess.run(
            [sys.executable, "-P", "-m", "shuntyard.serving.watchdog"],
            input=json.dumps(order).encode() + b"\n",
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
            check=False,
        )


def _order(folder: Path, key: str) -> dict[str, Any]:
    known = peek(folder, key)
    if known is not None:
        return {"name": known.name, "pid": known.pid, "model": known.model}
    try:
        return dict(json.loads((folder / f"{key}.order").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _end(folder: Path, key: str, pid: int) -> None:
    """End the watchdog ``pid``; the lock it holds proves that the number is still its own."""
    for sign, patience in ((signal.SIGTERM, 10.0), (getattr(signal, "SIGKILL", signal.SIGTERM), 10.0)):
        end = time.monotonic() + patience
        if pid:
            try:
                os.kill(pid, sign)
            except OSError:
                break
        while time.monotonic() < end:
            if not _owned(folder, key):
                _forget(folder, key)
                return
            time.sleep(0.02)


def _forget(folder: Path, key: str) -> None:
    for suffix in (".json", ".tmp", ".order"):
        (folder / f"{key}{suffix}").unlink(missing_ok=True)


def _answers(engine: Running) -> bool:
    import httpx

    try:
        return httpx.get(f"{engine.url}/health", timeout=5.0, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _failed(folder: Path, key: str, spec: EngineSpec) -> ModelUnavailable:
    path = folder / f"{key}.log"
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        lines = []
    reason = next((line for line in reversed(lines) if line), "it left no message")[:300]
    return ModelUnavailable(
        f"the engine of {spec.name!r} did not start: {reason} (log: {str(path)!r}); "
        f"check that {str(spec.model)!r} is a model this engine can load.",
        ids={"model": spec.name},
    )
