"""What is wrong with a value, in words for a person: pydantic's own speak of tuples and of validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_KINDS = {
    "bool": "true or false",
    "date": "a date",
    "decimal": "a number",
    "dict": "a table",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "model": "a table",
    "path": "a path",
    "string": "a text",
    "tuple": "a list",
}
"""By the beginning of pydantic's name of the problem (``int_parsing``, ``tuple_type``)."""
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_FORMS = {
    "too_short": ("min_length", "a list with at least {}"),
    "too_long": ("max_length", "a list with at most {}"),
    "string_too_short": ("min_length", "a text of at least {} characters"),
    "string_too_long": ("max_length", "a text of at most {} characters"),
    "string_pattern_mismatch": ("pattern", "a text of the pattern {}"),
}
_LONGEST = 200
"""Characters of a value that are shown."""


def wrong(before: str, problem: Mapping[str, Any], *, table: str = "a table") -> str:
    """Return value and mend of one of ``ValidationError.errors()`` after the field's name: ``port = ``, ``--port ``.

    ``table`` is what the reader calls a mapping.
    """
    given = repr(problem["input"])
    given = given if len(given) <= _LONGEST else f"{given[:_LONGEST]}…"
    if problem["type"] != "value_error":
        return f"{before}{given} must be {_right(problem, table)}; correct it."
    said = str(problem["ctx"]["error"]).rstrip(".")
    if said.startswith(given):
        return f"{before}{said}; correct it."
    # Words of our own, which end with the mend.
    return f"{before}{given}: {said}." if before else f"{said}."


def _right(problem: Mapping[str, Any], table: str) -> str:
    """Return what the value should be."""
    kind, ctx = str(problem["type"]), problem.get("ctx", {})
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        bound = ctx[key]
        return f"{words} {int(bound) if bound == int(bound) else bound}"
    if kind in _FORMS:
        key, words = _FORMS[kind]
        return words.format(ctx[key])
    if kind == "none_required":
        return "left out"
    if kind == "literal_error":
        return str(ctx["expected"])
    if kind == "finite_number":
        return "a number"
    found = next((words for begin, words in _KINDS.items() if kind.startswith(f"{begin}_")), "")
    return (table if found == "a table" else found) or str(problem["msg"]).removeprefix("Input should be ")
