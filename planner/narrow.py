"""A whole table where one value is due: narrowed to the row that an earlier line has found.

Small models find the best of one table and then read a column of another without saying for which row. Where the
data says how the tables join, the condition that is missing is the only one possible.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..steps import Node, Plan, ToolSpec
from .mend import only_table
from .repair import Shape
from .values import parse_ref, parts_in, refs

_GROUPS = re.compile(
    r"(?i)\b(?:where|limit|group|having)\b|\b(?:sum|avg|count|min|max|median|any_value|list|arg_\w+)\s*\("
)
_JOIN = re.compile(r"(\w+)\.(\w+) = (\w+)\.(\w+)")


def narrowed(plan: Plan, node: Node, spec: ToolSpec, *, shapes: Mapping[str, Shape], known: str) -> Plan:
    """Return ``plan`` with the condition added by which ``node``, a calculation, gets one value; else the same object.

    ``known`` is what the planner was told of the data: how many rows tables have, and how they join.
    """
    if not _plain(node, spec):
        return plan
    used = {parse_ref(ref).head for ref in refs(node)}
    heads = [each.id for each in plan.nodes if each.id in used]
    for place, head in enumerate(heads):
        sql = plan.node(head).args.get("sql")
        table = only_table(sql) if isinstance(sql, str) and not _GROUPS.search(sql) else None
        if table is None or _rows(table[1], known) < 2 or not isinstance(sql, str):
            continue
        for other in heads[:place]:
            for key, column in _keys(table[1], known):
                if column in (shapes.get(other) or {}) and _is_one_row(plan.node(other)):
                    text = [f"{sql[: table.end(1)]} WHERE {key} = ", {"$ref": f"{other}.{column}"}, sql[table.end(1) :]]
                    args = {**plan.node(head).args, "sql": {"$text": [part for part in text if part]}}
                    changed = plan.node(head).model_copy(update={"args": args})
                    nodes = tuple(changed if each.id == head else each for each in plan.nodes)
                    return plan.model_copy(update={"nodes": nodes})
    return plan


def _plain(node: Node, spec: ToolSpec) -> bool:
    """True for a calculation of nothing but operators between results and numbers."""
    value = node.args.get("expression")
    parts = parts_in(value) if "expression" in spec.binds else None
    return bool(parts) and not any(re.search(r"[A-Za-z]", part) for part in parts or () if isinstance(part, str))


def _is_one_row(node: Node) -> bool:
    sql: Any = node.args.get("sql")
    text = sql if isinstance(sql, str) else "".join(part for part in parts_in(sql) or () if isinstance(part, str))
    return bool(re.search(r"(?i)\blimit\s+1\s*$", text))


def _rows(table: str, known: str) -> int:
    found = re.search(rf"^- {re.escape(table)} \([^\n]*?(\d+) rows?\)", known, re.MULTILINE)
    return int(found[1]) if found else 0


def _keys(table: str, known: str) -> Iterator[tuple[str, str]]:
    """The columns of ``table`` that join others, each with the name that it has there and its own."""
    told = "\n".join(line for line in known.splitlines() if line.startswith("- tables join ON "))
    for many, column, one, key in _JOIN.findall(told):
        if table in (many, one):
            own, other = (column, key) if table == many else (key, column)
            yield own, other
            yield own, own
