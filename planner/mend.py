"""What is put right in a plan without asking the model again, because a check has spelt it out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..steps import Node, Plan, ToolSpec
from .repair import literals
from .values import parents, parse_ref, parts_in, ref_in


def mended(node: Node, spec: ToolSpec, problems: Sequence[str]) -> Node:
    """Return ``node`` as a check has said it is to be written, where the check said so exactly.

    Understood are: ``write (SELECT limit FROM setup) for limit`` (or ``for setup.column``, which stands for any column
    of it); ``write FROM $1``; ``add JOIN b ON a.x = b.y``. The last two only for a statement that reads one table.
    """
    told = "\n".join(problems)
    swaps: list[tuple[str, str]] = []
    for column, table, name in re.findall(r"write \(SELECT (\w+) FROM (\w+)\) for ([\w.]+)", told):
        if name == f"{table}.column":
            swaps.append((rf"(?i)\b{table}\.(\w+)", rf"(SELECT \1 FROM {table})"))
        else:
            swaps.append((rf"(?i)(?:\b\w+\.)?\b{column}\b(?! FROM)", f"(SELECT {column} FROM {table})"))
    source = re.search(r"write FROM \$(\d+)", told)
    join = None if source else re.search(r"add (JOIN (\w+) ON \w+\.\w+ = \w+\.\w+)", told)
    args = dict(node.args)
    for name in spec.binds:
        value = _swapped(args.get(name), swaps)
        if isinstance(value, str) and (one := only_table(value)) is not None:
            if source is not None:
                value = {"$text": [value[: one.start(1)], {"$ref": f"n{source[1]}"}, value[one.end(1) :]]}
                value["$text"] = [part for part in value["$text"] if part]
            elif join is not None and join[2] != one[1]:
                value = f"{value[: one.end(1)]} {join[1]}{value[one.end(1) :]}"
        if value is not None:
            args[name] = value
    return node if args == node.args else node.model_copy(update={"args": args})


LINK = re.compile(r"^- '(.+?)' is in ([\w.\", ]+)$", re.MULTILINE)
"""How a toolset's links tell where a value stands."""
_MONTHS = "january february march april may june july august september october november december".split()


def whole_months(node: Node, spec: ToolSpec, task: str) -> Node:
    """Return ``node`` with a month's first day written as the whole month, where the task names just the month."""
    said = [at for at, name in enumerate(_MONTHS, start=1) if re.search(rf"\b{name}\b", task.casefold())]
    if not said or re.search(r"\b(?:0?1|1st|first)\b", task.casefold()):
        return node
    swaps = [(rf"([\w.]+)\s*=\s*'(\d{{4}}-{at:02d})-01'", r"strftime(\1, '%Y-%m') = '\2'") for at in said]
    args = {name: _swapped(value, swaps) if name in spec.binds else value for name, value in node.args.items()}
    return node if args == node.args else node.model_copy(update={"args": args})


def with_named(plan: Plan, known: str) -> Plan:
    """Return ``plan`` with the conditions added on values that its task names and no line asks for.

    Only where one column of a table that a line reads has the value, and the line has no alias and no ``OR``: a
    value that the data has and the task names is hardly ever named for nothing.
    """
    told = "\n".join(_texts(node) for node in plan.nodes)
    for value, places in LINK.findall(known):
        if value.casefold() in told.casefold() or "'" in value:
            continue
        for table, _, column in (place.rpartition(".") for place in places.split(", ")):
            grouped = re.search(rf"(?i)\bgroup by\b.*\b{re.escape(column)}\b", told)
            nodes = tuple(_conditioned(node, table, column, value) for node in plan.nodes)
            if not grouped and nodes != plan.nodes:
                plan = plan.model_copy(update={"nodes": nodes})
                break
    return plan


def _texts(node: Node) -> str:
    return "\n".join(str(text) for _, text in literals(dict(node.args), "") if isinstance(text, str))


def _conditioned(node: Node, table: str, column: str, value: str) -> Node:
    """A statement that reads ``table`` with one more condition; other nodes as they are."""
    sql = node.args.get("sql")
    text = sql if isinstance(sql, str) else ""
    reads = re.search(
        rf"(?i)\b(?:from|join)\s+{re.escape(table)}\b(?!\s+(?:as\b|(?!where|join|on|group|order|limit|having)\w))", text
    )
    if not reads or re.search(r"(?i)\bor\b|\bunion\b|\(\s*select\b", text):
        return node
    condition = f"{table}.{column} = '{value}'"
    where = re.search(r"(?i)\bwhere\b", text)
    if where:
        text = f"{text[: where.end()]} {condition} AND{text[where.end() :]}"
    else:
        end = re.search(r"(?i)\s*(?:\bgroup by\b|\border by\b|\blimit\b|\bhaving\b|;?\s*$)", text)
        at = end.start() if end else len(text)
        text = f"{text[:at]} WHERE {condition}{text[at:]}"
    return node.model_copy(update={"args": {**node.args, "sql": text}})


def without_measures(node: Node, spec: ToolSpec, known: str) -> Node:
    """Return ``node`` without conditions that take the word for a quantity (``kilos``) for a value of a column."""
    words = re.findall(r"^- '(\w+)' is measured by ", known, re.MULTILINE)
    swaps = [(rf"(?i)\s+AND\s+[\w.]+\s*=\s*'{word}\w{{0,2}}'", "") for word in words]
    args = {name: _swapped(value, swaps) if name in spec.binds else value for name, value in node.args.items()}
    return node if args == node.args else node.model_copy(update={"args": args})


def only_table(sql: str) -> re.Match[str] | None:
    """Return the match of the one table (group 1) of a statement without joins, aliases and subqueries."""
    found = list(re.finditer(r"(?i)\bFROM\s+(\w+)(?=\s*(?:$|WHERE\b|GROUP\b|ORDER\b|LIMIT\b|HAVING\b))", sql))
    others = re.findall(r"(?i)\b(?:FROM|JOIN)\b", sql)
    return found[0] if len(found) == 1 and len(others) == 1 else None


def _swapped(value: Any, swaps: Sequence[tuple[str, str]]) -> Any:
    if (parts := parts_in(value)) is not None:
        return {"$text": [_swapped(part, swaps) for part in parts]}
    for wrong, right in swaps if isinstance(value, str) else ():
        value = re.sub(wrong, right, value)
    return value


def without_echoes(plan: Plan, specs: Mapping[str, ToolSpec]) -> Plan:
    """Return ``plan`` without calls that only hand on one earlier result (``calculator(expression="$1")``)."""
    alias: dict[str, str] = {}
    nodes: list[Node] = []
    for node in plan.nodes:
        args = {name: _renamed(value, alias) for name, value in node.args.items()}
        node = node.model_copy(update={"args": args}) if args != node.args else node
        source = _echo(node, specs.get(node.tool))
        if source and not any(node.id in (*later.after, _head(later.when), _head(later.over)) for later in plan.nodes):
            alias[node.id] = source
        else:
            nodes.append(node)
    return plan.model_copy(update={"nodes": tuple(nodes)}) if alias else plan


def without_misses(plan: Plan, problems: Mapping[str, Sequence[str]]) -> Plan:
    """Return ``plan`` without looks into folders and files that are not there, where nothing uses them.

    Small models begin with a look around; what they really need comes after it. ``problems`` are by node id.
    """
    missed = {
        id
        for id, told in problems.items()
        if any(re.match(r"(?:\w+: )?there is no (?:folder|file) ", text) for text in told)
    }
    used = {parent for node in plan.nodes for parent in parents(node)}
    nodes = tuple(node for node in plan.nodes if node.id not in missed - used or node.effect != "read")
    return plan.model_copy(update={"nodes": nodes}) if nodes and len(nodes) < len(plan.nodes) else plan


def _echo(node: Node, spec: ToolSpec | None) -> str:
    """Return the reference that a call hands on unchanged: its only argument, a bound text of nothing else."""
    if spec is None or spec.effect.value != "read" or len(node.args) != 1 or node.when or node.over:
        return ""
    [(name, value)] = node.args.items()
    parts = parts_in(value) or []
    alone = name in spec.binds and len([part for part in parts if str(part).strip()]) == 1
    return (ref_in(parts[0]) or "") if alone and name == "expression" else ""


def _head(value: Any) -> str:
    return parse_ref(ref).head if (ref := ref_in(value)) else ""


def _renamed(value: Any, alias: Mapping[str, str]) -> Any:
    if not alias:
        return value
    if (ref := ref_in(value)) is not None:
        head = parse_ref(ref).head
        return {"$ref": alias[head] + ref[len(head) :]} if head in alias else value
    if isinstance(value, dict):
        return {key: _renamed(item, alias) for key, item in value.items()}
    return [_renamed(item, alias) for item in value] if isinstance(value, list) else value


def elsewhere(problem: str, node: Node, plan: Plan) -> str:
    """Return where a column that a problem misses is: in the result of an earlier line that named it so."""
    missing = re.search(r"there is no column (\w+)", problem)
    for earlier in plan.nodes if missing else ():
        if earlier.id == node.id:
            break
        texts = [text for _, text in literals(dict(earlier.args), "") if isinstance(text, str)]
        if missing and any(re.search(rf"(?i)\bAS {missing[1]}\b", text) for text in texts):
            return f"; {missing[1]} is in the result of line {earlier.id[1:]}: write FROM ${earlier.id[1:]}"
    return ""
