"""JSON schemas: what of one a grammar enforces, the check of the rest, and what can be no schema at all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import OutputMalformed, UsageError

UNENFORCED = frozenset(
    {
        "uniqueItems", "not", "if", "then", "else", "contains", "minContains", "maxContains", "propertyNames",
        "dependentRequired", "dependentSchemas", "dependencies", "unevaluatedItems", "unevaluatedProperties",
        "$dynamicRef", "$recursiveRef",
    }
)  # fmt: skip
"""Keywords that the grammar's compiler refuses, and with them the whole schema; answers are checked for them."""
_SILENT = frozenset(
    {"$schema", "$id", "$dynamicAnchor", "$recursiveAnchor", "$vocabulary", "$comment", "title", "description",
     "default", "examples"}
)  # fmt: skip
"""Keywords that ask for nothing."""
_MAPS = ("properties", "patternProperties", "$defs", "definitions")
_LITERAL = ("const", "enum", "required")
_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "unknown"}
)  # fmt: skip
_NO_REGEX = re.compile(
    r"\(\?(?!:|P<|<[A-Za-z_]|i\)|i:)|\\[0-9bBcegGhHkKQRUXyYzZ]"  # look-around, back references, word boundaries
    r"|(?<!^)(?<![\\(|:\[])\^|(?<!\\)\$(?!\)|\||$)"  # anchors amid the text
    r"|(?:^|[(|^])\{|(?<!\\)\{(?!\d+(?:,\d*)?\})|\[[^]]*\["  # what engines of expressions read differently
)
_MOST = 2.0**53
"""Bounds and divisors beyond this, either way, are left to the check."""
_ITEMS = 5000

GUIDANCE = "%llguidance"
"""How a grammar begins that is none of GBNF."""
_SPACE = re.compile(r"[ \t\r\n]*")
_BITS = r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*'
_TOKEN = re.compile(rf'(?P<string>{_BITS}")|(?P<value>-?[0-9][0-9.eE+-]*|true|false|null)|(?P<mark>[][{{}},:])')
_PART = re.compile(rf"{_BITS}(?:\\(?:u[0-9a-fA-F]{{0,3}})?)?|-|t(?:ru?)?|f(?:a(?:ls?)?)?|n(?:ul?)?")


def compact(schema: dict[str, Any]) -> str:
    """Return a grammar for JSON without optional blanks: weak models otherwise emit them to the limit.

    It holds what the compiler enforces (``enforced``); the rest is for ``conforms``.
    """
    strict = {**enforced(schema), "x-guidance": {"whitespace_flexible": False}}
    return f"{GUIDANCE} {{}}\nstart: %json {json.dumps(strict)}"


def enforced(schema: dict[str, Any]) -> dict[str, Any]:
    """Return ``schema`` without what the grammar's compiler does not know: an unknown keyword drops the whole grammar.

    What it returns allows all that ``schema`` allows, and more where keywords had to go.
    """
    found: dict[str, Any] = _kept(schema)
    return dict(_led(found, found))


def _kept(value: Any) -> Any:
    """One schema, a list of schemas, or anything that is neither."""
    if isinstance(value, list):
        return [_kept(item) for item in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for name, item in value.items():
        if name in _LITERAL:
            found[name] = item
        elif name in _MAPS and isinstance(item, dict):
            found[name] = {key: _kept(inner) for key, inner in item.items()}
        elif name not in UNENFORCED and name not in _SILENT and _compiles(name, item):
            found[name] = _kept(item)
    _one_pattern(found)
    _some_of(found)
    optional = set(found.get("properties") or ()) - set(found.get("required") or ())
    for name in ("minProperties", "maxProperties"):
        if optional:
            found.pop(name, None)
    return found


def _compiles(name: str, item: Any) -> bool:
    if name == "pattern":
        return isinstance(item, str) and _plain_regex(item)
    if name == "format":
        return item in _FORMATS
    if name in ("minItems", "maxItems", "minProperties", "maxProperties"):
        return isinstance(item, int) and item <= _ITEMS
    if name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        return isinstance(item, int | float) and abs(item) <= _MOST
    return name != "multipleOf" or (isinstance(item, int | float) and 1e-9 <= item <= 1e6)


def _plain_regex(pattern: str) -> bool:
    return _NO_REGEX.search(pattern) is None


def _one_pattern(found: dict[str, Any]) -> None:
    """Join several patterns of names to one, because the compiler takes them only where none can meet another."""
    patterns = found.get("patternProperties")
    if not isinstance(patterns, dict):
        return
    if not all(_plain_regex(pattern) for pattern in patterns):
        # Without its patterns ``additionalProperties`` would forbid what they allow.
        del found["patternProperties"]
        found.pop("additionalProperties", None)
    elif len(patterns) > 1:
        joined = "|".join(f"(?:{pattern})" for pattern in patterns)
        found["patternProperties"] = {joined: {"anyOf": list(patterns.values())}}


def _some_of(found: dict[str, Any]) -> None:
    """Put ``oneOf`` as ``anyOf``: the compiler takes it only where the options cannot meet."""
    if "oneOf" not in found:
        return
    options = found.pop("oneOf")
    if "anyOf" in found:
        found["allOf"] = [*found.get("allOf", ()), {"anyOf": options}]
    else:
        found["anyOf"] = options


def _led(value: Any, root: dict[str, Any]) -> Any:
    """Leave out references into what was left out."""
    if isinstance(value, list):
        return [_led(item, root) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: item if name in _LITERAL else _led(item, root)
        for name, item in value.items()
        if not (name == "$ref" and isinstance(item, str) and item.startswith("#/") and _at(root, item) is None)
    }


def _at(root: Any, pointer: str) -> Any:
    """What ``pointer`` leads to; None for nothing."""
    from urllib.parse import unquote

    for part in unquote(pointer[2:]).split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(root, dict):
            root = root.get(name)
        elif isinstance(root, list) and name.isdigit() and int(name) < len(root):
            root = root[int(name)]
        else:
            return None
    return root


def check(schema: dict[str, Any]) -> None:
    """Raise UsageError when ``schema`` is no JSON schema, or refers to what is not in it, or in a circle.

    Patterns that cannot be read here make it none: answers could not be checked.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise UsageError(f"the JSON schema is not valid: {error.message[:200]}; correct it.") from None
    _check_references(schema)


def _check_references(schema: dict[str, Any]) -> None:
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    resolver = Registry().resolver_with_root(DRAFT202012.create_resource(schema))
    targets: dict[str, Any] = {}
    for part in _schemas(schema):
        target = part.get("$ref")
        if not isinstance(target, str):
            continue
        if not target.startswith("#"):
            raise UsageError(f"the JSON schema has a $ref to another document, {target!r}; put it under $defs.")
        try:
            targets[target] = resolver.lookup(target).contents
        except (Unresolvable, LookupError, ValueError, TypeError):
            raise UsageError(f"the JSON schema's $ref {target[:80]!r} leads nowhere; correct it.") from None
    for target in targets:
        if _circles(target, targets):
            raise UsageError(
                f"the JSON schema's $ref {target[:80]!r} leads to itself and asks for nothing; correct it."
            )


def _circles(first: str, targets: dict[str, Any]) -> bool:
    """Tell whether to check one value against ``first`` it must first be checked against ``first``."""
    seen: set[str] = set()
    ahead = [targets[first]]
    while ahead:
        part = ahead.pop()
        if not isinstance(part, dict):
            continue
        target = part.get("$ref")
        if target == first:
            return True
        if isinstance(target, str) and target in targets and target not in seen:
            seen.add(target)
            ahead.append(targets[target])
        for name in ("allOf", "anyOf", "oneOf"):
            ahead += part.get(name) or ()
        ahead += [part[name] for name in ("not", "if", "then", "else") if name in part]
    return False


def _schemas(value: Any) -> Iterator[dict[str, Any]]:
    """Every schema within ``value``, itself included."""
    if isinstance(value, list):
        for item in value:
            yield from _schemas(item)
    elif isinstance(value, dict):
        yield value
        for name, item in value.items():
            if name in _MAPS and isinstance(item, dict):
                for inner in item.values():
                    yield from _schemas(inner)
            elif name not in _LITERAL and name not in _SILENT:
                yield from _schemas(item)


def conforms(text: str, schema: dict[str, Any], model: str) -> None:
    """Check a finished answer against the whole schema.

    Raises OutputMalformed, naming the keyword that is broken, and UsageError for what is no schema.
    """
    import jsonschema
    from referencing.exceptions import Unresolvable

    try:
        jsonschema.validate(json.loads(text), schema)
    except ValueError as error:
        raise OutputMalformed(
            f"the answer of {model!r} is not JSON ({error}): {text[:80]!r}; simplify the JSON schema."
        ) from None
    except jsonschema.ValidationError as error:
        why = "no grammar enforces it, ask again or leave it out" if error.validator in UNENFORCED else "simplify it"
        raise OutputMalformed(
            f"the answer of {model!r} breaks {error.validator!r} of the JSON schema ({error.message[:200]}): "
            f"{text[:80]!r}; {why}."
        ) from None
    except jsonschema.SchemaError as error:
        raise UsageError(f"the JSON schema is not valid: {error.message[:200]}; correct it.") from None
    except (Unresolvable, RecursionError, re.error):
        check(schema)
        raise


def begins(text: str, model: str) -> None:
    """Raise OutputMalformed when ``text`` cannot be the beginning of JSON: no grammar was kept to.

    For answers that were cut off, and for those that are still coming.
    """
    if not _is_beginning(text):
        raise OutputMalformed(
            f"the answer of {model!r} is not JSON: {text[:80]!r}; its engine does not enforce the JSON schema, which "
            "may allow no value at all: simplify it."
        )


def _is_beginning(text: str) -> bool:
    stack: list[str] = []
    wanted: Sequence[str] = ("value",)
    at = _end(_SPACE, text, 0)
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            part = _PART.fullmatch(text, at)
            return part is not None and ("value" in wanted or ("key" in wanted and part[0][0] == '"'))
        token = found[0]
        if found["mark"] and token in wanted:
            wanted = ("key",) if token == "," and stack[-1] == "}" else ("value",)
            if token in "]}":
                stack.pop()
                wanted = (",", stack[-1]) if stack else ()
        elif found["string"] and "key" in wanted:
            wanted = (":",)
        elif "value" in wanted and token in ("[", "{"):
            stack.append("]" if token == "[" else "}")
            wanted = ("value", "]") if token == "[" else ("key", "}")
        elif "value" in wanted and not found["mark"]:
            wanted = (",", stack[-1]) if stack else ()
        else:
            return False
        at = _end(_SPACE, text, found.end())
    return True


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found is not None else at
