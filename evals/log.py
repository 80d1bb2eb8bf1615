"""The log of a run: one JSONL file that says under what conditions, case by case what came of it, and what it sums to.

Lines: a header, then for each time the run was begun or gone on with a session line, a row per case and
epoch as soon as it ends, and a closing line. A row is whole or not there: what a kill or a full disk cut
off is dropped. Rows are keyed by case digest and epoch; of two with one key the later counts.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, TypeAdapter, ValidationError

from ..errors import DataInvalid, StoreUnwritable, UnknownName, UsageError
from ..messages import Frozen
from ..settings import Settings, home
from .case import Case, Output, Score, Split
from .data import DataUse

SYNCED = 1.0
"""A power cut loses at most so many seconds of rows; a kill only the one being written."""
NONE = "none"
"""How the category of cases without one is called where others have one."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_RETRIED = "model_unavailable:"


class Configuration(Frozen):
    """All but the case itself that could change what comes of a case."""

    solver: str
    model: str = ""
    """Empty for solvers that need none."""
    model_sha256: str = ""
    """Of the weights, where the registry knows it."""
    temperature: float = 0.0
    seed: int = 0
    """Epoch ``e`` is solved with ``seed + e``."""
    engine: str = ""
    """Version of the local engine; empty for other models."""
    shuntyard: str = ""

    @property
    def digest(self) -> str:
        """Hash of it all: rows of one log were made under one configuration."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


class RunHeader(Frozen):
    """First line of a log."""

    type: Literal["header"] = "header"
    format: int = 1
    run: str
    """Id of the run, and the name of its file without ``.jsonl``."""
    suite: str
    version: int
    configuration: Configuration
    data: tuple[DataUse, ...] = ()
    started: datetime
    machine: str = ""
    notes: str = ""
    """The suite's: what the figures do not say."""


class Selection(Frozen):
    """Which cases were asked for; 0 and empty mean all."""

    limit: int = 0
    """In all, the same number from each category as far as they go."""
    per_category: int = 0
    categories: tuple[str, ...] = ()
    split: Literal["dev", "test", "all"] = "all"
    seed: int = 0
    """Cases are drawn in the order of a hash of seed and case: a smaller sample is part of a larger one."""
    epochs: int = 1


class RunSession(Frozen):
    """Written each time the run is begun or gone on with."""

    type: Literal["session"] = "session"
    at: datetime
    selection: Selection
    cases: int
    """Cases times epochs that the selection has."""
    kept: int
    """How many of them were there already."""
    concurrency: int
    data: tuple[DataUse, ...] = ()
    """Empty when the same as the header's."""
    code: str = ""
    """Hash of the program, which changes more often than its version."""
    dropped: tuple[str, ...] = ()
    """Digests of cases that the suite no longer has: their rows before this line no longer count."""


class RunRow(Frozen):
    """What came of one case in one epoch."""

    type: Literal["row"] = "row"
    id: str
    category: str = ""
    digest: str
    split: Split
    epoch: int = 0
    input: JsonValue = None
    target: JsonValue = None
    output: Output
    score: Score
    error: str = ""
    """``code: message`` when the scorer failed: the output is kept, and judged anew when the run goes on."""
    baselines: dict[str, float] = {}
    """What the suite's baselines score on this case."""
    at: datetime

    @property
    def key(self) -> tuple[str, int]:
        """Its place in the log."""
        return self.digest, self.epoch

    @property
    def case(self) -> Case:
        """The case as far as the log has it (``meta`` is not kept)."""
        return Case(id=self.id, category=self.category, input=self.input, target=self.target)

    @property
    def unsolved(self) -> bool:
        """True when the model could not be reached: such a case is solved again when the run goes on."""
        return self.output.error.startswith(_RETRIED)


class RunEnd(Frozen):
    """Closing line: all that the session asked for is there."""

    type: Literal["end"] = "end"
    at: datetime
    rows: int
    """Of the whole log."""
    seconds: float
    """Of this session, by the clock."""
    figures: list[dict[str, Any]] = []
    """Per category and for all, of the session's selection: the fields of ``evals.figures.Figure``."""


Line = Annotated[RunHeader | RunSession | RunRow | RunEnd, Field(discriminator="type")]


@dataclass(frozen=True, slots=True)
class RunLog:
    """A log as it was read. Rows are whole, unique by key, in the order in which they first ended."""

    path: Path
    header: RunHeader
    sessions: tuple[RunSession, ...]
    rows: tuple[RunRow, ...]
    end: RunEnd | None
    """None: the run was cut off."""
    size: int
    """Bytes of the whole lines; what follows is torn."""

    @property
    def finished(self) -> bool:
        """True when the last session got all that it asked for."""
        return self.end is not None

    @property
    def title(self) -> str:
        """What a person tells runs apart by: model and solver."""
        made = self.header.configuration
        return f"{made.model} · {made.solver}" if made.model else made.solver


def folder(settings: Settings) -> Path:
    """Return the folder of all logs."""
    return home(settings) / "evals"


def read(path: Path) -> RunLog:
    """Read one log, leaving out a torn last line. Raises DataInvalid with the line that is broken."""
    adapter: TypeAdapter[Line] = TypeAdapter(Line)
    header, sessions, end, size = None, [], None, 0
    rows: dict[tuple[str, int], RunRow] = {}
    for number, raw in enumerate(_whole(path), 1):
        try:
            line = adapter.validate_json(raw)
        except ValidationError as error:
            raise DataInvalid(_why(path, number, raw, error), ids={"file": str(path)}) from None
        size += len(raw)
        end = line if isinstance(line, RunEnd) else None
        if isinstance(line, RunHeader):
            header = header or line
        elif isinstance(line, RunSession):
            sessions.append(line)
            gone = set(line.dropped)
            rows = {key: row for key, row in rows.items() if key[0] not in gone}
        elif isinstance(line, RunRow):
            rows[line.key] = line
    if header is None:
        raise DataInvalid(f"{str(path)!r} is no log of a run: it has no header; remove it.", ids={"file": str(path)})
    return RunLog(path, header, tuple(sessions), _categorised(list(rows.values())), end, size)


def _categorised(rows: list[RunRow]) -> tuple[RunRow, ...]:
    if len({row.category for row in rows}) > 1:
        rows = [row if row.category else row.model_copy(update={"category": NONE}) for row in rows]
    return tuple(rows)


def headers(place: Path) -> list[RunHeader]:
    """Return the header of every log in a folder, newest first; a file without one is left out."""
    found = []
    for path in place.glob("*.jsonl"):
        with path.open("rb") as stream, suppress(ValidationError):
            found.append(RunHeader.model_validate_json(stream.readline()))
    return sorted(found, key=lambda header: (header.started, header.run), reverse=True)


def find(name: str, place: Path) -> RunLog:
    """Return the run that ``name`` means: an id, a unique beginning of one, a suite (its newest), or a file.

    Raises UnknownName; UsageError for a beginning that several have.
    """
    if name.endswith(".jsonl") and Path(name).is_file():
        return read(Path(name))
    known = headers(place)
    exact = [header for header in known if header.run == name] or [h for h in known if h.suite == name][:1]
    fitting = exact or [header for header in known if header.run.startswith(name)]
    if len(fitting) > 1:
        several = ", ".join(header.run for header in fitting[:6])
        raise UsageError(f"run {name!r} could be {several}; write more of it.")
    if not fitting:
        mend = "`shuntyard eval list` shows suites and runs."
        raise UnknownName("run", name, [header.run for header in known], mend=mend)
    return read(place / f"{fitting[0].run}.jsonl")


def latest(place: Path, suite: str, version: int, configuration: Configuration) -> RunLog | None:
    """Return the newest log of exactly this suite and configuration, or None."""
    for header in headers(place):
        same = (header.suite, header.version, header.configuration) == (suite, version, configuration)
        if same:
            return read(place / f"{header.run}.jsonl")
    return None


def new_id(suite: str, configuration: Configuration, at: datetime, place: Path) -> str:
    """Return an id that sorts by time within its suite and that no log in ``place`` has."""
    stem = f"{suite}-{at.astimezone(UTC):%Y%m%d-%H%M%S}-{configuration.digest[:4]}"
    taken = {path.stem for path in place.glob(f"{stem}*.jsonl")}
    return next(name for name in (stem, *(f"{stem}-{n}" for n in range(2, len(taken) + 3))) if name not in taken)


@contextmanager
def claim(place: Path, suite: str, version: int, configuration: Configuration) -> Iterator[None]:
    """Be the only one who runs this suite under this configuration.

    Raises UsageError at once, naming the process that is at it.
    """
    from filelock import FileLock, Timeout

    with _writing(place):
        (place / "locks").mkdir(parents=True, exist_ok=True)
        stem = place / "locks" / f"{suite}-{version}-{configuration.digest}"
        lock, holder = FileLock(f"{stem}.lock"), stem.with_suffix(".json")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UsageError(
                f"{suite!r} with {configuration.solver!r} on {configuration.model or 'no model'!r} is being run by "
                f"{_holder(holder)}; wait for it or stop it. Its rows are kept either way."
            ) from None
        try:
            holder.write_text(json.dumps({"pid": os.getpid(), "since": time.time()}), encoding="utf-8")
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()


def _holder(path: Path) -> str:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return f"process {told['pid']} since {datetime.fromtimestamp(told['since']):%H:%M:%S}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


class LogWriter:
    """Appends lines. A line that could not be written whole is taken back before the error is raised."""

    def __init__(self, path: Path, *, size: int = 0) -> None:
        """Open ``path``, dropping what follows the first ``size`` bytes. Raises StoreUnwritable."""
        self.path = path
        self._size = size
        self._synced = time.monotonic()
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
            os.ftruncate(self._file, size)
            os.lseek(self._file, size, os.SEEK_SET)

    def write(self, *lines: Frozen) -> None:
        """Append each line, in the operating system's hands when it returns. Raises StoreUnwritable."""
        for line in lines:
            raw = line.model_dump_json().encode() + b"\n"
            try:
                with _writing(self.path):
                    rest = memoryview(raw)
                    while rest:
                        rest = rest[os.write(self._file, rest) :]
            except BaseException:
                os.ftruncate(self._file, self._size)
                os.lseek(self._file, self._size, os.SEEK_SET)
                raise
            self._size += len(raw)
        if time.monotonic() - self._synced > SYNCED:
            self.sync()

    def sync(self) -> None:
        """Bring everything to the disk."""
        with _writing(self.path):
            os.fsync(self._file)
        self._synced = time.monotonic()

    def close(self) -> None:
        """Sync and close."""
        try:
            self.sync()
        finally:
            os.close(self._file)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StoreUnwritable(
                f"{str(path)!r} could not be written ({error.strerror}); rows before it are kept: free some space and "
                "run the same command again, or set SHUNTYARD_HOME to a larger disk."
            ) from None
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            raise StoreUnwritable(
                f"{str(path)!r} cannot be written to: {error.strerror}; set SHUNTYARD_HOME to a folder of yours."
            ) from None
        raise


def _whole(path: Path) -> Iterator[bytes]:
    """The lines of a file; a last one without its line end, or that is not JSON, is torn and left out."""
    try:
        raw = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise DataInvalid(f"{str(path)!r} cannot be read: {error.strerror}; check the path.") from None
    while raw and not _is_json(raw[-1]):
        raw.pop()
    yield from raw


def _is_json(raw: bytes) -> bool:
    try:
        return raw.endswith(b"\n") and json.loads(raw) is not None
    except ValueError:
        return False


def _why(path: Path, number: int, raw: bytes, error: ValidationError) -> str:
    item: Any = error.errors()[0]
    newer = number == 1 and b'"format":1' not in raw
    mend = "it was written by a newer version, upgrade Shuntyard" if newer else "remove that line"
    where = ".".join(str(part) for part in item["loc"])
    return f"{str(path)!r} line {number}: {where or 'line'}: {item['msg']}; {mend}."
