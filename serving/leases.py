"""Slots of an engine, held by one process at a time: a lock file each, which ends with its process.

Taken and given at every call, so the lock is the system's own (flock) where there is one: the library's object around
it takes ten times as long.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Protocol

from .engine import SLOTS


class _Lock(Protocol):
    def take(self) -> bool:
        """Return whether it is now ours."""

    def give(self) -> None:
        """Let others have it."""


if sys.platform == "win32":

    class _File:
        def __init__(self, path: Path) -> None:
            from filelock import FileLock

            self._lock = FileLock(str(path))

        def take(self) -> bool:
            from filelock import Timeout

            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                return False
            return True

        def give(self) -> None:
            self._lock.release()

else:
    import fcntl

    class _File:
        def __init__(self, path: Path) -> None:
            self._path = path
            self._held = -1

        def take(self) -> bool:
            # Opened each time, because a file that was kept open may no longer be the one that others find.
            held = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(held)
                return False
            except BaseException:
                os.close(held)
                raise
            self._held = held
            return True

        def give(self) -> None:
            if self._held >= 0:
                # Not by closing alone: a child that was forked meanwhile has the file too.
                fcntl.flock(self._held, fcntl.LOCK_UN)
                os.close(self._held)
                self._held = -1


class Leases:
    """Slots of one engine, shared with other processes."""

    def __init__(self, folder: Path, key: str, slots: int = SLOTS) -> None:
        """Nothing is locked yet."""
        self._locks: list[_Lock] = [_File(folder / f"{key}.slot{slot}") for slot in range(slots)]
        self._several: _Lock = _File(folder / f"{key}.several")

    def take(self, slot: int) -> bool:
        """Return whether the slot is now ours."""
        return _taken(self._locks[slot])

    def take_several(self) -> bool:
        """Return whether we may now take one slot after the other while we hold some."""
        return _taken(self._several)

    def give(self, slot: int) -> None:
        """Let others have it."""
        self._locks[slot].give()

    def give_several(self) -> None:
        """Let others do so."""
        self._several.give()


def _taken(lock: _Lock) -> bool:
    try:
        return lock.take()
    except OSError:
        # The folder is gone, and with it every way for others to find the engine.
        return True
