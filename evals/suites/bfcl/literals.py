"""Java and JavaScript literals as values, and values as literals.

In these languages BFCL has every argument given as source text: ``new int[]{1, 2}``, ``5L``, ``{key: 'a'}``.
Text that is no literal of the declared type is left as it is: it may name a variable or a constant.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Literal

Language = Literal["python", "java", "javascript"]

_WHOLE = re.compile(r"-?\d+")
_BROKEN = re.compile(r"-?\d+(?:\.\d+)?")
_FLOAT = re.compile(r"(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)[fF]")
_DOUBLE = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_LONG = re.compile(r"(-?\d+)[lL]")
_BIGINT = re.compile(r"(-?\d+)n")
_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'", re.DOTALL)
_ARRAY = re.compile(r"new\s+[\w.]+\s*\[\s*\]\s*\{(.*)\}", re.DOTALL)
_AS_LIST = re.compile(r"new\s+\w+\s*<[^()]*>\s*\(\s*Arrays\s*\.\s*asList\s*\((.*)\)\s*\)", re.DOTALL)
_FILLED = re.compile(r"new\s+\w+\s*<[^()]*>\s*\(\s*\)\s*\{\s*\{(.*)\}\s*\}", re.DOTALL)
_EMPTY = re.compile(r"new\s+\w+\s*<[^()]*>\s*\(\s*\)(?:\s*\{\s*\})?")
_BRACKETS = re.compile(r"\[(.*)\]|new\s+Array\s*\((.*)\)", re.DOTALL)
_BRACES = re.compile(r"\{(.*)\}", re.DOTALL)
_KEY = re.compile(r"\s*(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[\w$.-]+)\s*:(.*)", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}

LISTS = frozenset({"Array", "ArrayList", "Set", "Queue", "Stack", "array"})
MAPS = frozenset({"HashMap", "Hashtable", "dict"})


def read(text: str, kind: str, *, item: str = "", language: Language) -> Any:
    """Return the value of a literal of the declared type ``kind`` (of elements ``item``), or ``text`` itself."""
    return _java(text, kind, item) if language == "java" else _javascript(text, kind, item)


def write(value: Any, kind: str, *, item: str = "", language: Language) -> str:
    """Return source text that ``read`` turns into ``value``; a text stands for itself (a name, a constant)."""
    if isinstance(value, str):
        return value
    return _to_java(value, kind, item) if language == "java" else _to_javascript(value, kind, item)


def _java(text: str, kind: str, item: str) -> Any:
    text = text if kind in {"String", "any"} else text.strip()
    if kind in {"byte", "short", "integer"}:
        return int(text) if _WHOLE.fullmatch(text) else text
    if kind == "long":
        return int(found[1]) if (found := _LONG.fullmatch(text)) else text
    if kind == "float":
        return float(found[1]) if (found := _FLOAT.fullmatch(text)) else text
    if kind == "double":
        return float(text) if _DOUBLE.fullmatch(text) else text
    if kind == "boolean":
        return text == "true" if text in {"true", "false"} else text
    if kind == "char":
        return _unquoted(text)
    if kind in LISTS:
        return _java_list(text, item)
    return _java_map(text) if kind in MAPS else text


def _java_list(text: str, item: str) -> Any:
    if found := _ARRAY.fullmatch(text) or _AS_LIST.fullmatch(text):
        parts = _split(found[1])
    elif found := _FILLED.fullmatch(text):
        parts = [part for call in _split(found[1], ";") for part in _given(call, "add")]
    else:
        return [] if _EMPTY.fullmatch(text) else text
    return [_element(part, item, _java, _java_any) for part in parts]


def _java_map(text: str) -> Any:
    if found := _FILLED.fullmatch(text):
        pairs = [given for call in _split(found[1], ";") if len(given := _given(call, "put")) == 2]
        return {_unquoted(key): _java_any(value) for key, value in pairs}
    return {} if _EMPTY.fullmatch(text) else text


def _java_any(text: str) -> Any:
    if text in {"true", "false"}:
        return text == "true"
    if _QUOTED.fullmatch(text):
        return _unquoted(text)
    for pattern, made in ((_LONG, int), (_FLOAT, float)):
        if found := pattern.fullmatch(text):
            return made(found[1])
    value = _java_list(text, "")
    return _number(text) if value is text else value


def _javascript(text: str, kind: str, item: str) -> Any:
    text = text if kind in {"String", "any"} else text.strip()
    if kind == "String":
        return _unquoted(text)
    if kind == "integer":
        return int(text) if _WHOLE.fullmatch(text) else text
    if kind == "float":
        return float(text) if _BROKEN.fullmatch(text) else text
    if kind == "Bigint":
        return int(found[1]) if (found := _BIGINT.fullmatch(text)) else text
    if kind == "Boolean":
        return text == "true" if text in {"true", "false"} else text
    if kind in LISTS:
        return _javascript_list(text, item)
    return _javascript_map(text) if kind in MAPS else text


def _javascript_list(text: str, item: str) -> Any:
    if not (found := _BRACKETS.fullmatch(text)):
        return text
    parts = _split(found[1] if found[1] is not None else found[2])
    return [_element(part, item, _javascript, _javascript_any) for part in parts]


def _javascript_map(text: str) -> Any:
    if not (found := _BRACES.fullmatch(text)):
        return text
    pairs = [_KEY.fullmatch(part) for part in _split(found[1])]
    return {_unquoted(pair[1]): _javascript_any(pair[2].strip()) for pair in pairs if pair}


def _javascript_any(text: str) -> Any:
    if text in {"true", "false"}:
        return text == "true"
    if _QUOTED.fullmatch(text):
        return _unquoted(text)
    for made in (_javascript_list(text, ""), _javascript_map(text)):
        if made is not text:
            return made
    return _number(text)


def _element(text: str, item: str, typed: Callable[[str, str, str], Any], free: Callable[[str], Any]) -> Any:
    """One element of a list: of the declared type, or of the type that it shows."""
    if _QUOTED.fullmatch(text):
        return _unquoted(text)
    return free(text) if item in {"", "any"} | LISTS | MAPS else typed(text, item, "")


def _given(call: str, name: str) -> list[str]:
    """Arguments of ``name(...)``, nothing for another call."""
    found = re.fullmatch(rf"(?:this\s*\.\s*)?{name}\s*\((.*)\)", call, re.DOTALL)
    return _split(found[1]) if found else []


def _number(text: str) -> Any:
    return int(text) if _WHOLE.fullmatch(text) else float(text) if _DOUBLE.fullmatch(text) else text


def _unquoted(text: str) -> str:
    if not _QUOTED.fullmatch(text):
        return text
    return _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[1]), text[1:-1])


def _split(text: str, mark: str = ",") -> list[str]:
    """Parts between ``mark`` outside quotes and brackets, without surrounding space and empty parts."""
    parts, depth, at, start = list[str](), 0, 0, 0
    while at < len(text):
        if found := _QUOTED.match(text, at):
            at = found.end()
            continue
        char = text[at]
        depth += (char in "([{") - (char in ")]}")
        if char == mark and depth == 0:
            parts.append(text[start:at])
            start = at + 1
        at += 1
    return [part.strip() for part in (*parts, text[start:]) if part.strip()]


def _to_java(value: Any, kind: str, item: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        parts = ", ".join(_quoted(each) if isinstance(each, str) else _to_java(each, item, "") for each in value)
        name = {"": "Object", "any": "Object", "integer": "Integer", "long": "Long"}.get(item, item)
        return f"new {item or 'Object'}[]{{{parts}}}" if kind == "Array" else _java_filled(name, parts)
    if isinstance(value, dict):
        puts = [
            f"put({_quoted(key)}, {_quoted(each) if isinstance(each, str) else _to_java(each, '', '')});"
            for key, each in value.items()
        ]
        return f"new HashMap<String, Object>() {{{{ {' '.join(puts)} }}}}" if puts else "new HashMap<String, Object>()"
    return f"{value}{'L' if kind == 'long' else 'f' if kind == 'float' else ''}"


def _java_filled(name: str, parts: str) -> str:
    return f"new ArrayList<{name}>(Arrays.asList({parts}))" if parts else f"new ArrayList<{name}>()"


def _to_javascript(value: Any, kind: str, item: str) -> str:
    if isinstance(value, list):
        parts = [_quoted(each) if isinstance(each, str) else _to_javascript(each, item, "") for each in value]
        return f"[{', '.join(parts)}]"
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(value) + ("n" if kind == "Bigint" else "")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
