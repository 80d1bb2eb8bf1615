"""What tables hold: columns, counts and a few values, found once per state of a file."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NamedTuple

from sqlglot import exp

from ..errors import PathRefused, ToolError
from .catalog import FILES, LINES, Catalog, Table
from .duck import Session, quote
from .sql import Statement
from .values import to_json

_LOOKED = 40
"""Columns whose texts are looked at."""
FEW = 24
"""Distinct values of a column up to which they are known one by one."""


class Profile(NamedTuple):
    """One table's content in short."""

    columns: dict[str, str]
    """Type by name."""
    rows: int
    values: dict[str, list[str]]
    """Text columns with few distinct values, most frequent first."""
    spans: dict[str, tuple[Any, Any]]
    """Smallest and largest of number and date columns."""
    first: list[Any]
    """The first row; of text, the first two lines."""
    problem: str = ""
    """Why the file cannot be read."""


class Profiles:
    """Profiles by table state; a file that changed is looked at again."""

    def __init__(self) -> None:
        """Start with nothing known."""
        self._known: dict[Table, Profile] = {}
        self._texts: dict[Table, dict[str, list[str]]] = {}

    def of(self, catalog: Catalog, table: Table) -> Profile:
        """Return a table's profile, reading the file when it is new; a broken file has a ``problem``."""
        if table.kind == "files":
            return Profile(dict(FILES), len(catalog.files), {}, {}, [])
        if table not in self._known:
            try:
                with Session() as session:
                    catalog.load(session, table)
                    self._known[table] = _look(session, table)
            except (ToolError, PathRefused) as error:
                self._known[table] = Profile({}, 0, {}, {}, [], error.message)
        return self._known[table]

    def texts(self, catalog: Catalog, table: Table, *, most: int) -> dict[str, list[str]]:
        """The different texts of a table's text columns, where they are more than a profile has and at most ``most``.

        Empty when the file cannot be read. Reads the file when it is new.
        """
        profile = self.of(catalog, table)
        names = [name for name, kind in list(profile.columns.items())[:_LOOKED] if kind == "VARCHAR" and name != "text"]
        many = [name for name in names if name not in profile.values]
        if not many or profile.problem or profile.rows < 2:
            return {}
        if table not in self._texts:
            found: dict[str, list[str]] = {}
            with suppress(ToolError, PathRefused), Session() as session:
                catalog.load(session, table)
                for name in many:
                    rows = session.run(f"SELECT DISTINCT {quote(name)} FROM {quote(table.name)} LIMIT {most + 1}").rows
                    if len(rows) <= most:
                        found[name] = [row[0] for row in rows if isinstance(row[0], str)]
            self._texts[table] = found
        return self._texts[table]

    def declare(self, session: Session, catalog: Catalog, names: list[str]) -> dict[str, dict[str, str]]:
        """Make the named tables in ``session`` without their rows; ToolError when a file cannot be read."""
        found = {}
        for name in names:
            profile = self.of(catalog, catalog.tables[name])
            if profile.problem:
                raise ToolError(profile.problem)
            session.declare(name, profile.columns)
            found[name] = profile.columns
        return found

    def mend_values(self, catalog: Catalog, statement: Statement) -> None:
        """Write texts as the column they are compared with has them: ``'Open'`` is ``'open'``, ``'py'`` is ``'.py'``.

        Only texts that the column does not hold, and whose spelling differs in letter case, blanks or dots alone, or
        in the folder or ending of a file's name.
        """
        values: dict[str, set[str]] = (
            {"extension": {row["extension"] for row in catalog.rows()}} if ("files" in statement.tables) else {}
        )
        for name in statement.tables:
            for column, some in self.of(catalog, catalog.tables[name]).values.items():
                values.setdefault(column.lower(), set()).update(some)
        for node in statement.tree.find_all(exp.EQ, exp.In):
            column = node.this
            known = values.get(column.name.lower()) if isinstance(column, exp.Column) else None
            literals = node.expressions if isinstance(node, exp.In) else [node.expression]
            for literal in literals:
                if known and isinstance(literal, exp.Literal) and literal.is_string and literal.name not in known:
                    meant = _meant(literal.name, known)
                    if meant:
                        literal.replace(exp.Literal.string(meant))

    def strange_values(self, catalog: Catalog, statement: Statement) -> list[str]:
        """Texts that a column with few values is compared with and does not hold, nor anything like them."""
        values: dict[str, set[str]] = {}
        for name in statement.tables:
            for column, some in self.of(catalog, catalog.tables[name]).values.items():
                values.setdefault(column.lower(), set()).update(some)
        told: list[str] = []
        for node in statement.tree.find_all(exp.EQ):
            column, literal = node.this, node.expression
            known = values.get(column.name.lower()) if isinstance(column, exp.Column) else None
            if known and isinstance(literal, exp.Literal) and literal.is_string:
                if literal.name not in known and not _meant(literal.name, known):
                    shown = ", ".join(sorted(known)[:8])
                    told.append(
                        f"{column.name} is never '{literal.name}' but {shown}; compare with one of these or not at all"
                    )
        return told


def _meant(text: str, known: set[str]) -> str:
    plain = text.strip().strip(".").lower()
    same = sorted(value for value in known if value.strip().strip(".").lower() == plain)
    # A file by its path or without its ending, where the column has names of files.
    name = plain.rsplit("/", 1)[-1]
    same = same or sorted(value for value in known if name and value.lower() in (name, f"{name}.txt", f"{name}.md"))
    return same[0] if same else ""


def _look(session: Session, table: Table) -> Profile:
    columns = dict(LINES) if table.kind == "text" else session.columns(table.name)
    source = quote(table.name)
    [(rows,)] = session.run(f"SELECT count(*) FROM {source}").rows
    if table.kind == "text":
        first = [row[0] for row in session.run(f"SELECT text FROM {source} WHERE trim(text) <> '' LIMIT 2").rows]
        return Profile(columns, rows, {}, {}, first)
    if table.kind in ("folder", "lines"):
        names = sorted(text.path.rsplit("/", 1)[-1] for text in table.texts)
        return Profile(columns, rows, {"name": names} if rows <= FEW else {}, {}, [])
    answer = session.run(f"SELECT * FROM {source} LIMIT 1")
    first = [to_json(cell, tool="query") if not isinstance(cell, bytes) else None for cell in (answer.rows or [()])[0]]
    values, spans = _ranges(session, source, columns, rows)
    return Profile(columns, rows, values, spans, first)


def _ranges(
    session: Session, source: str, columns: dict[str, str], rows: int
) -> tuple[dict[str, list[str]], dict[str, tuple[Any, Any]]]:
    """Few-valued text columns and the spans of the others, in two passes over the table."""
    looked = list(columns.items())[:60]
    texts = [column for column, kind in looked if kind == "VARCHAR"]
    sized = [column for column, kind in looked if kind.startswith(("DATE", "TIMESTAMP", "BIGINT", "DOUBLE"))]
    asked = [f"count(DISTINCT {quote(column)})" for column in texts]
    asked += [f"{extreme}({quote(column)})" for column in sized for extreme in ("min", "max")]
    if not asked or not rows:
        return {}, {}
    [answer] = session.run(f"SELECT {', '.join(asked)} FROM {source}").rows
    limit = min(FEW, max(rows, 2) - 1)
    few = [column for column, count in zip(texts, answer, strict=False) if 0 < count <= limit]
    ends = [to_json(cell) for cell in answer[len(texts) :]]
    spans = {column: (ends[2 * index], ends[2 * index + 1]) for index, column in enumerate(sized)}
    if not few:
        return {}, spans
    [counts] = session.run(f"SELECT {', '.join(f'histogram({quote(column)})' for column in few)} FROM {source}").rows
    values = {
        column: [value for value, _ in sorted(count.items(), key=lambda item: (-item[1], item[0]))]
        for column, count in zip(few, counts, strict=True)
    }
    return values, spans
