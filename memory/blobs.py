"""Big values, one file each beside the database, named by the hash of what is in them.

A file is complete and durable before anything names it, so a killed writer leaves at worst a file that
nobody names. The same content is one file, whoever writes it and however often.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import secrets
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ..errors import BlobDamaged, StoreUnwritable
from ..messages import Frozen
from .liveness import alive, me

FOLDER = "blobs"
_END = ".json.gz"
_HALF = "new"
"""Folder of files that are still being written."""
_NAME = re.compile(r"[0-9a-f]{64}")
_LEVEL = 1
"""Of gzip: tables of rows shrink to a quarter, and higher levels cost more time than they save."""
_TRIES = 5


class Blob(Frozen):
    """What a row keeps of a value that lies in a file."""

    sha256: str
    """Of the value's JSON, redacted and not compressed."""
    bytes: int
    """Of the same."""
    head: str
    """The value in a few words, to be shown without the file."""


class Blobs:
    """The files. Calls block and belong in a thread; any number of processes may make them at once."""

    def __init__(self, folder: Path) -> None:
        """Keep files in ``folder``, which is made when the first one is written."""
        self.folder = folder

    def path(self, digest: str) -> Path:
        """Return where the file of ``digest`` is, or would be."""
        return self.folder / digest[:2] / digest[2:4] / f"{digest}{_END}"

    def has(self, digest: str) -> bool:
        """Return whether there is a file of that name."""
        return self.path(digest).exists()

    def put(self, content: bytes) -> str:
        """Keep ``content`` and return its digest; durable when it returns. A damaged file is replaced.

        Raises StoreUnwritable (full disk, read-only folder); then nothing new is there.
        """
        digest = hashlib.sha256(content).hexdigest()
        tries = 0
        while True:
            try:
                if self._holds(digest, content):
                    # Whoever wrote it may not have come to this yet.
                    _sync(self.path(digest).parent)
                else:
                    self._write(digest, gzip.compress(content, _LEVEL, mtime=0))
                return digest
            except OSError as error:
                tries += 1
                # Not found: another process swept the file or its folder away, because no row names it yet.
                if tries == _TRIES or not isinstance(error, FileNotFoundError):
                    raise self._unwritable(digest, error) from None

    def get(self, digest: str, size: int) -> bytes:
        """Return the content, ``size`` bytes with the hash ``digest``.

        Raises BlobDamaged, with the file and what is wrong with it, when they are not to be had.
        """
        path = self.path(digest)
        try:
            content = _unpacked(path.read_bytes(), size)
        except FileNotFoundError:
            raise BlobDamaged(f"{str(path)!r} is missing") from None
        except (OSError, zlib.error) as error:
            raise BlobDamaged(f"{str(path)!r} cannot be read: {error}") from None
        if hashlib.sha256(content).hexdigest() != digest:
            raise BlobDamaged(f"{str(path)!r} does not hold what was written")
        return content

    def names(self) -> Iterator[str]:
        """Yield the digest of every file; what others put into the folder is passed over."""
        for first in _inside(self.folder):
            for second in _inside(first) if len(first.name) == 2 else ():
                for path in _inside(second):
                    digest = path.name.removesuffix(_END)
                    if _NAME.fullmatch(digest) and path == self.path(digest):
                        yield digest

    def remove(self, digest: str) -> int:
        """Delete a file and return its bytes on disk; 0 when it is not there or cannot be deleted now."""
        path = self.path(digest)
        try:
            size = path.stat().st_size
            path.unlink()
            path.parent.rmdir()
            path.parent.parent.rmdir()
        except FileNotFoundError:
            return 0
        except OSError:
            # A folder that is still in use stays; so does a file that Windows has open.
            return 0 if path.exists() else size
        return size

    def sweep_halves(self) -> int:
        """Delete what killed writers left half written and return its bytes."""
        freed = 0
        for path in _inside(self.folder / _HALF):
            if alive(path.name.rpartition("-")[0].replace("-", ":")):
                continue
            with suppress(OSError):
                size = path.stat().st_size
                path.unlink()
                freed += size
        return freed

    def size(self) -> tuple[int, int]:
        """Return how many files there are, and their bytes on disk."""
        count = total = 0
        for digest in self.names():
            with suppress(FileNotFoundError):
                total += self.path(digest).stat().st_size
                count += 1
        return count, total

    def _holds(self, digest: str, content: bytes) -> bool:
        try:
            return self.get(digest, len(content)) == content
        except BlobDamaged:
            return False

    def _write(self, digest: str, packed: bytes) -> None:
        half = self.folder / _HALF / f"{me().replace(':', '-')}-{secrets.token_hex(8)}"
        _make(half.parent)
        try:
            with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(packed)
                file.flush()
                os.fsync(file.fileno())
            _make(self.path(digest).parent)
            os.replace(half, self.path(digest))
            _sync(self.path(digest).parent)
        except BaseException:
            half.unlink(missing_ok=True)
            raise

    def _unwritable(self, digest: str, error: OSError) -> StoreUnwritable:
        return StoreUnwritable(
            f"{str(self.path(digest))!r} cannot be written: {error.strerror or error}; free some disk space, "
            "make the folder writable, or set SHUNTYARD_HOME to another folder."
        )


def _unpacked(packed: bytes, size: int) -> bytes:
    """Uncompress at most ``size`` bytes and one; what would grow beyond that is not what was written."""
    return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(packed, size + 1)


def _inside(folder: Path) -> list[Path]:
    """What is in ``folder``; nothing when it is none, or was swept away."""
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _make(folder: Path) -> None:
    """Make ``folder``, so that it outlives a power cut."""
    if folder.is_dir():
        return
    if not folder.parent.is_dir():
        _make(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    _sync(folder.parent)


def _sync(folder: Path) -> None:
    """Make the names in ``folder`` durable, where the system can."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
