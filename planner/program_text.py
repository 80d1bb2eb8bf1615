"""A plan as the text of a program: what ``program.py`` reads, written."""

from __future__ import annotations

import json
import keyword
from collections.abc import Mapping, Sequence
from typing import Any

from ..steps import Node
from .values import parse_ref, parts_in, ref_in


def write_program(nodes: Sequence[Node], answers: Sequence[str] = ()) -> str:
    """Return the program of ``nodes``, whose results are called r1, r2, ...; ``parse_program`` reads it back.

    Calls that only come ``after`` others and policies have no words in a program and are lost.
    """
    lines = [written(node) for node in nodes]
    if answers:
        lines.append("return " + ", ".join(f"r{id[1:]}" for id in answers))
    return "\n".join(lines)


def written(node: Node) -> str:
    """Return the statement of one call, with the ``if`` and the ``for`` that it stands in."""
    args = ", ".join(f"{name}={_value(value)}" for name, value in node.args.items())
    line, depth = "", 0
    for word, value in (("if ", node.when), ("for item in ", node.over)):
        if value is not None:
            source = _reference(ref_in(value) or "", '"')
            line += f"{'    ' * depth}{word}{source}:\n"
            depth += 1
    return f"{line}{'    ' * depth}r{node.id[1:]} = {node.tool}({args})"


def _value(value: Any) -> str:
    if (ref := ref_in(value)) is not None:
        return _reference(ref, '"')
    if (parts := parts_in(value)) is not None:
        inside = [
            _braced(part) if (ref := ref_in(part)) is None else "{" + _reference(ref, "'") + "}" for part in parts
        ]
        return 'f"' + "".join(inside) + '"'
    if isinstance(value, Mapping):
        return (
            "{"
            + ", ".join(f"{json.dumps(key, ensure_ascii=False)}: {_value(item)}" for key, item in value.items())
            + "}"
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _braced(part: Any) -> str:
    return json.dumps(str(part), ensure_ascii=False)[1:-1].replace("{", "{{").replace("}", "}}")


def _reference(text: str, quote: str) -> str:
    ref = parse_ref(text)
    out = ref.head if ref.head == "item" else f"r{ref.head[1:]}"
    for part in ref.path:
        plain = isinstance(part, str) and part.isidentifier() and not keyword.iskeyword(part)
        out += f".{part}" if plain else f"[{part}]" if isinstance(part, int) else f"[{quote}{part}{quote}]"
    return out
