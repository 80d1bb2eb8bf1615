"""Tools in words: signatures and descriptions as a model reads them."""

from __future__ import annotations

import json
from typing import Any

from ..steps import ToolSpec

_CHOICES = 40
"""Values of an enumeration that are shown."""


def signature(spec: ToolSpec) -> str:
    """Return ``name(a: text, b: number = 1)``."""
    required = set(spec.parameters.get("required") or ())
    parts = []
    for name, schema in (spec.parameters.get("properties") or {}).items():
        default = "" if name in required else f" = {_default(schema)}"
        parts.append(f"{name}: {_kind(schema)}{default}")
    return f"{spec.name}({', '.join(parts)})"


def _default(schema: Any) -> str:
    value = schema.get("default") if isinstance(schema, dict) else None
    return "..." if value is None else json.dumps(value, ensure_ascii=False)


def _kind(schema: Any) -> str:
    if not isinstance(schema, dict):
        return "any"
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(json.dumps(choice, ensure_ascii=False) for choice in schema["enum"][:_CHOICES])
    if branches := schema.get("anyOf") or schema.get("oneOf"):
        return " | ".join(dict.fromkeys(_kind(each) for each in branches if each.get("type") != "null"))
    kind = schema.get("type")
    if kind == "array":
        return f"list of {_kind(schema.get('items'))}"
    return {"string": "text", "object": "object"}.get(str(kind), str(kind) if isinstance(kind, str) else "any")


def summary(text: str, limit: int = 400) -> str:
    """Return ``text`` on one line, cut at a word to ``limit`` characters."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1].rsplit(" ", 1)[0] + "…"
