"""Texts compared with numbers that are still to come: an earlier line found the wrong column of the right row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from sqlglot import exp

from ..protocols import Pending
from .relations import Join
from .sql import Statement

_REF = re.compile(r"\$(\d+)(?:\[\d+\])?(?:\.(\w+))?")
_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL")


def mismatches(statement: Statement, found: Mapping[str, Mapping[str, str]], joins: Sequence[Join]) -> Iterator[str]:
    """Yield what is wrong with comparisons of a text column and a number of an earlier line, and the mend."""
    for node in statement.tree.find_all(exp.EQ, exp.In):
        column, *others = [node.this, *node.expressions, node.args.get("expression")]
        if isinstance(node, exp.EQ) and isinstance(node.expression, exp.Column):
            column, others = node.expression, [node.this]
        names = [other.name for other in others if isinstance(other, exp.Placeholder)]
        if not isinstance(column, exp.Column) or _kinds(column, found) != {"VARCHAR"}:
            continue
        for name in names:
            if name in statement.origins:
                yield from _told(column.name, statement.origins[name], joins)


def _told(column: str, value: Pending, joins: Sequence[Join]) -> Iterator[str]:
    ref = _REF.fullmatch(value.ref)
    if ref is None or not value.columns:
        return
    given = ref[2] or (column if column in value.columns else next(iter(value.columns)))
    if not value.columns.get(given, "").startswith(_NUMBERS):
        return
    texts = [name for name, kind in value.columns.items() if kind == "VARCHAR"]
    partners = [join.key for join in joins if join.column == column]
    partners += [join.column for join in joins if join.key == column]
    what = f"{column} is a text, but ${ref[1]} is {given}, a number"
    if texts:
        yield f"{what}; compare with ${ref[1]}.{texts[0]}"
    else:
        key = next(iter(partners), column)
        yield f"{what}; let line {ref[1]} select {key} too, and compare with ${ref[1]}.{key}"


def _kinds(column: exp.Column, found: Mapping[str, Mapping[str, str]]) -> set[str]:
    own = found.get(column.table)
    tables = [own] if own is not None else list(found.values())
    return {kind for table in tables for name, kind in table.items() if name.lower() == column.name.lower()}
