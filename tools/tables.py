"""``query``: read-only SQL over the files of the workspace."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

import anyio
import anyio.to_thread

from ..errors import ToolError, ToolTimeout
from ..protocols import MAYBE, Ctx, Pending
from ..steps import Bound
from . import sql as statements
from .catalog import Catalog, Catalogs
from .compared import mismatches
from .duck import Answer, Session, Spare, SqlError
from .meant import read_right_texts, settle
from .profile import Profiles
from .relations import relations
from .render import as_csv, as_lines
from .spec import FunctionTool
from .values import is_datetime_at_midnight, tidy, to_json

T = TypeVar("T")
Form = Literal["auto", "value", "rows", "csv", "lines", "list"]
TIMEOUT = 60.0
_MENDS = 3


class QueryTool(FunctionTool[Any, Any]):
    """The ``query`` tool, with a check against the real tables and a brief of what they hold."""

    def __init__(self) -> None:
        """Start with an empty cache of what the files hold."""
        self._catalogs = Catalogs()
        self._profiles = Profiles()
        self._spare = Spare()

        async def query(ctx: Ctx, sql: str | Bound, form: Form = "auto") -> Any:
            """Run one DuckDB SELECT over the tables and return a list of row objects, or the value if it is only one.

            Args:
                ctx: The run.
                sql: The SELECT statement.
                form: "auto", or what is wanted: "value", "rows", "list" (first column), "csv" or "lines" (text).
            """
            return await self._query(ctx.workspace, sql, form)

        super().__init__(
            query, seconds=0.15, timeout=TIMEOUT, binds=("sql",), stability="stable", check=self._check_sql
        )

    async def brief(self, ctx: Ctx) -> str:
        """Tables with columns, types, counts and a few values, at most about 1,200 tokens."""
        from .brief import describe

        def work() -> str:
            return describe(self._catalogs.of(ctx.workspace), self._profiles)

        return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)

    async def links(self, task: str, ctx: Ctx) -> str:
        """Values of the tables that ``task`` names, a line each: ``- 'oak' is in trees.kind``."""
        from .links import links

        def work() -> str:
            return "\n".join(f"- {link}" for link in links(task, self._catalogs.of(ctx.workspace), self._profiles))

        return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)

    async def _query(self, workspace: Path, sql: str | Bound, form: Form) -> Any:
        def work(session: Session) -> Any:
            catalog = self._catalogs.of(workspace)
            statement = _read(sql, catalog)
            for name in statement.tables:
                catalog.load(session, catalog.tables[name])
            for name, value in statement.relations.items():
                _load_relation(session, name, value, statement.names())
            found = {name: session.columns(name) for name in (*statement.tables, *statement.relations)}
            settle(statement, found)
            self._profiles.mend_values(catalog, statement)
            try:
                answer = _run(session, statement, statement.values)
            except SqlError as error:
                raise ToolError(_explain(error, found, statement.shown)) from None
            return shape(answer, form)

        return await _in_session(work)

    async def shape(self, args: Mapping[str, Any], ctx: Ctx) -> Mapping[str, str] | None:
        """Columns and types of the rows of a planned query; None when it is wrong, or when the form is no rows."""
        sql = args.get("sql")
        if not isinstance(sql, str | Bound) or args.get("form", "auto") not in ("auto", "rows"):
            return None

        def work(session: Session) -> Mapping[str, str] | None:
            try:
                statement, found = self._declared(session, self._catalogs.of(ctx.workspace), sql)
                if found is None:
                    return None
                rows = _run(session, statement, dict.fromkeys(statement.values), how="DESCRIBE ").rows
            except ToolError:
                return None
            return {row[0]: row[1] for row in rows}

        return await _in_session(work, self._spare if _declares(sql) else None)

    async def _check_sql(self, args: Mapping[str, Any], ctx: Ctx) -> list[str]:
        sql = args.get("sql")
        if not isinstance(sql, str | Bound):
            return []

        def work(session: Session) -> list[str]:
            catalog = self._catalogs.of(ctx.workspace)
            try:
                statement, found = self._declared(session, catalog, sql)
            except ToolError as error:
                return [f"query: {error.message}"]
            if found is None:
                return []
            try:
                _run(session, statement, dict.fromkeys(statement.values), how="EXPLAIN ")
            except SqlError as error:
                if statement.pending and error.kind == "BinderException" and "types" in error.message:
                    return []
                return [f"query: {_explain(error, found, statement.shown)}{self._elsewhere(error, catalog, found)}"]
            joins = relations(catalog, self._profiles) if statement.origins else ()
            wrong = [f"query: {told}" for told in mismatches(statement, found, joins)]
            return wrong + [f"{MAYBE}query: {told}" for told in self._profiles.strange_values(catalog, statement)]

        return await _in_session(work, self._spare if _declares(sql) else None)

    def _declared(
        self, session: Session, catalog: Catalog, sql: str | Bound
    ) -> tuple[statements.Statement, dict[str, dict[str, str]] | None]:
        """A planned statement with its tables declared in ``session``, and their columns.

        None for the columns when it reads an earlier result of which nothing is known. Raises ToolError.
        """
        statement = _read(sql, catalog)
        found = self._profiles.declare(session, catalog, statement.tables)
        for name, value in statement.relations.items():
            if isinstance(value, Pending):
                if not value.columns:
                    return statement, None
                session.declare(name, value.columns)
            else:
                _load_relation(session, name, value, statement.names())
            found[name] = session.columns(name)
        settle(statement, found)
        return statement, found

    def _elsewhere(self, error: SqlError, catalog: Catalog, found: Mapping[str, Any]) -> str:
        """Where a column that was not found is, and how to get there."""
        absent = re.search(r'Referenced table "(\w+)" not found', error.message)
        column = _missing(error).lower()
        there = [
            table.name
            for table in list(catalog.tables.values())[:24]
            if table.name not in found
            and (
                absent[1].lower() == table.name
                if absent
                else column and column in map(str.lower, self._profiles.of(catalog, table).columns)
            )
        ]
        if not there:
            return ""
        joins = [
            f"JOIN {there[0]} ON {join}"
            for join in relations(catalog, self._profiles)
            if {join.many, join.one} - set(found) == {there[0]}
        ]
        if self._profiles.of(catalog, catalog.tables[there[0]]).rows == 1:
            name = column or f"{there[0]}.column"
            return f"; {there[0]} has one row: write (SELECT {name.split('.')[-1]} FROM {there[0]}) for {name}"
        told = f"; {column} is a column of {there[0]}" if column else ""
        return told + (f": add {joins[0]}" if joins else "")


async def _in_session(work: Callable[[Session], T], spare: Spare | None = None) -> T:
    """Run ``work`` with a session in a thread; a cancelled or late one is interrupted, not waited for.

    The session is a new one, or one that ``spare`` lends.
    """
    box: list[Session] = []
    stopped = False
    turn = threading.Lock()

    def body() -> T:
        with spare.lend() if spare is not None else Session() as session:
            with turn:
                box.append(session)
                if stopped:
                    session.interrupt()
            try:
                return work(session)
            finally:
                # From here on it may be somebody else's.
                with turn:
                    box.clear()

    try:
        with anyio.fail_after(TIMEOUT):
            return await anyio.to_thread.run_sync(body, abandon_on_cancel=True)
    except TimeoutError:
        raise ToolTimeout(f"the query ran longer than {TIMEOUT:.0f} s; ask for less.") from None
    finally:
        with turn:
            stopped = True
            for session in box:
                session.interrupt()


def _declares(sql: str | Bound) -> bool:
    """True when looking at ``sql`` loads nothing: it mentions no result that is there already."""
    return isinstance(sql, str) or all(isinstance(value, Pending) for value in sql.values.values())


def _read(sql: str | Bound, catalog: Catalog) -> statements.Statement:
    def find(name: str) -> str | None:
        table = catalog.find(name)
        return None if table is None else table.name

    statement = statements.read(sql, find, list(catalog.tables))
    read_right_texts(statement, {name: catalog.tables[name].kind for name in statement.tables})
    return statement


def _run(session: Session, statement: statements.Statement, values: Mapping[str, Any], *, how: str = "") -> Answer:
    """Run a statement, with ``EXPLAIN`` or ``DESCRIBE`` before it if told so.

    What DuckDB says is missing is put right, a few times at most.
    """
    for _ in range(_MENDS):
        try:
            return session.run(f"{how}{statement.text}", values)
        except SqlError as error:
            if error.kind != "BinderException" or not _mended(session, statement, error):
                raise
    return session.run(f"{how}{statement.text}", values)


def _mended(session: Session, statement: statements.Statement, error: SqlError) -> bool:
    """True when the statement is another one now.

    A bare column beside an aggregate is grouped by: where it belongs to the group that changes nothing, and
    where it does not, the rows show it. Columns of an empty earlier result, whose types nobody knows, are
    tried as numbers too.
    """
    bare = re.search(r'column "(\w+)" must appear in the GROUP BY', error.message)
    if bare:
        return statement.group_also_by(bare[1])
    empty = [name for name, value in statement.relations.items() if value == []]
    statement.relations.update(dict.fromkeys(empty, ()))
    for name in empty:
        session.declare(name, dict.fromkeys(session.columns(name), "DOUBLE"))
    return bool(empty)


def _load_relation(session: Session, name: str, value: Any, mentioned: list[str]) -> None:
    rows = [value] if isinstance(value, dict) else value
    rows = [row if isinstance(row, dict) else {"value": row} for row in rows]
    types = None if rows else dict.fromkeys([*mentioned, "value"], "VARCHAR")
    session.load_rows(name, rows, types=types)


def shape(answer: Answer, form: Form) -> Any:
    """A result table in the form asked for."""
    names = _unique(answer.columns)
    plain = [list(row) for row in answer.rows]
    for index in range(len(names)):
        cells = [row[index] for row in plain if row[index] is not None]
        if cells and all(is_datetime_at_midnight(cell) for cell in cells):
            for row in plain:
                row[index] = row[index].date() if isinstance(row[index], datetime) else row[index]
    values = [[_plain(cell) for cell in row] for row in plain]
    rows = [dict(zip(names, row, strict=True)) for row in values]
    if form == "value" or (form == "auto" and len(values) == 1 and len(names) == 1):
        return values[0][0] if values else None
    if form == "list":
        return [row[0] for row in values]
    if form == "csv":
        return as_csv(rows) if rows else ",".join(names) + "\n"
    return as_lines(rows) if form == "lines" else rows


def _plain(cell: Any) -> Any:
    value = to_json(cell.hex() if isinstance(cell, bytes) else cell, tool="query")
    return tidy(value) if isinstance(value, float) else value


def _unique(names: list[str]) -> list[str]:
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return unique


def _explain(error: SqlError, found: Mapping[str, Mapping[str, str]], shown: Mapping[str, str]) -> str:
    """DuckDB's error with what a model needs to mend it: the columns there are."""
    message = error.message
    for mark, name in shown.items():
        message = message.replace(mark, name)
    column = _missing(error)
    if column and found:
        whose = "; ".join(
            f"the columns of {shown.get(name, name)} are {', '.join(columns)}" for name, columns in found.items()
        )
        return f"there is no column {column}; {whose}"
    if cast := re.search(r"Could not convert string '(.*?)' to .* source column (\w+)", error.message):
        return f"column {cast[2]} holds texts such as {cast[1]!r} but is compared with a number; compare it with a text"
    return message.split(" Candidate functions:")[0]


def _missing(error: SqlError) -> str:
    match = re.search(r'(?:Referenced column "(.+?)" not found|does not have a column named "(.+?)")', error.message)
    return (match[1] or match[2]) if match else ""
