"""Rows of nothing but the measure that they were chosen by: given the names of what was measured.

``SELECT area FROM rooms WHERE area > 15`` answers which rooms are large with a list of areas. Where the table has a
column that names its rows, nobody wants them without it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..steps import Effect, Node, Plan, ToolSpec
from .mend import only_table
from .values import parents

_MEASURE = re.compile(
    r"(?i)\s*select\s+(?P<column>\w+)\s+from\s+\w+\s+where\s+(?P=column)\s*(?:[<>]=?|<>|!=|between\b)\s*[-\d.]"
)
_COUNTED = re.compile(r"(?i)\b(?:group|limit|having|distinct|or|union)\b")


def with_whose(plan: Plan, specs: Mapping[str, ToolSpec], known: str) -> Plan:
    """Return ``plan`` with the naming column selected where a line reads only the column that it compares.

    Results that a calculation or another statement takes stay as they are; one that is written or answered does not.
    ``known`` is what the planner was told of the tables: a naming column is ``name``, or is called after the table.
    """
    taken = {
        id for node in plan.nodes if (spec := specs.get(node.tool)) is None or spec.effect is Effect.READ
        for id in parents(node)
    }  # fmt: skip
    nodes = tuple(node if node.id in taken else _named(node, known) for node in plan.nodes)
    return plan if nodes == plan.nodes else plan.model_copy(update={"nodes": nodes})


def _named(node: Node, known: str) -> Node:
    sql = node.args.get("sql")
    if not isinstance(sql, str) or _COUNTED.search(sql):
        return node
    measure, table = _MEASURE.match(sql), only_table(sql)
    name = _name(table[1], known) if measure and table else ""
    if not measure or not name or name == measure["column"].casefold():
        return node
    at = measure.start("column")
    return node.model_copy(update={"args": {**node.args, "sql": f"{sql[:at]}{name}, {sql[at:]}"}})


def _name(table: str, known: str) -> str:
    """The text column that names the rows of ``table``, or "" when none does."""
    told = re.search(rf"(?im)^- {re.escape(table)} \([^\n]*?\): ([^\n]*)", known)
    columns = re.findall(r"(?:^|, )(\w+) text\b", told[1]) if told else []
    wanted = ("name", table.casefold(), table.casefold().removesuffix("s"), table.casefold().rpartition("_")[2])
    return next((column for name in wanted for column in columns if column.casefold() == name), "")
