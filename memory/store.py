"""One SQLite database per home: opened, migrated, guarded, and its errors told in our words.

Writes are short and made where they are called, also on an event loop: a commit in WAL mode costs
less than a hop to a thread. Reads that may be long belong in a thread; every thread that reads at the
same time gets a connection of its own, and all share one writing connection.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from filelock import FileLock
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from ..errors import StoreError, StoreTooNew, StoreUnwritable
from .blobs import FOLDER, Blobs
from .tables import HEAD, Prepared

FILE = "shuntyard.db"
BUSY_SECONDS = 20.0

_UNWRITABLE = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PERM,
}
_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


class Store:
    """The open database. Any number of processes may have it open; close it to release its files."""

    def __init__(self, path: Path, *, flush: bool = False) -> None:
        """Open the file at ``path`` as it is; ``Store.open`` is the door that also creates and migrates."""
        self.path = path
        self.blobs = Blobs(path.parent / FOLDER)
        self.claimed: set[str] = set()
        """Runs that this store's owner is executing now."""
        self._lock = threading.RLock()
        self._engine = _engine(path, flush=flush)
        self._writer: Connection | None = None
        self._raw: sqlite3.Connection | None = None  # the driver's connection of ``_writer``

    @classmethod
    def open(cls, home: Path, *, flush: bool = False) -> Self:
        """Return the database of ``home``, created or brought to the newest version.

        A commit survives the end of the process; with ``flush`` also a power cut, at the price of a flush
        of the disk each.

        Raises StoreUnwritable (read-only folder, full disk), StoreTooNew (written by a newer version)
        and StoreError (not a database, damaged, or locked for longer than twenty seconds).
        """
        home = Path(home).expanduser().absolute()
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnwritable(
                f"the folder {str(home)!r} cannot be made: {error.strerror}; set SHUNTYARD_HOME to a writable folder."
            ) from None
        store = cls(home / FILE, flush=flush)
        try:
            if store._version() != HEAD:
                store._migrate()
            with store.write():
                pass
        except BaseException:
            store.close()
            raise
        return store

    @property
    def home(self) -> Path:
        """The folder that the database lies in."""
        return self.path.parent

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Hold the one writing transaction; commits at the end, rolls back when the body raises.

        Never await inside. What was read inside cannot be changed by another process before the commit.
        """
        with self._lock, self._told(), self._writing().begin() as transaction:
            yield transaction.connection

    def put(self, *writes: tuple[Prepared, Mapping[str, Any]]) -> None:
        """Execute ``writes`` in one transaction, past SQLAlchemy: for what is written for every call.

        Not inside ``write``.
        """
        with self._lock:
            try:
                self._put(self._raw or self._raw_writing(), writes)
            except sqlite3.Error as error:
                raise self._tell(error) from error

    def _put(self, raw: sqlite3.Connection, writes: Sequence[tuple[Prepared, Mapping[str, Any]]]) -> None:
        if len(writes) == 1:  # A statement is a transaction by itself.
            raw.execute(*writes[0][0].bind(writes[0][1]))
            return
        raw.execute("BEGIN IMMEDIATE")
        try:
            for statement, row in writes:
                raw.execute(*statement.bind(row))
            raw.commit()
        except BaseException:
            raw.rollback()
            raise

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Hold a consistent view of the database as it is now; usable from any thread."""
        with self._told(), self._engine.connect() as connection:
            yield connection

    def compact(self) -> None:
        """Give space of deleted rows back to the disk and empty the write-ahead log. Takes a while."""
        with self._lock, self._told():
            raw = self._engine.raw_connection()
            try:
                raw.driver_connection.execute("VACUUM")  # type: ignore[union-attr]
                raw.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # type: ignore[union-attr]
            finally:
                raw.close()

    def size(self) -> int:
        """Return the bytes on disk of the database and its write-ahead log, without blobs."""
        files = (self.path.with_name(self.path.name + end) for end in ("", "-wal", "-shm"))
        return sum(file.stat().st_size for file in files if file.exists())

    def close(self) -> None:
        """Close every connection; closing twice is fine."""
        with self._lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = self._raw = None
            self._engine.dispose()

    def _writing(self) -> Connection:
        if self._writer is None:
            self._writer = self._engine.connect().execution_options(begin="BEGIN IMMEDIATE")
        return self._writer

    def _raw_writing(self) -> sqlite3.Connection:
        with self._told():
            raw = self._writing().connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        self._raw = raw
        return raw

    def _version(self) -> str:
        with self.read() as connection:
            found = connection.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").scalar()
            if found is None:
                return ""
            version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        if version is not None and str(version) > HEAD:
            raise StoreTooNew(
                f"{str(self.path)!r} has version {version!r}, this Shuntyard knows up to {HEAD!r}; "
                "upgrade Shuntyard (pip install -U shuntyard) or set SHUNTYARD_HOME to another folder."
            )
        return str(version or "")

    def _migrate(self) -> None:
        from alembic import command
        from alembic.config import Config

        # Changing to WAL needs the file alone and does not wait, so one process at a time comes here.
        with self._told(), FileLock(self.path.with_suffix(".lock")):
            if self._version() == HEAD:
                return
            raw = self._engine.raw_connection()
            try:
                raw.driver_connection.execute("PRAGMA journal_mode = WAL")  # type: ignore[union-attr]
            finally:
                raw.close()
            config = Config()
            config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
            with self.write() as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise self._tell(error.orig) from error
        except sqlite3.Error as error:
            raise self._tell(error) from error
        except OSError as error:
            raise StoreUnwritable(
                f"{str(self.path)!r}: {error.strerror or error}; make the folder writable or set SHUNTYARD_HOME."
            ) from error

    def _tell(self, error: BaseException | None) -> StoreError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        name = str(self.path)
        if isinstance(error, sqlite3.IntegrityError):
            return StoreError(f"{name!r} refused a row: {error}; start the run with Runs.start before writing to it.")
        if code in _UNWRITABLE:
            return StoreUnwritable(
                f"{name!r} cannot be written: {error}; free some disk space, make the folder writable, "
                "or set SHUNTYARD_HOME to another folder."
            )
        if code in _BROKEN:
            return StoreError(
                f"{name!r} is damaged or no database: {error}; move it away (runs in it are then gone) "
                "or restore it from a backup."
            )
        if code in _BUSY:
            return StoreError(f"{name!r} is held by another process: {error}; wait for it or end it, then try again.")
        return StoreError(f"{name!r}: {error}; run shuntyard doctor.")


def _engine(path: Path, *, flush: bool) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=QueuePool,
        pool_size=4,
        max_overflow=16,
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False, "isolation_level": None},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: object) -> None:
        synchronous = "synchronous = FULL" if flush else "synchronous = NORMAL"
        for pragma in (synchronous, "foreign_keys = ON", "secure_delete = ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # Past SQLAlchemy, whose bookkeeping costs more than the statement: there is one for every finished call.
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.execute(connection.get_execution_options().get("begin", "BEGIN"))

    return engine
