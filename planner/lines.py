r"""The surface form of a plan: numbered lines that a small model writes well and a person can edit.

    1. query(sql="SELECT sum(kwh) FROM meters")
    2. calculator(expression="$1 / 12")
    3. write_file(path="mean.txt", content="mean: $2 kWh") if $1
    4. read_file(path=$item) for each $2.files after $3

Values are JSON, or references to earlier lines: ``$1``, ``$1.name``, ``$1[0].name``, and inside a line with
``for each`` also ``$item``. A reference inside a string stays typed (``{"$text": [...]}``), it is never
substituted as text. In a string a ``$N`` is literal when N is not an earlier line, when it reads as money
(``$1 million``, ``$1,500``, ``$1.50``) or when the task says the same words; ``${1}`` is always a reference
and ``\$1`` never. ``outside(reason="...")`` alone is the way out: no tool can do what is asked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import JsonValue

from ..steps import Body, Node

OUTSIDE = "outside"
"""Name of the line that refuses; no tool may be called so."""

HEAD = re.compile(r"\s*(?:[-*]\s*)?(?:(\d{1,4})[.):]\s*)?`?([a-z][a-z0-9_]*)\(")
_PATH = r"(?:\.[A-Za-z_][A-Za-z0-9_]*|\[\d{1,9}\])"
_BARE = re.compile(
    rf"\$(?:\{{(?P<braced>(?:[1-9]\d{{0,3}}|item){_PATH}*)\}}|(?P<plain>(?:[1-9]\d{{0,3}}|item)\b{_PATH}*))"
)
_MONEY = re.compile(
    r",\d{3}|\.\d|\s?(?:thousand|million|billion|trillion|dollars?|USD|bn|mn)\b|[kKmM]\b", re.IGNORECASE
)
_EXTENSION = re.compile(r"\.(?:txt|csv|tsv|md|json|jsonl|log|html?|xml|ya?ml|toml|py|pdf|parquet)$", re.IGNORECASE)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_NUMBER = re.compile(r"-?\d{1,40}(?:\.\d{1,40})?(?:[eE][+-]?\d{1,3})?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORDS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "/": "/", "\\": "\\", '"': '"', "'": "'", "$": "$"}
_DEPTH = 16


class LineError(ValueError):
    """Raised when a line is not of the form; the message is worded for a model."""


class Refusal(NamedTuple):
    """The way out: the planner says why no tool can do it."""

    reason: str


def parse_line(line: str, *, task: str = "") -> Node | Refusal:
    """Read one line. Raises LineError, worded for a model."""
    head = HEAD.match(line)
    if head is None:
        raise LineError(f"{short(line)} is not a numbered call; write lines like 1. tool(name=value)")
    number, name = head.groups()
    if name == OUTSIDE:
        args, _, _ = _Parser(line, head.end(), 1, task=task, mapped=False).call()
        return Refusal(str(args.get("reason") or "no tool can do this"))
    if number is None or int(number) < 1:
        raise LineError(f"{short(line)} has no line number; begin it with 1., 2., ...")
    args, suffix, items = _Parser(line, head.end(), int(number), task=task, mapped=True).call()
    if items and "over" not in suffix:
        args, suffix, _ = _Parser(line, head.end(), int(number), task=task, mapped=False).call()
    return Node(id=f"n{int(number)}", tool=name, args=args, **suffix)


def write(node: Node) -> str:
    """Return the node's line; ``parse_line`` of it gives the same id, tool, args, when, over and after.

    A body is written for readers only: lines have no form of it.
    """
    args = ", ".join(f"{name}={write_value(value)}" for name, value in node.args.items())
    line = f"{node.id[1:]}. {node.tool}({args})" if node.body is None else f"{node.id[1:]}. {_turns(node.body)}"
    if node.over is not None:
        line += f" for each {write_value(node.over)}"
    if node.when is not None:
        line += f" if {write_value(node.when)}"
    if node.after:
        line += " after " + ", ".join(f"${id[1:]}" for id in node.after)
    return line


def _turns(body: Body) -> str:
    """``{4. read(path=$item); 5. count(text=$4)} giving $5 until $5.ok, at most 10 times``."""
    text = "{" + "; ".join(map(write, body.nodes)) + "}"
    text += f" giving {write_value(body.result)}" if body.result is not None else ""
    text += f" until {write_value(body.until)}" if body.until is not None else ""
    return text + (f", at most {body.most} times" if body.most is not None else "")


def write_value(value: Any) -> str:
    """Return a value of ``Node.args`` as it is written in a line."""
    if isinstance(value, Mapping):
        if set(value) == {"$ref"}:
            return f"${_surface(str(value['$ref']))}"
        if set(value) == {"$text"}:
            return _write_text(value["$text"])
        return "{" + ", ".join(f"{_quoted(str(key))}: {write_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(write_value(item) for item in value) + "]"
    return _quoted(value) if isinstance(value, str) else json.dumps(value)


def _surface(ref: str) -> str:
    return ref if ref.startswith(("item", "last")) else ref[1:]


def _quoted(text: str) -> str:
    return '"' + _escaped(text) + '"'


def _escaped(text: str) -> str:
    raw = json.dumps(text, ensure_ascii=False)[1:-1]
    raw = re.sub(r"\\[bf]|\\\\", lambda m: {"\\b": "\\u0008", "\\f": "\\u000c"}.get(m.group(), m.group()), raw)
    raw = re.sub(r"[\x7f-\x9f\u2028\u2029]", lambda m: f"\\u{ord(m.group()):04x}", raw)
    return raw.replace("$", "\\u0024") if re.search(r"\$(?:[1-9{]|item)|\$$", raw) else raw


def _write_text(parts: Any) -> str:
    out = []
    for place, part in enumerate(parts):
        if isinstance(part, str):
            out.append(_escaped(part))
            continue
        name = _surface(str(part["$ref"]))
        after = parts[place + 1] if place + 1 < len(parts) else ""
        plain = isinstance(after, str) and not re.match(r"[\w.\[,]|\s?[A-Za-z]", after) and not _EXTENSION.search(name)
        out.append(f"${name}" if plain else f"${{{name}}}")
    return '"' + "".join(out) + '"'


class _Parser:
    """Recursive descent over one line."""

    def __init__(self, line: str, at: int, number: int, *, task: str, mapped: bool) -> None:
        self.line = line
        self.at = at
        self.number = number
        self.task = task
        self.mapped = mapped
        self.items = False

    def call(self) -> tuple[dict[str, JsonValue], dict[str, Any], bool]:
        args: dict[str, JsonValue] = {}
        self.space()
        while not self.take(")"):
            name = _NAME.match(self.line, self.at)
            if name is None or not self.line[name.end() :].lstrip().startswith("="):
                raise self.error("name every argument, as in tool(name=value)")
            self.at = name.end()
            self.expect("=")
            if name.group() in args:
                raise self.error(f"{name.group()} is given twice")
            args[name.group()] = self.value(0)
            if not self.take(","):
                self.expect(")")
                break
        return args, self.suffix(), self.items

    def suffix(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while match := re.compile(r"\s*(for each|if|after)\s+(?=\$)").match(self.line, self.at):
            self.at = match.end()
            if match.group(1) == "after":
                ids = [self.reference()["$ref"]]
                while self.take(","):
                    ids.append(self.reference()["$ref"])
                found["after"] = tuple(ids)
            else:
                found["over" if match.group(1) == "for each" else "when"] = self.reference()
        rest = self.line[self.at :].strip().strip("`;")
        if rest and not rest.startswith(("#", "//", "--")):
            raise self.error(f"{short(rest)} follows the call; a line ends after )")
        return found

    def value(self, depth: int) -> JsonValue:
        self.space()
        char = self.line[self.at : self.at + 1]
        if depth > _DEPTH:
            raise self.error("the value is nested too deeply")
        if char in ('"', "'") and char:
            return self.string(char)
        if char == "$":
            return dict(self.reference())
        if char == "[":
            self.at += 1
            return self.items_until("]", lambda: self.value(depth + 1))
        if char == "{":
            self.at += 1
            return dict(self.items_until("}", lambda: self.pair(depth + 1)))
        return self.scalar()

    def items_until(self, end: str, item: Any) -> list[Any]:
        found: list[Any] = []
        self.space()
        while not self.take(end):
            found.append(item())
            if not self.take(","):
                self.expect(end)
                break
        return found

    def pair(self, depth: int) -> tuple[str, JsonValue]:
        self.space()
        quote = self.line[self.at : self.at + 1]
        key = self.string(quote) if quote in ('"', "'") and quote else None
        if not isinstance(key, str) or key.startswith("$"):
            raise self.error("the keys of an object are plain strings")
        self.expect(":")
        return key, self.value(depth)

    def scalar(self) -> JsonValue:
        if match := _NUMBER.match(self.line, self.at):
            self.at = match.end()
            try:
                number = json.loads(match.group())
            except ValueError:
                number = float(match.group())
            if number in (float("inf"), float("-inf")):
                raise self.error(f"{match.group()} is too large a number")
            return number  # type: ignore[no-any-return]
        if (match := _NAME.match(self.line, self.at)) and match.group() in _WORDS:
            self.at = match.end()
            return _WORDS[match.group()]
        raise self.error(f"{short(self.line[self.at :])} is not a value; quote text, or refer to a line with $1")

    def reference(self) -> dict[str, str]:
        self.space()
        match = _BARE.match(self.line, self.at)
        if match is None:
            raise self.error(f"{short(self.line[self.at :])} is not a reference; write $1, $1.name or $1[0]")
        self.at = match.end()
        return self.named(match.group("braced") or match.group("plain"))

    def named(self, name: str) -> dict[str, str]:
        if name.startswith("item"):
            if not self.mapped:
                raise self.error("$item stands only in a line that ends in: for each $N")
            self.items = True
            return {"$ref": name}
        return {"$ref": f"n{name}"}

    def string(self, quote: str) -> JsonValue:
        self.at += 1
        parts: list[Any] = [""]
        while self.at < len(self.line):
            char = self.line[self.at]
            if char == quote:
                self.at += 1
                return self.finished(parts)
            if match := _ESCAPE.match(self.line, self.at):
                parts[-1] += _unescaped(match.group(1))
                self.at = match.end()
            elif char == "$" and (name := self.mentioned()):
                parts += [self.named(name), ""]
            else:
                parts[-1] += char
                self.at += 1
        raise self.error(f"a text is not closed; end it with {quote}")

    def mentioned(self) -> str:
        """Return the name of the reference that begins here inside a string and step over it, or ''."""
        match = _BARE.match(self.line, self.at)
        if match is None:
            return ""
        name = match.group("braced") or match.group("plain")
        if name.startswith("item"):
            if not self.mapped:
                return ""
        elif int(re.split(r"[.\[]", name)[0]) >= self.number:
            return ""
        end = match.end()
        if match.group("plain"):
            if (tail := _EXTENSION.search(name)) and not self.line.startswith(("(", "["), end):
                name, end = name[: tail.start()], end - len(tail.group())
            if _MONEY.match(self.line, end) or self.said(end):
                return ""
        self.at = end
        return name

    def said(self, end: int) -> bool:
        """Return whether the task itself has this ``$N`` with the same text after it."""
        words = self.line[self.at : end] + self.line[end : end + 6]
        return bool(self.task) and len(words) > end - self.at and words.split('"')[0] in self.task

    @staticmethod
    def finished(parts: list[Any]) -> JsonValue:
        kept = [_whole(part) if isinstance(part, str) else part for part in parts if part != ""]
        if all(isinstance(part, str) for part in kept):
            return "".join(kept)
        return {"$text": kept}

    def space(self) -> None:
        while self.at < len(self.line) and self.line[self.at].isspace():
            self.at += 1

    def take(self, char: str) -> bool:
        self.space()
        if self.line.startswith(char, self.at):
            self.at += len(char)
            self.space()
            return True
        return False

    def expect(self, char: str) -> None:
        if not self.take(char):
            raise self.error(f"{char} is missing at {short(self.line[self.at :]) or 'the end'}")

    def error(self, message: str) -> LineError:
        return LineError(f"line {self.number}: {message}")


def _unescaped(code: str) -> str:
    if len(code) == 5:
        return chr(int(code[1:], 16))
    return _ESCAPES.get(code, "\\" + code)


def _whole(text: str) -> str:
    """Return text without lone surrogates, which no file and no database takes."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def short(text: str) -> str:
    """Return ``text`` quoted on one line, in at most 60 characters; nothing for nothing."""
    text = " ".join(text.split())
    return repr(text if len(text) <= 60 else text[:57] + "...") if text else ""
