"""Which way round a division goes: small models know that they have to divide, and by what they often guess."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..steps import Node
from .repair import Shape
from .values import parse_ref, parts_in, ref_in

_ASKED = (
    re.compile(r"\bdivid\w+ (?:\w+ ){0,3}?(\w+) by (?:(?:its|their|the|this|that) )?(\w+)"),
    re.compile(r"\b(\w+) per (?:square |cubic )?(\w+)"),
)
_SAME = {"kilo": "kg", "kilogram": "kg", "square metre": "m2", "metre": "m", "kilometre": "km", "litre": "l"}


def turned(node: Node, shapes: Mapping[str, Shape], task: str) -> Node:
    """Return ``node`` with ``$2 / $1`` written ``$1 / $2`` where the task says that, by what the columns are called."""
    parts = parts_in(node.args.get("expression"))
    if not parts or len(parts) not in (3, 5) or len(refs := [part for part in parts if ref_in(part)]) != 2:
        return node
    if not re.fullmatch(
        r"(?:round\()?#\s*/\s*#(?:,\s*\d\))?", "".join("#" if ref_in(part) else str(part) for part in parts)
    ):
        return node
    above, below = (_called(ref_in(part) or "", shapes) for part in refs)
    for over, under in (match for asked in _ASKED for match in asked.findall(task.casefold())):
        told = _stem(over), _stem(under)
        if told[0] in below and told[0] not in above and told[1] in above and told[1] not in below:
            swapped = [refs[1] if part is refs[0] else refs[0] if part is refs[1] else part for part in parts]
            return node.model_copy(update={"args": {**node.args, "expression": {"$text": swapped}}})
    return node


def _called(ref: str, shapes: Mapping[str, Shape]) -> set[str]:
    """The words in the names of the columns that a reference takes."""
    parsed = parse_ref(ref)
    keys = [part for part in parsed.path if isinstance(part, str)]
    columns = keys or list(shapes.get(parsed.head) or {})
    return {_stem(word) for column in columns for word in re.findall(r"[a-z]+\d?", column.casefold())}


def _stem(word: str) -> str:
    word = word.removesuffix("s") if len(word) > 3 else word
    return _SAME.get(word, word)
