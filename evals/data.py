"""Raw data of suites: found where a person keeps it, in an installed package, or downloaded.

Data is never part of Shuntyard. What a suite has read stands in ``Data.used`` and is written into the log with
hash and licence.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import DataInvalid, DataMissing, UnknownName
from ..messages import Frozen
from ..settings import Settings, cache, load

VARIABLE = "SHUNTYARD_DATA"
"""Environment variable with the folder that holds one folder per source."""
SECONDS = 60.0
"""A download may be silent for this long."""


class DataSource(Frozen):
    """One origin of raw files."""

    name: str
    licence: str
    folder: str
    """Folder below the one that ``SHUNTYARD_DATA`` names."""
    package: str = ""
    """Importable package that carries the files when it is installed; it is found without being imported."""
    package_folder: str = ""
    """Folder of the files inside the package."""
    install: str = ""
    """What installs the package, e.g. ``pip install bfcl-eval``."""
    url: str = ""
    """Base URL, at a pinned revision, from which files are downloaded; empty: no download."""


class DataUse(Frozen):
    """One file that was read."""

    source: str
    file: str
    origin: str
    """``SHUNTYARD_DATA``, the package with its version, or the URL."""
    bytes: int
    sha256: str
    licence: str


class _Found(NamedTuple):
    path: Path
    origin: str


class Data:
    """Opened sources. A file is taken from ``SHUNTYARD_DATA``, else an installed package, else by download.

    ``used`` lists every file that was read, with its hash. Reading blocks, and the first use of a file may
    download it: call from a thread.
    """

    def __init__(self, sources: Sequence[DataSource], *, settings: Settings | None = None) -> None:
        """Offer ``sources``; nothing is looked for yet."""
        self._sources = {source.name: source for source in sources}
        self._settings = settings
        self._used: dict[tuple[str, str], DataUse] = {}
        self._paths: dict[tuple[str, str], Path] = {}

    @property
    def used(self) -> list[DataUse]:
        """Every file read so far."""
        return list(self._used.values())

    def path(self, source: str, file: str) -> Path:
        """Return where ``file`` is, fetching it if need be; it counts as used.

        Raises DataMissing, saying what to set or install, and UnknownName for a source the suite has not named.
        """
        if source not in self._sources:
            raise UnknownName("data source", source, list(self._sources))
        key = (source, file)
        if key not in self._paths:
            found = self._find(self._sources[source], file)
            self._used[key] = _use(self._sources[source], file, found)
            self._paths[key] = found.path
        return self._paths[key]

    def own(self, path: Path) -> Path:
        """Count a person's own file as used, and return it. Raises DataMissing, DataInvalid."""
        if not path.is_file():
            raise DataMissing(f"there is no file {str(path)!r}; check the path.", ids={"file": str(path)})
        source = DataSource(name="own", licence="the owner's", folder="")
        self._used["own", str(path)] = _use(source, path.name, _Found(path, str(path.absolute())))
        return path

    def text(self, source: str, file: str) -> str:
        """Return a file's text; ``.gz`` is unpacked. Raises DataMissing, DataInvalid."""
        path = self.path(source, file)
        try:
            raw = path.read_bytes()
            return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
        except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError, OSError) as error:
            raise _broken(path, str(error)) from None

    def json(self, source: str, file: str) -> Any:
        """Return the value of a JSON file. Raises DataMissing; DataInvalid with the line where it breaks."""
        text = self.text(source, file)
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise _broken(self.path(source, file), f"line {error.lineno}: {error.msg}") from None

    def lines(self, source: str, file: str) -> Iterator[Any]:
        """Yield the value of each line of a JSON Lines file, also ``.gz``; empty lines are read over.

        Raises DataMissing; DataInvalid with the number of a line that cannot be read (a cut last one too).
        """
        path = self.path(source, file)
        number = 0
        try:
            with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
                for line in stream:
                    number += 1
                    if line.strip():
                        yield json.loads(line)
        except json.JSONDecodeError as error:
            raise _broken(path, f"line {number}: {error.msg} at character {error.pos + 1}") from None
        except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError, OSError) as error:
            raise _broken(path, f"after line {number}: {error}") from None

    def _find(self, source: DataSource, file: str) -> _Found:
        tried = []
        root = os.environ.get(VARIABLE, "")
        if root:
            path = Path(root).expanduser() / source.folder / file
            if path.is_file():
                return _Found(path.absolute(), VARIABLE)
            tried.append(f"{VARIABLE} has no {source.folder}/{file}")
        if source.package:
            packed = _packed(source, file)
            if packed is not None:
                return packed
            tried.append(f"package {source.package!r} is not installed or has no such file")
        if source.url:
            try:
                return self._download(source, file)
            except OSError as error:
                tried.append(f"{source.url} could not be reached ({error})")
        raise DataMissing(_missing(source, file, tried), ids={"source": source.name, "file": file})

    def _download(self, source: DataSource, file: str) -> _Found:
        """Fetch into the cache, under a folder per base URL; OSError when that fails."""
        settings = self._settings if self._settings is not None else load()
        revision = hashlib.sha256(source.url.encode()).hexdigest()[:12]
        target = cache(settings) / "data" / source.name / revision / file
        url = f"{source.url.rstrip('/')}/{file}"
        if not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f"{target.name}.{os.getpid()}.part")
            try:
                _fetch(url, part)
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)
        return _Found(target, url)


def _packed(source: DataSource, file: str) -> _Found | None:
    top, _, inner = source.package.partition(".")
    spec = find_spec(top)
    for place in (spec.submodule_search_locations or []) if spec is not None else []:
        path = Path(place, *inner.split("."), source.package_folder, file)
        if path.is_file():
            return _Found(path, _versioned(top))
    return None


@lru_cache
def _versioned(package: str) -> str:
    """Name and version of what carries a package; asking for it reads every installed distribution."""
    from importlib.metadata import packages_distributions, version

    names = packages_distributions().get(package, [])
    return f"{names[0]} {version(names[0])}" if names else package


def _fetch(url: str, part: Path) -> None:
    import httpx

    try:
        with (
            httpx.stream("GET", url, follow_redirects=True, timeout=httpx.Timeout(SECONDS, connect=10)) as response,
            part.open("wb") as stream,
        ):
            response.raise_for_status()
            for chunk in response.iter_bytes():
                stream.write(chunk)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ConnectionError(str(error) or type(error).__name__) from None


def _use(source: DataSource, file: str, found: _Found) -> DataUse:
    digest = hashlib.sha256()
    try:
        with found.path.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
        size = found.path.stat().st_size
    except OSError as error:
        raise _broken(found.path, str(error)) from None
    return DataUse(
        source=source.name,
        file=file,
        origin=found.origin,
        bytes=size,
        sha256=digest.hexdigest(),
        licence=source.licence,
    )


def _missing(source: DataSource, file: str, tried: Sequence[str]) -> str:
    mends = [f"set {VARIABLE} to a folder that holds {source.folder}/{file}"]
    if source.install:
        mends.append(f"run `{source.install}`")
    why = f" ({'; '.join(tried)})" if tried else ""
    return f"data file {file!r} of {source.name!r} is not here{why}; {', or '.join(mends)}."


def _broken(path: Path, why: str) -> DataInvalid:
    return DataInvalid(f"{str(path)!r} is cut or broken: {why}; put the whole file there.", ids={"file": str(path)})
