"""The workspace as the only part of the disk that tools see.

A path is resolved first (symbolic links inside the workspace are fine, a way out is not) and then opened
part by part without following links, so that a link that is swapped in between is refused, not followed.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

from ..errors import PathRefused

SKIPPED = frozenset({"node_modules", "__pycache__", "venv", "site-packages"})
"""Folders that hold other people's or generated files; hidden ones are skipped too."""

_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_FOLDER = _FLAGS | getattr(os, "O_DIRECTORY", 0) | os.O_RDONLY
_READ = _FLAGS | os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)


class Found(NamedTuple):
    """One file of the workspace."""

    path: str
    """Relative, with forward slashes."""
    size: int
    modified: float
    """Unix time."""


def resolve(workspace: Path, path: str) -> str:
    """Return ``path`` relative to the workspace with all links resolved; PathRefused when it leads out."""
    if "\0" in path or not path.strip():
        raise PathRefused(f"{path!r:.80} is not a path; name a file in the workspace.")
    if len(os.fsencode(path)) > 4000 or any(len(os.fsencode(part)) > 255 for part in path.split("/")):
        raise PathRefused(f"{path!r:.80} is too long for a path; name a file in the workspace.")
    root = os.path.realpath(workspace)
    try:
        real = os.path.realpath(os.path.join(root, path))
    except OSError as error:
        raise PathRefused(f"{path!r} cannot be resolved: {error.strerror}; name a file in the workspace.") from None
    if real != root and not real.startswith(root.rstrip(os.sep) + os.sep):
        raise PathRefused(f"{path!r} leads out of the workspace; use a path inside it.")
    return os.path.relpath(real, root)


@contextmanager
def _folder(workspace: Path, parts: list[str], path: str, *, create: bool = False) -> Iterator[int]:
    """Open the folder ``parts`` of the workspace without following a link anywhere below it."""
    here = os.open(os.path.realpath(workspace), _FOLDER & ~_FLAGS | getattr(os, "O_CLOEXEC", 0))
    try:
        for part in parts:
            if create:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=here)
            below = os.open(part, _FOLDER, dir_fd=here)
            os.close(here)
            here = below
        yield here
    except OSError as error:
        raise PathRefused(f"{path!r} cannot be used: {error.strerror}; name a path in the workspace.") from None
    finally:
        os.close(here)


def open_read(workspace: Path, path: str) -> IO[bytes]:
    """Open a regular file of the workspace for reading; PathRefused when it is outside, missing or no file."""
    relative = resolve(workspace, path)
    if relative == ".":
        raise PathRefused(f"{path!r} is a folder; name a file in it.")
    *folders, name = relative.split(os.sep)
    with _folder(workspace, folders, path) as folder:
        descriptor = os.open(name, _READ, dir_fd=folder)
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            os.close(descriptor)
            what = "a folder; name a file in it" if stat.S_ISDIR(mode) else "not a regular file; name another"
            raise PathRefused(f"{path!r} is {what}.")
        return os.fdopen(descriptor, "rb")


def write_atomic(workspace: Path, path: str, data: bytes) -> str:
    """Write a file whole or not at all, creating folders; return its path in the workspace."""
    relative = resolve(workspace, path)
    if relative == "." or path.endswith(("/", os.sep)):
        raise PathRefused(f"{path!r} is a folder; name a file in it.")
    *folders, name = relative.split(os.sep)
    with _folder(workspace, folders, path, create=True) as folder:
        with suppress(FileNotFoundError):
            if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                raise PathRefused(f"{path!r} is a folder; name a file in it.")
        draft = f".{secrets.token_hex(8)}.part"
        descriptor = os.open(draft, _FLAGS | os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(draft, dir_fd=folder)
            raise
    return Path(relative).as_posix()


def walk(workspace: Path, folder: str = ".", *, limit: int = 100_000) -> list[Found]:
    """Return the visible files below ``folder`` in the order of their paths; links are not followed.

    Raises PathRefused when the folder is outside or not there, or holds more than ``limit`` files.
    """
    root = os.path.realpath(workspace)
    start = os.path.join(root, resolve(workspace, folder))
    if not os.path.isdir(start):
        raise PathRefused(f"there is no folder {folder!r} in the workspace; list_files() shows what there is.")
    found: list[Found] = []
    stack = [start]
    while stack:
        place = stack.pop()
        with suppress(OSError), os.scandir(place) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.is_symlink():
                    continue
                if entry.is_dir():
                    if entry.name not in SKIPPED and not entry.name.endswith(".egg-info"):
                        stack.append(entry.path)
                elif entry.is_file():
                    status = entry.stat(follow_symlinks=False)
                    path = os.path.relpath(entry.path, root).replace(os.sep, "/")
                    found.append(Found(path, status.st_size, status.st_mtime))
        if len(found) > limit:
            raise PathRefused(f"{folder!r} holds more than {limit} files; name a folder further down.")
    return sorted(found)


def is_binary(head: bytes) -> bool:
    """True when the first bytes of a file are not text."""
    return b"\0" in head[:8192]


def nearest(path: str, files: list[Found]) -> str:
    """A hint for a path that is not there: files of the same name elsewhere, or of a similar one."""
    import difflib

    names = [found.path for found in files]
    same = [name for name in names if name.rsplit("/", 1)[-1].lower() == path.rsplit("/", 1)[-1].lower()]
    close = same[:3] or difflib.get_close_matches(path, names, n=3, cutoff=0.6)
    if close:
        return f"did you mean {', '.join(close)}?"
    return (
        f"the files are {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}"
        if names
        else "the workspace is empty."
    )
