"""Saved prompt states (KV) on disk: found by prompt, valid for one model, one engine and one KV type only.

A state is two files, the engine's (``.kv``) and a note about it (``.json``), written last. The engine believes
any bytes of the right shape and then writes nonsense, so the note has the file's hash, and a file that differs is
removed and its prompt computed anew. The folder holds whole prompts: only its owner may enter.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from ...errors import StateRefused
from ...messages import Frozen
from .warmth import shared
from .worth import Speeds, credit

_STALE = 600.0
"""Seconds after which a file without a note is what a killed writer left."""
_EDGE = 1 << 20
_LEVEL = "level"
_DATES = 1e9
"""Times of files from which on they are dates; below, they are credits."""


class StateIdentity(Frozen):
    """What a state must have been computed by to be of any use."""

    model: str
    """Hash of the model file, which fixes its quantisation too."""
    engine: str
    """Name and version."""
    kv: str
    """Types of keys and values."""

    @property
    def key(self) -> str:
        """Begins the name of every file."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


class SavedState(Frozen):
    """The note beside a state."""

    identity: StateIdentity
    name: str
    """Of the engine's file."""
    prompt: str
    """Its tokens (``warmth.packed``) in base64."""
    count: int
    """Tokens in the file; perhaps more than those of the prompt."""
    size: int
    """Bytes of the engine's file."""
    sha256: str
    """Of the same."""
    gain: float = 0.0
    """Seconds that a use was taken to save when it was kept; 0: not known."""

    @property
    def tokens(self) -> bytes:
        """The prompt, packed."""
        return base64.b64decode(self.prompt)


def fingerprint(model: Path) -> str:
    """Return what tells a model file from another without reading all of it: size, time, and both ends."""
    state = model.stat()
    digest = hashlib.sha256(f"{state.st_size} {state.st_mtime_ns}".encode())
    with model.open("rb") as stream:
        digest.update(stream.read(_EDGE))
        stream.seek(max(0, state.st_size - _EDGE))
        digest.update(stream.read(_EDGE))
    return digest.hexdigest()


class States:
    """The states of one identity in ``folder``; at most ``most`` bytes of all identities together lie there.

    Several processes may use the folder. What has least credit (``worth.credit``) goes first; a note's time is that
    credit and no date, which all processes see and one call changes. Calls block for as long as a file
    takes to read; ``best`` only looks at the folder's time.
    """

    def __init__(
        self, folder: Path, identity: StateIdentity, *, most: int, refused: Callable[[str], None] = lambda text: None
    ) -> None:
        """Nothing is read yet; ``refused`` is told of every state that is not used, and why."""
        self.folder = folder
        self.identity = identity
        self._most = most
        self._told = refused
        self._known: dict[str, tuple[SavedState, bytes]] = {}
        self._seen = 0
        self._checked: dict[str, tuple[int, int]] = {}

    def refuse(self, why: str) -> None:
        """Tell why a state is not used, or not kept."""
        self._told(why)

    def best(self, tokens: bytes) -> tuple[SavedState | None, int]:
        """Return the state that shares most leading tokens with ``tokens``, and how many."""
        self._look()
        found: SavedState | None = None
        most = 0
        for state, prompt in self._known.values():
            known = shared(prompt, tokens)
            if known > most:
                found, most = state, known
        return found, most

    def new_name(self) -> str:
        """Return a name for the engine to write to; ``keep`` gives it its own."""
        return f"new-{secrets.token_hex(8)}.kv"

    def keep(self, written: str, tokens: bytes, count: int, *, gain: float = 0.0) -> SavedState | None:
        """Keep the file ``written`` as the state of ``tokens``; None when it alone is beyond the bound, or gone.

        ``gain`` is how many seconds a use of it saves, 0 where that is not known.
        """
        path = self.folder / written
        name = f"{self.identity.key}-{hashlib.sha256(tokens).hexdigest()[:32]}.kv"
        try:
            size = path.stat().st_size
            if size > self._most:
                path.unlink()
                return None
            state = SavedState(
                identity=self.identity,
                name=name,
                prompt=base64.b64encode(tokens).decode(),
                count=count,
                size=size,
                sha256=_hash(path),
                gain=gain,
            )
            os.replace(path, self.folder / name)
            note = self.folder / f"new-{secrets.token_hex(8)}.json"
            note.write_text(state.model_dump_json(), encoding="utf-8")
            os.replace(note, self._note(name))
            self._used(state)
        except OSError as error:
            self.refuse(f"the state of a prompt could not be kept: {error}")
            return None
        self._known[name] = state, tokens
        self._mark(name)
        self.sweep()
        return state

    def check(self, state: SavedState) -> None:
        """Make sure that the engine may read ``state``: ours, whole and unchanged.

        Raises StateRefused; a damaged file is removed. A file is hashed once per process and change.
        """
        if state.identity != self.identity:
            raise StateRefused(
                f"the saved state {state.name!r} was computed by {state.identity!r}, and this is {self.identity!r}; "
                f"remove it, it is of no use here."
            )
        path = self.folder / state.name
        try:
            if self._checked.get(state.name) != _mark_of(path):
                if path.stat().st_size != state.size or _hash(path) != state.sha256:
                    raise StateRefused(f"the saved state {str(path)!r} is damaged; it is removed and computed anew.")
                self._mark(state.name)
            self._used(state, had=_credit_of(self._note(state.name).stat()))
        except OSError as error:
            self.drop(state)
            raise StateRefused(f"the saved state {str(path)!r} cannot be read ({error}); computed anew.") from None
        except StateRefused:
            self.drop(state)
            raise

    def drop(self, state: SavedState) -> None:
        """Remove ``state``."""
        self._known.pop(state.name, None)
        self._checked.pop(state.name, None)
        for path in (self._note(state.name), self.folder / state.name):
            with suppress(OSError):
                path.unlink()

    def sweep(self) -> None:
        """Remove what is beyond the bound, that of least credit first, and what killed writers left."""
        found: list[tuple[float, float, int, Path]] = []
        for path in self.folder.glob("*.kv"):
            with suppress(OSError):
                note = path.with_suffix(".json")
                if note.exists():
                    told = note.stat()
                    found.append((_credit_of(told), told.st_mtime, path.stat().st_size, path))
                elif time.time() - path.stat().st_mtime > _STALE:
                    path.unlink()
        total = sum(size for *_, size, _ in found)
        for gone, _, size, path in sorted(found):
            if total <= self._most:
                return
            self._known.pop(path.name, None)
            with suppress(OSError):
                path.with_suffix(".json").unlink()
                path.unlink()
                self._raise(gone)
            total -= size

    def _used(self, state: SavedState, *, had: float = 0.0) -> None:
        gain = state.gain or state.count * Speeds().token
        found = credit(gain, state.size, had=had, level=self._level())
        os.utime(self._note(state.name), (time.time(), found))

    def _level(self) -> float:
        """The highest credit that had to go so far: the time of a file of its own."""
        try:
            return _credit_of((self.folder / _LEVEL).stat())
        except OSError:
            return 0.0

    def _raise(self, gone: float) -> None:
        if gone > self._level():
            (self.folder / _LEVEL).touch()
            os.utime(self.folder / _LEVEL, (time.time(), gone))

    def _look(self) -> None:
        try:
            seen = self.folder.stat().st_mtime_ns
        except OSError:
            self._known.clear()
            return
        if seen == self._seen:
            return
        self._seen = seen
        there = {path.with_suffix(".kv").name for path in self.folder.glob(f"{self.identity.key}-*.json")}
        for name in set(self._known) - there:
            del self._known[name]
        for name in there - set(self._known):
            self._read(name)

    def _read(self, name: str) -> None:
        try:
            state = SavedState.model_validate_json(self._note(name).read_text(encoding="utf-8"))
            tokens = state.tokens
        except (OSError, ValidationError, ValueError) as error:
            self.refuse(f"the saved state {name!r} has no readable note ({type(error).__name__}); it is not used.")
            return
        if state.identity != self.identity or state.name != name:
            self.refuse(
                f"the saved state {name!r} is refused: it was computed by {state.identity!r}, this is "
                f"{self.identity!r}; remove it."
            )
            return
        self._known[name] = state, tokens

    def _note(self, name: str) -> Path:
        return (self.folder / name).with_suffix(".json")

    def _mark(self, name: str) -> None:
        with suppress(OSError):
            self._checked[name] = _mark_of(self.folder / name)


def _credit_of(note: os.stat_result) -> float:
    # A date: a note from before there were credits, which goes before all that have one.
    return note.st_mtime if note.st_mtime < _DATES else 0.0


def _mark_of(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
