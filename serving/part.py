"""A file on its way: ``NAME.part`` grows, is hashed as it grows, and becomes ``NAME`` only with the right hash.

The bytes of a part file are its whole state: whoever goes on reads them again and continues.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, TypeAlias

from ..errors import ModelFileBad, StoreUnwritable
from .registry import ModelFile

OnProgress: TypeAlias = Callable[[float, float], None]
"""Called with bytes done and bytes in all, at least once a second; it may raise to stop the work."""

CHUNK = 1 << 20


class Part:
    """The part file of one model file, open for appending. A context manager; it stays on disk when left."""

    def __init__(self, target: Path, file: ModelFile, *, on_progress: OnProgress) -> None:
        """Open ``target``'s part file; what it holds already counts as received."""
        self.target = target
        self.file = file
        self.path = target.with_name(target.name + ".part")
        self.size = 0
        self.resumed = False
        self._on_progress = on_progress
        self._hash = hashlib.sha256()
        self._stream: BinaryIO | None = None

    def __enter__(self) -> Part:
        """Read and hash what an earlier try left. Raises StoreUnwritable."""
        with writing(self.target.parent):
            self._stream = open(self.path, "a+b")
            self.rewind(self._stream.tell())
        self.resumed = self.size > 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; nothing is removed."""
        if self._stream is not None:
            self._stream.close()

    def rewind(self, size: int) -> None:
        """Keep only the first ``size`` bytes and hash them again."""
        stream = self._open()
        size = min(size, stream.seek(0, os.SEEK_END), self.file.bytes)
        stream.truncate(size)
        stream.seek(0)
        self._hash = hashlib.sha256()
        self.size = 0
        while self.size < size:
            chunk = stream.read(min(CHUNK, size - self.size))
            self._hash.update(chunk)
            self.size += len(chunk)
            self.tell(self.size)

    def write(self, chunk: bytes) -> None:
        """Append. Raises StoreUnwritable on a full disk, ModelFileBad when there is more than there should be."""
        if self.size + len(chunk) > self.file.bytes:
            self.discard()
            raise bad(self.file, f"more than {self.file.bytes} bytes were sent")
        with writing(self.target.parent):
            self._open().write(chunk)
        self._hash.update(chunk)
        self.size += len(chunk)
        self.tell(self.size)

    def tell(self, done: float) -> None:
        """Report ``done`` bytes."""
        self._on_progress(min(done, self.file.bytes), self.file.bytes)

    def room(self, more: int = 0) -> None:
        """Raise StoreUnwritable now when the disk cannot take the rest and ``more`` bytes."""
        need = self.file.bytes - self.size + more
        free = shutil.disk_usage(self.target.parent).free
        if need > free:
            raise full(self.target.parent, f"{need >> 20} MB are needed, {free >> 20} MB are free")

    @property
    def complete(self) -> bool:
        """All bytes are there, right or wrong."""
        return self.size == self.file.bytes

    @property
    def right(self) -> bool:
        """The bytes are the publisher's."""
        return self._hash.hexdigest() == self.file.sha256

    def finish(self) -> None:
        """Turn into the target in one step. Raises ModelFileBad, and removes the part, when the hash is wrong."""
        if not self.right:
            digest = self._hash.hexdigest()
            self.discard()
            raise bad(self.file, f"the hash is {digest[:16]}…, not {self.file.sha256[:16]}…")
        with writing(self.target.parent):
            stream = self._open()
            stream.flush()
            os.fsync(stream.fileno())
            stream.close()
            os.replace(self.path, self.target)

    def discard(self) -> None:
        """Forget everything received."""
        stream = self._open()
        stream.seek(0)
        stream.truncate(0)
        self._hash = hashlib.sha256()
        self.size = 0

    def flush(self) -> None:
        """Hand what is buffered to the disk, so that a kill costs nothing of it."""
        with writing(self.target.parent):
            self._open().flush()

    def _open(self) -> BinaryIO:
        if self._stream is None:
            raise RuntimeError("a Part is used inside `with`")
        return self._stream


def bad(file: ModelFile, why: str) -> ModelFileBad:
    """Return the error for bytes that are not the publisher's."""
    return ModelFileBad(f"{file.file!r} as received is not the publisher's file: {why}; pull it from another source.")


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write into ``folder`` into StoreUnwritable."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise full(folder, "what was received is kept") from None
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise StoreUnwritable(
                f"cannot write to {str(folder)!r}: {error.strerror}; set SHUNTYARD_CACHE to a folder of yours."
            ) from None
        raise


def full(folder: Path, why: str) -> StoreUnwritable:
    """Return the error for a disk without room."""
    return StoreUnwritable(
        f"the disk of {str(folder)!r} is full ({why}); free some space, or set SHUNTYARD_CACHE to a larger disk."
    )
