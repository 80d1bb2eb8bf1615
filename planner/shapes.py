"""Columns that references need, held against the columns that calls will give: known before anything runs.

A plan that reads ``$2.text`` of a line that selects only ``lines`` fails halfway; here it is seen while it is
written, and mended where the missing column only has to be selected too.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from ..steps import Node, Plan
from .repair import Shape
from .values import parse_ref, parts_in, ref_in, refs

_EXTREME = re.compile(
    r"(?is)\s*select\s+(max|min)\(([\w.]+)\)(?:\s+as\s+\w+)?\s+(from\s+(?:(?!\b(?:group|order|limit|having)\b).)+?);?\s*"
)
"""The largest or smallest of a column, which belongs to one row."""
_COMPARE = re.compile(r"compare with \$(\d+)\.(\w+)")
_TOO = re.compile(r"let line (\d+) select (\w+) too")


def unmet(node: Node, shapes: Mapping[str, Shape]) -> Iterator[str]:
    """Problems, worded for a model, of references to a column that the earlier call will not give."""
    for text in dict.fromkeys(refs(node)):
        ref = parse_ref(text)
        shape = shapes.get(ref.head)
        keys = [part for part in ref.path if isinstance(part, str)]
        if shape and keys and keys[0] not in shape:
            number = ref.head[1:]
            yield f"${text[1:]}: line {number} gives {', '.join(shape)}; let line {number} select {keys[0]} too."


def selecting(plan: Plan, node: Node, problems: Sequence[str], *, kept: Collection[str] = ()) -> Plan:
    """Return ``plan`` with the column taken that ``node`` needs of an earlier line, selected there if it is not yet.

    Understood are ``let line 1 select name too`` and ``compare with $1.name``, by which ``node`` reads that column
    from then on. Lines that have run (``kept``) stay as they are. The same object when there is nothing to do.
    """
    told = "\n".join(problems)
    found, compared = _TOO.search(told), _COMPARE.search(told)
    if (found or compared) is None or (found and f"n{found[1]}" in kept):
        return plan
    number, column = (found or compared).groups()  # type: ignore[union-attr]
    source = f"n{number}"
    nodes = []
    for each in plan.nodes:
        if each.id == source and found:
            args = {name: _with_column(value, column) for name, value in each.args.items()}
            each = each.model_copy(update={"args": args})
        elif each.id == node.id and compared:
            args = {name: _renamed(value, source, f"{source}.{column}") for name, value in each.args.items()}
            each = each.model_copy(update={"args": args})
        nodes.append(each)
    return plan.model_copy(update={"nodes": tuple(nodes)})


def bare(node: Node, shapes: Mapping[str, Shape]) -> Node:
    """Return ``node`` with ``$1.km`` written ``$1`` where line 1 gives nothing but ``km``: a single value is bare."""
    args: dict[str, Any] = dict(node.args)
    for text in dict.fromkeys(refs(node)):
        ref = parse_ref(text)
        shape = shapes.get(ref.head)
        if shape and len(shape) == 1 and ref.path in ((next(iter(shape)),), (0, next(iter(shape)))):
            args = {name: _renamed(value, text, ref.head) for name, value in args.items()}
    return node if args == node.args else node.model_copy(update={"args": args})


def _with_column(value: Any, column: str) -> Any:
    """A SELECT with one more column at the end of its list; that of an extreme is of the same row; else as it is."""
    if (parts := parts_in(value)) is not None:
        return {"$text": [_with_column(parts[0], column), *parts[1:]]}
    if not isinstance(value, str) or not re.match(r"(?i)\s*select\s+(?!distinct\b)", value):
        return value
    if extreme := _EXTREME.fullmatch(value):
        order = "DESC" if extreme[1].lower() == "max" else "ASC"
        return f"SELECT {extreme[2]}, {column} {extreme[3]} ORDER BY {extreme[2]} {order} LIMIT 1"
    depth = 0
    for match in re.finditer(r"(?i)[()]|'[^']*'|\bfrom\b", value):
        depth += (match.group() == "(") - (match.group() == ")")
        if depth == 0 and match.group().lower() == "from":
            return f"{value[: match.start()].rstrip()}, {column} {value[match.start() :]}"
    return value


def _renamed(value: Any, ref: str, instead: str) -> Any:
    if ref_in(value) is not None:
        return {"$ref": instead} if ref_in(value) == ref else value
    if isinstance(value, dict):
        return {key: _renamed(item, ref, instead) for key, item in value.items()}
    return [_renamed(item, ref, instead) for item in value] if isinstance(value, list) else value
