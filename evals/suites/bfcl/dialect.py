"""BFCL's functions as JSON schema and as tools of ours, and calls of those back in BFCL's names.

The dialect has types that JSON schema lacks (``dict``, ``float``, ``tuple``, ``any``, Java's and JavaScript's), marks
optional parameters twice or not at all, gives choices of a list at the list, and defaults of another type.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import JsonValue

from ....steps import Plan, ToolSpec
from .literals import Language

_TYPES = {
    "string": "string",
    "integer": "integer",
    "float": "number",
    "boolean": "boolean",
    "array": "array",
    "tuple": "array",
    "dict": "object",
    # As published: a value of any type is given as text.
    "any": "string",
}
_KEPT = ("description", "format", "minItems", "maxItems", "minimum", "maximum")
_RESERVED = {"outside"}
"""A plan's line that refuses has this name."""


class Catalogue(NamedTuple):
    """Functions as tools."""

    specs: tuple[ToolSpec, ...]
    functions: Mapping[str, str]
    """Function by tool."""
    arguments: Mapping[str, Mapping[str, str]]
    """Parameter of the function by parameter of the tool, for every tool."""


def parameters(function: Mapping[str, Any], *, language: Language) -> dict[str, Any]:
    """Return the JSON schema of a function's arguments. Java and JavaScript arguments are texts: source code."""
    given = function.get("parameters") or {}
    properties: Mapping[str, Any] = given.get("properties") or {}
    made = {
        name: _schema(each) if language == "python" else _source(each, language) for name, each in properties.items()
    }
    required = [name for name in given.get("required") or () if name in made]
    return {"type": "object", "properties": made, "required": required}


def catalogue(functions: Sequence[Mapping[str, Any]], *, language: Language) -> Catalogue:
    """Return the functions as tools that read, under names that tools may have."""
    specs, names, arguments = list[ToolSpec](), dict[str, str](), dict[str, dict[str, str]]()
    for function in functions:
        schema = parameters(function, language=language)
        renamed: dict[str, str] = {}
        for name in schema["properties"]:
            renamed[_plain(name, taken=renamed)] = name
        to = {name: new for new, name in renamed.items()}
        schema["properties"] = {to[name]: each for name, each in schema["properties"].items()}
        schema["required"] = [to[name] for name in schema["required"]]
        schema["additionalProperties"] = False
        tool = tool_name(function["name"], taken={*names, *_RESERVED})
        names[tool], arguments[tool] = function["name"], renamed
        specs.append(ToolSpec(name=tool, description=function.get("description", ""), parameters=schema))
    return Catalogue(tuple(specs), names, arguments)


def planned(plan: Plan, tools: Catalogue) -> list[dict[str, Any]]:
    """Return the calls of a plan in BFCL's names. A reference to an earlier result stays what it is: no value."""
    return [
        {
            "name": tools.functions.get(node.tool, node.tool),
            "arguments": {tools.arguments.get(node.tool, {}).get(name, name): each for name, each in node.args.items()},
        }
        for node in plan.nodes
    ]


def numbered(calls: Sequence[Mapping[str, Any]], functions: Sequence[Mapping[str, Any]]) -> list[JsonValue]:
    """Return ``calls`` with every number of the declared type: JSON tells no 1 from 1.0."""
    schemas = {each["name"]: (each.get("parameters") or {}).get("properties") or {} for each in functions}
    return [
        {
            "name": call["name"],
            "arguments": {
                name: _number(value, schemas.get(call["name"], {}).get(name))
                for name, value in call["arguments"].items()
            },
        }
        for call in calls
    ]


def tool_name(name: str, *, taken: Container[str] = ()) -> str:
    """Return ``name`` as a tool may be called: ``Spotify.playSong`` becomes ``spotify_play_song``."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", _ascii(name)).lower()
    plain = re.sub(r"[^a-z0-9]+", "_", words).strip("_")[:60].rstrip("_")
    return _unique(plain if plain[:1].isalpha() else f"f_{plain}".rstrip("_"), taken)


def _plain(name: str, *, taken: Container[str]) -> str:
    """A parameter's name in the letters that a plan's line takes."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", _ascii(name))
    return _unique(plain if re.match(r"[A-Za-z_]", plain) else f"p_{plain}", taken)


def _unique(name: str, taken: Container[str]) -> str:
    tries = (name if turn == 1 else f"{name}_{turn}" for turn in range(1, 1000))
    return next(each for each in tries if each not in taken)


def _ascii(text: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))


def _schema(given: Any) -> dict[str, Any]:
    given = given if isinstance(given, Mapping) else {}
    kind = _TYPES.get(str(given.get("type", "any")), "string")
    made: dict[str, Any] = {"type": kind, **{key: given[key] for key in _KEPT if key in given}}
    choices = given.get("enum")
    if kind == "array":
        items = _schema(given["items"]) if given.get("items") else {}
        listed = choices and not any(isinstance(each, list) for each in choices)
        made["items"] = {**items, "enum": list(choices)} if listed and items else items
    elif choices and (typed := _typed(choices, kind)):
        made["enum"] = typed
    if kind == "object" and given.get("properties"):
        made["properties"] = {name: _schema(each) for name, each in given["properties"].items()}
        made["required"] = [name for name in given.get("required") or () if name in made["properties"]]
    default = given.get("default")
    if default is not None and (typed := _typed([default], kind)):
        made["default"] = typed[0]
    return made


def _typed(values: Sequence[Any], kind: str) -> list[Any]:
    """``values`` as the declared type; nothing when one of them has no such form."""
    if kind == "integer":
        values = [int(each) if isinstance(each, str) and re.fullmatch(r"-?\d+", each) else each for each in values]
    if kind == "boolean":
        words = {"true": True, "false": False}
        values = [words.get(each.lower(), each) if isinstance(each, str) else each for each in values]
    classes: dict[str, tuple[type, ...]] = {
        "string": (str,),
        "integer": (int,),
        "number": (int, float),
        "boolean": (bool,),
        "array": (list,),
        "object": (dict,),
    }
    fit = all(isinstance(each, classes[kind]) and isinstance(each, bool) == (kind == "boolean") for each in values)
    return list(values) if fit else []


def _source(given: Any, language: Language) -> dict[str, Any]:
    """A Java or JavaScript argument: text, with the type it has as source code."""
    kind, item = str(given.get("type", "any")), str((given.get("items") or {}).get("type", ""))
    spoken = "Java" if language == "java" else "JavaScript"
    kind = {"any": "any type", "": "any type"}.get(kind, f"type {kind}")
    form = f"{spoken} source text of {kind}{f' of {item}' if item else ''}"
    inside = given.get("properties")
    names = ", ".join(f"{name}: {each.get('type', 'any')}" for name, each in (inside or {}).items())
    keys = f" with {names}" if names else ""
    return {"type": "string", "description": f"{given.get('description', '')} ({form}{keys})".strip()}


def _number(value: Any, schema: Any) -> Any:
    schema = schema if isinstance(schema, Mapping) else {}
    kind = schema.get("type")
    if isinstance(value, list) and kind in {"array", "tuple"}:
        return [_number(each, schema.get("items")) for each in value]
    if isinstance(value, dict) and kind == "dict":
        inside = schema.get("properties") or {}
        return {name: _number(each, inside.get(name)) for name, each in value.items()}
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    return value
