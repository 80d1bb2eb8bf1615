"""DuckDB in one place: sessions that load files by descriptor and then lose all access to the disk."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from ..errors import ToolError

if TYPE_CHECKING:
    import duckdb

MAX_ROWS = 10_000
"""Rows that a result may have."""
MAX_LOADED = 5_000_000
"""Rows that are read of one file."""


class Answer(NamedTuple):
    """A result table."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


class SqlError(ToolError):
    """Raised with DuckDB's own words; ``kind`` is its class of error."""

    def __init__(self, message: str, kind: str) -> None:
        """Keep the first paragraph of the message, without the excerpt of the statement."""
        super().__init__(" ".join(message.split("\n\nLINE ")[0].split()))
        self.kind = kind


class Session:
    """One in-memory database. Not thread-safe except ``interrupt``; close it."""

    def __init__(self) -> None:
        """Open an empty database with bounded memory and no place to spill to."""
        import duckdb

        self._connection: duckdb.DuckDBPyConnection = duckdb.connect(
            ":memory:",
            config={"threads": 2, "memory_limit": "1GB", "autoinstall_known_extensions": False, "temp_directory": ""},
        )
        self._locked = False
        self._stopped = False
        self._declared: set[str] = set()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give its memory back."""
        self._connection.close()

    def forget(self) -> bool:
        """Drop the tables that were declared; False when it is of no use any more."""
        with suppress(SqlError):
            for name in self._declared:
                self._run(f"DROP TABLE {quote(name)}")
            self._declared.clear()
        return not self._declared and not self._stopped

    def interrupt(self) -> None:
        """Stop the running statement and refuse further ones; from any thread, also after the end."""
        import duckdb

        self._stopped = True
        with suppress(duckdb.Error):
            self._connection.interrupt()

    def load_csv(self, name: str, file: IO[bytes], *, delimiter: str = "") -> None:
        """Read a CSV file into a table; a broken one is read leniently instead of refused."""
        source = f"/dev/fd/{file.fileno()}"
        split = f", delim='{delimiter}'" if delimiter else ""
        sample = -1 if os.fstat(file.fileno()).st_size < 20_000_000 else 200_000
        lenient = "strict_mode=false, null_padding=true, ignore_errors=true, all_varchar=true, header=true"
        try:
            self._create(name, f"read_csv('{source}', sample_size={sample}{split})")
        except SqlError as error:
            if error.kind == "InterruptException":
                raise
            self._create(name, f"read_csv('{source}', {lenient}{split})")

    def load_parquet(self, name: str, file: IO[bytes]) -> None:
        """Read a Parquet file into a table."""
        self._create(name, f"read_parquet('/dev/fd/{file.fileno()}')")

    def load_rows(
        self, name: str, rows: Iterable[Mapping[str, Any]], *, types: Mapping[str, str] | None = None
    ) -> None:
        """Make a table from objects; column types are found from the values unless given."""
        with tempfile.TemporaryFile() as file:
            empty = True
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=True, default=str).encode() + b"\n")
                empty = False
            file.flush()
            if empty:
                self.declare(name, types or {"value": "VARCHAR"})
                return
            given = ", ".join(f"{_text(key)}: {_text(kind)}" for key, kind in (types or {}).items())
            how = f", columns={{{given}}}" if given else ", sample_size=-1"
            options = f"format='newline_delimited', maximum_object_size=67108864{how}"
            self._create(name, f"read_json('/dev/fd/{file.fileno()}', {options})")

    def declare(self, name: str, types: Mapping[str, str]) -> None:
        """Make an empty table with these columns."""
        columns = ", ".join(f"{quote(column)} {kind}" for column, kind in types.items())
        self._run(f"CREATE OR REPLACE TABLE {quote(name)} ({columns})")
        self._declared.add(name)

    def _create(self, name: str, source: str) -> None:
        self._run(f"CREATE OR REPLACE TABLE {quote(name)} AS SELECT * FROM {source} LIMIT {MAX_LOADED + 1}")
        [(count,)] = self._run(f"SELECT count(*) FROM {quote(name)}").rows
        if count > MAX_LOADED:
            raise ToolError(f"table {name} has more than {MAX_LOADED} rows, too many to query here; split the file.")

    def columns(self, name: str) -> dict[str, str]:
        """Column types of a table by column name, in order."""
        return {row[0]: row[1] for row in self._run(f"DESCRIBE {quote(name)}").rows}

    def lock(self) -> None:
        """Give up every access to files, extensions and settings; only SELECTs on what is loaded remain."""
        if not self._locked:
            self._run("SET enable_external_access=false")
            self._run("SET lock_configuration=true")
            self._locked = True

    def run(self, sql: str, values: Mapping[str, Any] | None = None, *, max_rows: int = MAX_ROWS) -> Answer:
        """Run one statement after locking the session; ToolError when it returns more than ``max_rows``."""
        self.lock()
        answer = self._run(sql, values, max_rows=max_rows)
        if len(answer.rows) > max_rows:
            raise ToolError(f"the query returns more than {max_rows} rows; add a condition, an aggregate or LIMIT.")
        return answer

    def _run(self, sql: str, values: Mapping[str, Any] | None = None, *, max_rows: int = MAX_ROWS) -> Answer:
        import duckdb

        if self._stopped:
            raise SqlError("the query was stopped", "InterruptException")
        try:
            cursor = self._connection.execute(sql, dict(values)) if values else self._connection.execute(sql)
            return Answer([column[0] for column in cursor.description or ()], cursor.fetchmany(max_rows + 1))
        except (duckdb.Error, RuntimeError, ValueError, OverflowError) as error:
            raise SqlError(str(error), type(error).__name__) from None


class Spare:
    """Lends sessions and keeps one for the next borrower: to open one costs more than to look at a statement.

    For borrowers that only declare tables: the session that they get may have lost its access to files.
    """

    def __init__(self) -> None:
        """Keep none yet."""
        self._kept: list[Session] = []

    @contextmanager
    def lend(self) -> Iterator[Session]:
        """Lend a session without tables; from any thread, at the same time too."""
        try:
            session = self._kept.pop()
        except IndexError:
            session = Session()
        try:
            yield session
        finally:
            if session.forget() and not self._kept:
                self._kept.append(session)
            else:
                session.close()


def quote(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def matching_lines(lines: Sequence[str], pattern: str, *, ignore_case: bool) -> list[int]:
    """Numbers (from 1) of the lines that a regular expression matches, in time linear in their length."""
    with Session() as session:
        rows = ({"line": number, "text": line} for number, line in enumerate(lines, start=1))
        session.load_rows("lines", rows, types={"line": "BIGINT", "text": "VARCHAR"})
        sql = "SELECT line FROM lines WHERE regexp_matches(text, $pattern, $options) ORDER BY line"
        try:
            found = session.run(
                sql, {"pattern": pattern, "options": "i" if ignore_case else "c"}, max_rows=max(len(lines), 1)
            )
        except SqlError as error:
            raise ToolError(f"the regular expression {pattern!r} is not valid: {error.message}; mend it.") from None
        return [row[0] for row in found.rows]
