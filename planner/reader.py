"""Plans from streamed text: each line becomes a node as soon as it is complete, however the text is cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..steps import Node
from .lines import HEAD, OUTSIDE, LineError, Refusal, parse_line, short


class LineReader:
    """Turns streamed text into nodes, each as soon as its line is complete, however the text is cut.

    ``nodes``, ``problems``, ``refusal`` hold what was read so far. ``stopped`` becomes true when the text
    goes round in circles or gets too long: the rest is ignored, and the caller should end the generation.
    Prose around the lines is ignored; a value may run over several lines.
    """

    def __init__(self, *, task: str = "", max_lines: int = 64, max_chars: int = 20_000) -> None:
        """Read a plan for ``task``."""
        self.nodes: list[Node] = []
        self.problems: list[str] = []
        self.refusal: str | None = None
        self.stopped = False
        self._task = task
        self._max_lines = max_lines
        self._max_chars = max_chars
        self._line = ""
        self._start = 0
        self._depth = 0
        self._quote = ""
        self._escaped = False

    def feed(self, text: str) -> list[Node]:
        """Take the next piece of text and return the nodes whose lines it completes."""
        found = []
        for char in text:
            if self.stopped:
                break
            if char != "\n":
                self._char(char)
            elif (node := self._newline()) is not None:
                found.append(node)
        return found

    def close(self) -> list[Node]:
        """Say that the text has ended and return the node of a last line without line end."""
        if self.stopped:
            return []
        node = self._end()
        return [] if node is None else [node]

    def _char(self, char: str) -> None:
        self._line += char
        if self._depth == 0 and char == "(" and self._opens(self._line):
            self._depth = 1
        elif self._depth > 0 and self._quote:
            if self._escaped:
                self._escaped = False
            elif char == "\\":
                self._escaped = True
            elif char == self._quote:
                self._quote = ""
        elif self._depth > 0:
            if char in "\"'":
                self._quote = char
            self._depth += (char in "([{") - (char in ")]}")
            if self._depth == 0:
                self._depth = -1
        size = len(self._line)
        if size > self._max_chars or (size > 400 and size % 64 == 0 and circles(self._line)):
            self.stopped = True
            self.problems.append(f"the line {short(self._line)} does not end; write short values")
        if self._start and char == "(" and self._opens(self._line[self._start :]):
            self._restart()

    def _opens(self, line: str) -> bool:
        head = HEAD.match(line)
        return head is not None and head.end() == len(line) and (head.group(1) is not None or head.group(2) == OUTSIDE)

    def _restart(self) -> None:
        line = self._line[self._start :]
        self.problems.append(f"{short(self._line[: self._start])} is not closed; end the line with )")
        self._line, self._start, self._depth, self._quote, self._escaped = line, 0, 1, "", False

    def _newline(self) -> Node | None:
        if self._depth > 0:
            self._line += "\n"
            self._start = len(self._line)
            return None
        return self._end()

    def _end(self) -> Node | None:
        line, opened = self._line, self._depth != 0
        self._line, self._start, self._depth, self._quote, self._escaped = "", 0, 0, "", False
        if not opened:
            return None
        try:
            parsed = parse_line(line, task=self._task)
        except (LineError, ValueError) as error:
            self.problems.append(str(error))
            return None
        if isinstance(parsed, Refusal):
            self.refusal = parsed.reason
            self.stopped = True
            return None
        return self._keep(parsed)

    def _keep(self, node: Node) -> Node | None:
        if goes_round(node, self.nodes):
            self.stopped = True
            return None
        self.nodes.append(node)
        self.stopped = len(self.nodes) >= self._max_lines
        return node


def goes_round(node: Node, before: Sequence[Node]) -> bool:
    """Return whether a call is the one before it again, or was made twice already."""
    same = [old for old in before if _call(old) == _call(node)]
    return bool(same) and (same[-1] is before[-1] or len(same) > 1)


def _call(node: Node) -> tuple[Any, ...]:
    return node.tool, node.args, node.when, node.over


def circles(line: str) -> bool:
    """Return whether the end of a line repeats itself."""
    tail = line[-240:]
    return any(tail[period:] == tail[:-period] for period in range(1, 81))
