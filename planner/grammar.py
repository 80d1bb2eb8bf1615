"""GBNF in which only plans over a catalogue can be written: known tools, their arguments in the order of
their schema, typed literals, and references to earlier lines only.

There is no optional whitespace (weak models fill it until they run out of tokens) and every line has its
own set of references, so a forward reference is not a mistake to repair but text that cannot be sampled.
The refusal stands beside the first line: the way out is always open. The last line, ``return $2, $3``, says
which results answer the task; what it is for is that a model decides to stop, as it does at the end of a function.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..steps import ToolSpec

_SHARED = r"""
chars ::= [^"\\$\x00-\x1f\x7f] | "\\" [^u\x00-\x1f\x7f] | "\\u" [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F]
dollar ::= "$" [^0-9A-Za-z_{"\\$\x00-\x1f\x7f]
plain ::= "\"" ( chars | dollar )* "$"? "\""
int ::= "-"? ( "0" | [1-9] [0-9]{0,15} )
num ::= int ( "." [0-9]{1,20} )? ( [eE] [+-]? [0-9]{1,2} )?
name ::= [A-Za-z_] [A-Za-z0-9_]{0,40}
path ::= ( "." name | "[" ( "0" | [1-9] [0-9]{0,3} ) "]" ){0,4}
"""
_MAX_CHOICES = 60
"""Enumerations beyond this are left to validation: compiling hundreds costs seconds per request."""


def grammar(
    specs: Sequence[ToolSpec],
    *,
    first: int = 1,
    earlier: Sequence[int] = (),
    max_lines: int = 10,
    closed: bool = True,
    refuse: bool = True,
) -> str:
    """Return the GBNF of plans over ``specs``.

    Lines are numbered from ``first``; line k may refer to ``earlier`` numbers and to first..k-1. A plan has
    at most ``max_lines`` lines, or with ``refuse`` is a refusal instead. It ends with the results that answer the
    task unless it is not ``closed``.
    """
    built = Rules(specs)
    rest = ""
    for number in range(first + max_lines - 1, first - 1, -1):
        call = built.line((*earlier, *range(first, number)))
        end = built.end((*earlier, *range(first, number + 1))) if closed else '""'
        rest = f'"{number}. " {call} "\\n" ( {rest} | {end} )' if rest else f'"{number}. " {call} "\\n" {end}'
    ways = [rest] if specs else []
    if refuse or not ways:
        ways.append('"outside(reason=" plain ")"')
    return f"root ::= {' | '.join(ways)}\n" + "\n".join(built.rules.values()) + _SHARED


class Rules:
    """Collects the rules of a grammar; the same content gets the same rule."""

    def __init__(self, specs: Sequence[ToolSpec]) -> None:
        self.specs = specs
        self.rules: dict[str, str] = {}
        self.names: dict[str, str] = {}
        self.numbers: dict[str, str] = {}
        """Rule of the line numbers in a reference, by the rule of that reference."""

    def line(self, ids: tuple[int, ...]) -> str:
        """Name of the rule of a call that may refer to ``ids``."""
        refs = self.refs(ids)
        calls = [f'"{spec.name}(" {self.args(spec, refs)} ")"' for spec in self.specs]
        return self.rule("call", " | ".join(calls)) if calls else '""'

    def end(self, ids: tuple[int, ...]) -> str:
        """Name of the rule of the last line, which names the results that answer the task."""
        ref = self.ref(ids)
        return self.rule("end", f'"return " {ref} ( ", " {ref} )*')

    def refs(self, ids: tuple[int, ...]) -> tuple[str, str]:
        """Rules of a bare reference and of a text, both mentioning only ``ids``."""
        if not ids:
            return "", "plain"
        number, ref = self.number(ids), self.ref(ids)
        text = self.rule("text", f'"\\"" ( chars | dollar | "$" {number} | "${{" {number} path "}}" )* "$"? "\\""')
        return ref, text

    def number(self, ids: tuple[int, ...]) -> str:
        """Name of the rule of the numbers ``ids``."""
        singles = "".join(str(id) for id in ids if id < 10)
        return self.rule(
            "id", " | ".join(([f"[{singles}]"] if singles else []) + [f'"{id}"' for id in ids if id >= 10])
        )

    def ref(self, ids: tuple[int, ...]) -> str:
        """Name of the rule of a reference to one of ``ids`` or a part of it."""
        number = self.number(ids)
        ref = self.rule("ref", f'"$" {number} path')
        self.numbers[ref] = number
        return ref

    def args(self, spec: ToolSpec, refs: tuple[str, str]) -> str:
        """An expression for the arguments of ``spec``, in the order of its schema."""
        properties: Mapping[str, Any] = spec.parameters.get("properties") or {}
        required = set(spec.parameters.get("required") or ())
        items = [
            (f'"{name}=" {self.argument(name, schema, refs, spec)}', name in required)
            for name, schema in properties.items()
        ]
        return self.rule("args", _sequence(items)) if items else '""'

    def argument(self, name: str, schema: Any, refs: tuple[str, str], spec: ToolSpec) -> str:
        """As ``value``, but in bound texts (SQL, expressions) a dollar is always a reference."""
        if name not in spec.binds:
            return self.value(schema, refs, spec.parameters)
        number = refs[0] and self.numbers[refs[0]]
        mention = f' | "$" {number} path' if number else ""
        return self.value(schema, (refs[0], self.rule("bound", f'"\\"" ( chars{mention} )* "\\""')), spec.parameters)

    def value(self, schema: Any, refs: tuple[str, str], root: Mapping[str, Any], depth: int = 0) -> str:
        """An expression for values of ``schema``, or a reference to an earlier result."""
        ref = refs[0]
        ways = self.literal(schema, refs, root, depth)
        if ref:
            ways = [*ways, ref]
        return ways[0] if len(ways) == 1 else self.rule("value", " | ".join(dict.fromkeys(ways)))

    def literal(self, schema: Any, refs: tuple[str, str], root: Mapping[str, Any], depth: int) -> list[str]:
        """Expressions for values of ``schema`` that are written out."""
        schema = _followed(schema, root)
        if "const" in schema:
            return [_terminal(schema["const"])]
        choices = schema.get("enum")
        if isinstance(choices, list) and len(choices) <= _MAX_CHOICES:
            return [_terminal(choice) for choice in choices]
        branches = schema.get("anyOf") or schema.get("oneOf")
        if branches and depth < 4:
            return [way for branch in branches for way in self.literal(branch, refs, root, depth + 1)]
        kinds = schema.get("type")
        kinds = kinds if isinstance(kinds, list) else [kinds]
        return [way for kind in kinds for way in self.kind(kind, schema, refs, root, depth)]

    def kind(self, kind: Any, schema: Mapping[str, Any], refs: tuple[str, str], root: Any, depth: int) -> list[str]:
        """Expressions for values of a JSON type; of any when the schema names none."""
        simple = {
            "string": [refs[1]],
            "integer": ["int"],
            "number": ["num"],
            "boolean": ['"true"', '"false"'],
            "null": ['"null"'],
        }
        if kind in simple:
            return simple[kind]
        if depth >= 3:
            return [refs[1], "num", '"true"', '"false"', '"null"']
        if kind == "array":
            item = self.value(schema.get("items") or {}, refs, root, depth + 1)
            return [self.rule("list", f'"[" ( {item} ( ", " {item} )* )? "]"')]
        if kind == "object":
            return [self.object(schema, refs, root, depth)]
        return [
            *(refs[1], "num", '"true"', '"false"', '"null"'),
            *self.kind("array", {}, refs, root, depth + 1),
            *self.kind("object", {}, refs, root, depth + 1),
        ]

    def object(self, schema: Mapping[str, Any], refs: tuple[str, str], root: Any, depth: int) -> str:
        """Name of the rule of an object with the properties of ``schema``, or with any."""
        properties = schema.get("properties")
        if properties:
            required = set(schema.get("required") or ())
            items = [
                (f"{_terminal(name, ': ')} {self.value(each, refs, root, depth + 1)}", name in required)
                for name, each in properties.items()
            ]
            return self.rule("object", f'"{{" {_sequence(items)} "}}"')
        other = schema.get("additionalProperties")
        item = self.value(other if isinstance(other, dict) else {}, refs, root, depth + 1)
        pair = f'"\\"" name "\\": " {item}'
        return self.rule("object", f'"{{" ( {pair} ( ", " {pair} )* )? "}}"')

    def rule(self, kind: str, body: str) -> str:
        """Name of the rule that stands for ``body``."""
        if body not in self.names:
            name = f"{kind}{len(self.names) + 1}"
            self.names[body] = name
            self.rules[name] = f"{name} ::= {body}"
        return self.names[body]


def _sequence(items: Sequence[tuple[str, bool]]) -> str:
    """An expression for ``items`` in order, comma-separated, those that are not required skippable."""
    if not any(required for _, required in items):
        starts = [_following([item, *items[place + 1 :]]) for place, item in enumerate(items)]
        return f"( {' | '.join(starts)} )?" if starts else '""'
    must = next(place for place, (_, required) in enumerate(items) if required)
    before = "".join(f'( {body} ", " )? ' for body, _ in items[:must])
    return before + _following(items[must:])


def _following(items: Sequence[tuple[str, bool]]) -> str:
    parts = [items[0][0]]
    for body, required in items[1:]:
        parts.append(f'", " {body}' if required else f'( ", " {body} )?')
    return " ".join(parts)


def _terminal(value: Any, after: str = "") -> str:
    """A GBNF literal of the JSON of ``value``."""
    text = json.dumps(value, ensure_ascii=False) + after
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _followed(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """``schema``, or what its local ``$ref`` points to."""
    for _ in range(4):
        target = schema.get("$ref") if isinstance(schema, dict) else None
        if not isinstance(target, str) or not target.startswith("#/"):
            break
        found: Any = root
        for part in target[2:].split("/"):
            found = found.get(part, {}) if isinstance(found, dict) else {}
        schema = found
    return schema if isinstance(schema, dict) else {}
