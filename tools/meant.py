"""What a statement means where it says something that cannot be meant: mended in the tree, before it runs.

Only where there is one reading: a day asked of a table whose only time is a timestamp, texts compared from their
beginning that are the lines of texts, and a product of sums over joined rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlglot import exp

from .sql import Statement

_DAYS = frozenset({"date", "day"})


def settle(statement: Statement, found: Mapping[str, Mapping[str, str]]) -> None:
    """Put right what can only be meant one way, given the columns of the tables of a statement."""
    statement.qualify_join_keys()
    statement.compare_as_text()
    statement.unquote_values({column.lower() for columns in found.values() for column in columns})
    _days(statement, found)
    _sums(statement)


def read_lines(statement: Statement, lines: Callable[[str], str]) -> None:
    """Read the lines of a folder's texts where its texts are compared from their beginning.

    ``lines`` returns the name of the table of lines for that of a folder's texts, or nothing.
    """
    names = [name for name in statement.tables if lines(name)]
    begun = [
        like
        for like in statement.tree.find_all(exp.Like, exp.ILike)
        if isinstance(like.this, exp.Column)
        and like.this.name.lower() == "text"
        and isinstance(like.expression, exp.Literal)
        and not like.expression.name.startswith("%")
    ]
    if not begun or len(names) != 1 or not set(map(str.lower, statement.names())) <= {"text", "name", "line"}:
        return
    for table in statement.tree.find_all(exp.Table):
        if table.name == names[0]:
            if not table.alias:
                table.set("alias", exp.TableAlias(this=exp.to_identifier(names[0])))
            table.set("this", exp.to_identifier(lines(names[0]), quoted=True))
    statement.tables[statement.tables.index(names[0])] = lines(names[0])


def _days(statement: Statement, found: Mapping[str, Mapping[str, str]]) -> None:
    known = {column.lower() for columns in found.values() for column in columns}
    known |= {alias.alias.lower() for alias in statement.tree.find_all(exp.Alias)}
    times = [name for columns in found.values() for name, kind in columns.items() if kind.startswith("TIMESTAMP")]
    if len(times) != 1:
        return
    for column in list(statement.tree.find_all(exp.Column)):
        if column.name.lower() in _DAYS - known:
            day = exp.cast(exp.column(times[0], table=column.table or None), "DATE")
            listed = isinstance(column.parent, exp.Select) and column in column.parent.expressions
            column.replace(exp.alias_(day, column.name) if listed else day)


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
