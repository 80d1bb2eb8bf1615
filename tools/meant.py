"""What a statement means where it says something that cannot be meant: mended in the tree, before it runs.

Only where there is one reading: a day asked of a table with one time, the beginning of a column's name, texts compared
from their beginning that are lines of texts, and a product of sums over joined rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlglot import exp

from .sql import Statement

_DAYS = frozenset({"date", "day"})


def settle(statement: Statement, found: Mapping[str, Mapping[str, str]]) -> None:
    """Put right what can only be meant one way, given the columns of the tables of a statement."""
    statement.qualify_join_keys()
    statement.compare_as_text()
    statement.unquote_values({column.lower() for columns in found.values() for column in columns})
    _columns(statement, found)
    _constants(statement, found)
    _sums(statement)


def read_right_texts(statement: Statement, kinds: Mapping[str, str]) -> None:
    """Read lines where texts are compared from their beginning, and whole texts where lines lack what is asked for.

    ``kinds`` are the kinds of the statement's tables. Only for a statement that reads one table of either kind.
    """
    names = [name for name in statement.tables if kinds[name] in ("folder", "lines")]
    if len(names) != 1:
        return
    [name] = names
    asked = {column.lower() for column in statement.names()}
    if kinds[name] == "folder" and _begun(statement) and asked <= {"text", "name", "line"}:
        _rename(statement, name, f"{name}_lines")
    elif kinds[name] == "lines" and asked & {"words", "path", "folder"} and "line" not in asked:
        _rename(statement, name, name.removesuffix("_lines"))


def _begun(statement: Statement) -> bool:
    """True when texts are compared from their beginning, as only lines are."""
    return any(
        isinstance(like.this, exp.Column)
        and like.this.name.lower() == "text"
        and isinstance(like.expression, exp.Literal)
        and not like.expression.name.startswith("%")
        for like in statement.tree.find_all(exp.Like, exp.ILike)
    )


def _rename(statement: Statement, name: str, other: str) -> None:
    for table in statement.tree.find_all(exp.Table):
        if table.name == name:
            if not table.alias:
                table.set("alias", exp.TableAlias(this=exp.to_identifier(name)))
            table.set("this", exp.to_identifier(other, quoted=True))
    statement.tables[statement.tables.index(name)] = other


def _columns(statement: Statement, found: Mapping[str, Mapping[str, str]]) -> None:
    """Columns that no table has: a day is that of the only time, and the beginning of one name is that name."""
    every = [(name, kind) for columns in found.values() for name, kind in columns.items()]
    known = {name.lower() for name, _ in every}
    aliases = {alias.alias.lower() for alias in statement.tree.find_all(exp.Alias, exp.TableAlias)}
    for column in list(statement.tree.find_all(exp.Column)):
        name = column.name.lower()
        own = column.find_ancestor(exp.Alias)
        if name in known or (name in aliases and not (own is not None and own.alias.lower() == name)):
            continue
        meant = _day(every) if name in _DAYS else _longer(name, every)
        if meant is None:
            continue
        new: exp.Expression = exp.column(meant[0], table=column.table or None)
        new = exp.cast(new, "DATE") if name in _DAYS and meant[1].startswith("TIMESTAMP") else new
        listed = isinstance(column.parent, exp.Select) and column in column.parent.expressions
        column.replace(exp.alias_(new, column.name) if listed else new)


def _day(columns: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    times = [(name, kind) for name, kind in columns if kind.startswith(("DATE", "TIMESTAMP"))]
    return times[0] if len(times) == 1 else None


def _longer(name: str, columns: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    """The only column whose name begins with ``name`` as a word (``fee``: ``fee_per_trip``)."""
    longer = [(other, kind) for other, kind in columns if other.lower().startswith(f"{name}_")]
    return longer[0] if name and len(longer) == 1 else None


def _constants(statement: Statement, found: Mapping[str, Mapping[str, str]]) -> None:
    """``SELECT level … WHERE level = 'ERROR'``: the rows are meant, not one text again and again."""
    select = statement.tree
    if not isinstance(select, exp.Select) or len(found) != 1 or len(select.expressions) != 1:
        return
    if any(select.args.get(part) for part in ("group", "distinct", "joins")):
        return
    column, where = select.expressions[0], select.args.get("where")
    if where is None or where.find(exp.Or) or not isinstance(column, exp.Column):
        return
    if any(equal.this == column for equal in where.find_all(exp.EQ)):
        names = {name.lower() for name in next(iter(found.values()))}
        select.set("expressions", [exp.column("text") if "text" in names else exp.Star()])


def _sums(statement: Statement) -> None:
    """``sum(a) * sum(b)`` and ``sum(a) * b`` over joined rows: every row's product is meant, added up."""
    for product in list(statement.tree.find_all(exp.Mul)):
        select = product.find_ancestor(exp.Select)
        if select is None or not select.args.get("joins") or select.args.get("group"):
            continue
        sides = [product.left, product.right]
        inner = [side.this if isinstance(side, exp.Sum) else side for side in sides]
        plain = all(isinstance(side, exp.Column) for side in inner)
        if plain and any(isinstance(side, exp.Sum) for side in sides) and product.find_ancestor(exp.Sum) is None:
            product.replace(exp.Sum(this=exp.Mul(this=inner[0].copy(), expression=inner[1].copy())))
