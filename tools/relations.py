"""Which columns join tables: found from the values, because small models join on what they are told."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import PathRefused, ToolError
from .catalog import Catalog, Table
from .duck import Session, quote
from .profile import Profiles

MAX_TABLES = 8
MAX_BYTES = 20_000_000
"""Larger tables are not looked into."""


class Join(NamedTuple):
    """Every value of ``many.column`` is one of the different values of ``one.key``."""

    many: str
    column: str
    one: str
    key: str

    def __str__(self) -> str:
        """The condition, as SQL."""
        return f"{self.many}.{_plain(self.column)} = {self.one}.{_plain(self.key)}"


def relations(catalog: Catalog, profiles: Profiles) -> tuple[Join, ...]:
    """Return the joins between the smaller tables; kept with the catalog, so one state is looked at once."""
    if catalog.joins is None:
        try:
            catalog.joins = _find(catalog, profiles)
        except (ToolError, PathRefused):
            catalog.joins = ()
    return catalog.joins


def _find(catalog: Catalog, profiles: Profiles) -> tuple[Join, ...]:
    data = [
        table
        for table in catalog.tables.values()
        if table.kind not in ("files", "text", "folder", "lines") and table.size <= MAX_BYTES
    ]
    data = [table for table in data if table.path.count("/") <= 1 or len(data) <= MAX_TABLES]
    data.sort(key=lambda table: (table.path.count("/"), table.size, table.name))
    tables = [table for table in data[:MAX_TABLES] if profiles.of(catalog, table).rows > 1]
    found: list[Join] = []
    if len(tables) < 2:
        return ()
    with Session() as session:
        for table in tables:
            catalog.load(session, table)
        keys = [(table, column) for table in tables for column in _keys(session, catalog, profiles, table)]
        for table in tables:
            for column, kind in list(profiles.of(catalog, table).columns.items())[:40]:
                for other, key in keys:
                    same = profiles.of(catalog, other).columns[key] == kind
                    if same and other is not table and _named_alike(kind, column, other.name, key):
                        join = Join(table.name, column, other.name, key)
                        if _holds(session, join):
                            found.append(join)
    return tuple(
        join for join in found if Join(join.one, join.key, join.many, join.column) not in found[: found.index(join)]
    )


def _keys(session: Session, catalog: Catalog, profiles: Profiles, table: Table) -> list[str]:
    profile = profiles.of(catalog, table)
    names = [name for name, kind in list(profile.columns.items())[:40] if kind in ("VARCHAR", "BIGINT")]
    if not names:
        return []
    counts = ", ".join(f"count(DISTINCT {quote(name)})" for name in names)
    [row] = session.run(f"SELECT {counts} FROM {quote(table.name)}").rows
    return [name for name, count in zip(names, row, strict=True) if count == profile.rows]


def _named_alike(kind: str, column: str, table: str, key: str) -> bool:
    """Numbers are contained in one another by chance: they must be called alike."""
    if kind != "BIGINT":
        return True
    a, b = column.lower(), key.lower()
    return a == b or a in (
        f"{table.lower()}_{b}",
        f"{table.lower().rstrip('s')}_{b}",
        f"{table.lower().rstrip('s')}{b}",
    )


def _holds(session: Session, join: Join) -> bool:
    column, key = quote(join.column), quote(join.key)
    inner = f"SELECT DISTINCT {column} AS v FROM {quote(join.many)} WHERE {column} IS NOT NULL"
    sql = f"SELECT count(*), count(*) FILTER (v IN (SELECT {key} FROM {quote(join.one)})) FROM ({inner})"
    [(all_, inside)] = session.run(sql).rows
    return bool(all_ >= 2 and inside == all_)


def _plain(name: str) -> str:
    return name if name.isidentifier() else f'"{name}"'
