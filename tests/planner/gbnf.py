"""Whether a text can be written under a grammar: a matcher for the part of GBNF that is used here."""

import re
from typing import Any

_TOKEN = re.compile(
    r'\s*(?:("(?:\\.|[^"\\])*")|(\[(?:\\.|[^\]\\])*\])|([a-zA-Z][\w-]*)|(\{\d+(?:,\d*)?\})|([()|*+?]))', re.DOTALL
)


def accepts(grammar: str, text: str) -> bool:
    """Return whether the whole of ``text`` is derived from ``root``."""
    rules = {}
    for line in re.split(r"\n(?=[\w-]+ ::=)", grammar.strip()):
        name, _, body = line.partition(" ::= ")
        rules[name.strip()] = _Parser(body).ways()
    return len(text) in _Matcher(rules, text).rule("root", 0)


class _Matcher:
    """Where a text may end that begins at a place, by what stands in the grammar."""

    def __init__(self, rules: dict[str, Any], text: str) -> None:
        self.rules = rules
        self.text = text
        self.found: dict[tuple[str, int], set[int]] = {}

    def rule(self, name: str, at: int) -> set[int]:
        if (name, at) not in self.found:
            self.found[name, at] = self.ends(self.rules[name], at)
        return self.found[name, at]

    def ends(self, item: Any, at: int) -> set[int]:
        kind, what = item
        if kind == "text":
            return {at + len(what)} if self.text.startswith(what, at) else set()
        if kind == "class":
            return {at + 1} if at < len(self.text) and what.fullmatch(self.text[at]) else set()
        if kind == "rule":
            return self.rule(what, at)
        if kind == "or":
            return set().union(*(self.ends(way, at) for way in what))
        if kind == "times":
            return self.times(*what, at)
        places = {at}
        for part in what:
            places = self.step(part, places)
        return places

    def step(self, part: Any, places: set[int]) -> set[int]:
        return set().union(*(self.ends(part, place) for place in places))

    def times(self, part: Any, least: int, most: int | None, at: int) -> set[int]:
        places, turn = {at}, 0
        seen = {at} if least == 0 else set()
        while places and (most is None or turn < most):
            turn += 1
            places = self.step(part, places) - (seen if turn > least else set())
            seen |= places if turn >= least else set()
        return seen


class _Parser:
    def __init__(self, body: str) -> None:
        self.tokens = _TOKEN.findall(body)
        self.at = 0

    def ways(self) -> Any:
        ways = [self.sequence()]
        while self.peek() == "|":
            self.at += 1
            ways.append(self.sequence())
        return ways[0] if len(ways) == 1 else ("or", ways)

    def sequence(self) -> Any:
        parts = []
        while self.at < len(self.tokens) and self.peek() not in ("|", ")"):
            parts.append(self.counted(self.one()))
        return ("seq", parts)

    def one(self) -> Any:
        text, chars, name, _, sign = self.tokens[self.at]
        self.at += 1
        if text:
            return ("text", _unescaped(text[1:-1]))
        if chars:
            return ("class", re.compile(chars, re.DOTALL))
        if name:
            return ("rule", name)
        assert sign == "(", sign
        inner = self.ways()
        assert self.peek() == ")"
        self.at += 1
        return inner

    def counted(self, part: Any) -> Any:
        sign, bounds = self.peek(), self.tokens[self.at][3] if self.at < len(self.tokens) else ""
        if sign in ("*", "+", "?"):
            self.at += 1
            return ("times", (part, int(sign == "+"), 1 if sign == "?" else None))
        if bounds:
            self.at += 1
            low, comma, high = bounds[1:-1].partition(",")
            return ("times", (part, int(low), int(high) if high else None if comma else int(low)))
        return part

    def peek(self) -> str:
        return self.tokens[self.at][4] if self.at < len(self.tokens) else ""


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: {"n": "\n", "t": "\t", "r": "\r"}.get(match[1], match[1]), text)
