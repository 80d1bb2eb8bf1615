"""Whether an argument is one of the acceptable values, by BFCL's published rules.

An answer lists acceptable values for every argument; ``""`` among them says that it may be left out. Beyond that:

* Types are strict: ``true`` is no number, ``5.0`` no integer; only an integer may stand where a float is declared.
* Texts are compared without case, spaces and ``,./-_*^``; single quotes equal double quotes.
* When the first acceptable value is not of the declared type, the argument stands for a variable or a constant;
  it may then have the type of that value, and is compared exactly.
* Elements of a list have the declared type or that of the first acceptable element; order counts.
* A dictionary lists acceptable values for each of its keys; a list of dictionaries is matched in order.
* Java and JavaScript arguments are source text, read by the declared type first (``literals.py``).

Stricter than published: inside dictionaries ``true`` is not 1. More lenient: lists and dictionaries inside
dictionaries are compared by the same rules, and quoted texts in Java arrays are read as texts (as published, no
Java array of texts can be right).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .literals import LISTS, Language, read

KINDS: Mapping[Language, Mapping[str, type]] = {
    "python": {
        "string": str,
        "integer": int,
        "float": float,
        "boolean": bool,
        "array": list,
        "tuple": list,
        "dict": dict,
        "any": str,
    },
    "java": {
        **dict.fromkeys(("byte", "short", "integer", "long"), int),
        **dict.fromkeys(("float", "double"), float),
        "boolean": bool,
        **dict.fromkeys(("char", "String", "any"), str),
        **dict.fromkeys(("Array", "ArrayList", "Set", "Queue", "Stack"), list),
        **dict.fromkeys(("HashMap", "Hashtable"), dict),
    },
    "javascript": {
        "String": str,
        "integer": int,
        "float": float,
        "Bigint": int,
        "Boolean": bool,
        "dict": dict,
        "array": list,
        "any": str,
    },
}
"""What an argument of a declared type is once it is read."""

_SKIPPED = re.compile(r"[ ,./\-_*^]")


def normal(text: str) -> str:
    """Return ``text`` as texts are compared."""
    return _SKIPPED.sub("", text).lower().replace("'", '"')


def unlike(value: Any, wanted: Sequence[Any], schema: Mapping[str, Any], *, language: Language) -> str:
    """Return why ``value`` is none of the ``wanted`` ones; empty when it is one."""
    declared, item = str(schema.get("type", "any")), _item(schema)
    kinds = KINDS[language]
    kind = kinds.get(declared, str)
    if language != "python":
        if not isinstance(value, str):
            return f"{value!r} is not a text with a literal of type {declared}"
        value = read(value, declared, item=item, language=language)
    elif kind is float and type(value) is int:
        value = float(value)
    examples = [each for each in wanted if each != ""]
    example = type(examples[0]) if examples else kind
    named = example is not kind
    if type(value) is not kind:
        if type(value) is not example:
            return f"{value!r} is not of type {declared}"
        named = True
    elif (
        isinstance(value, list)
        and item in kinds
        and not _elements(value, wanted, None if item == "any" else kinds[item])
    ):
        return f"{value!r} has elements that are not of type {item}"
    if any(_one_of(value, each, exact=named, item=kinds.get(item)) for each in wanted):
        return ""
    return f"{value!r} is none of {list(wanted)!r}"


def _item(schema: Mapping[str, Any]) -> str:
    """The declared type of the elements; empty where none is declared."""
    items = schema.get("items")
    listed = schema.get("type") in LISTS | {"tuple"} and isinstance(items, Mapping)
    return str(items.get("type", "")) if listed and items else ""


def _elements(value: list[Any], wanted: Sequence[Any], kind: type | None) -> bool:
    """Whether all elements have the declared type or that of the first element of an acceptable list."""
    if kind is None:
        return True
    for each in wanted:
        if not isinstance(each, list):
            return True
        first = next((type(element) for element in each if element != ""), None)
        if all(type(element) in (kind, first) for element in value):
            return True
    return False


def _one_of(value: Any, wanted: Any, *, exact: bool, item: type | None) -> bool:
    if exact:
        return _same(value, wanted, exact=True)
    if isinstance(value, dict):
        return isinstance(wanted, dict) and _fits(value, wanted)
    if isinstance(value, list):
        if wanted == "":
            # An empty list is as good as none.
            return value == []
        if item is dict and isinstance(wanted, list):
            both = zip(value, wanted, strict=False)
            return len(value) == len(wanted) and all(isinstance(w, dict) and _fits(v, w) for v, w in both)
    return _same(value, wanted)


def _fits(value: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether every key has an acceptable value and no key is missing that may not be."""
    known = all(key in wanted and any(_same(each, want) for want in wanted[key]) for key, each in value.items())
    return known and all(key in value or "" in wants for key, wants in wanted.items())


def _same(value: Any, wanted: Any, *, exact: bool = False) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(value, str) and isinstance(wanted, str):
        return value == wanted if exact else normal(value) == normal(wanted)
    if isinstance(value, list) and isinstance(wanted, list):
        pairs = zip(value, wanted, strict=False)
        return len(value) == len(wanted) and all(_same(v, w, exact=exact) for v, w in pairs)
    if isinstance(value, dict) and isinstance(wanted, dict):
        return value.keys() == wanted.keys() and all(_same(value[key], wanted[key], exact=exact) for key in value)
    return bool(value == wanted)
