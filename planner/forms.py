"""In which words a model writes a plan: what it is asked, what it can write, and how that is read.

Everything else about a plan (checks, mends, repair rounds) works on the plan itself and is the same for every form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..messages import Message
from ..steps import Hint, Node, Plan, StepResult, ToolSpec
from .grammar import grammar
from .prompt import messages
from .reader import LineReader
from .repair import worded

Finished = tuple[Plan, Mapping[str, StepResult]]
"""A plan that was run and its results, to be extended."""


class Reader(Protocol):
    """Turns streamed text into nodes, each as soon as it is complete."""

    problems: list[str]
    """What could not be read, worded for a model."""
    refusal: str | None
    stopped: bool
    """The rest is ignored; the generation should be ended."""

    def feed(self, text: str) -> list[Node]:
        """Take the next piece of text and return the nodes that it completes."""

    def close(self) -> list[Node]:
        """Say that the text has ended and return what that completes."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a model is to plan."""

    task: str
    specs: Sequence[ToolSpec]
    brief: str = ""
    hints: Sequence[Hint] = ()
    finished: Finished | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far a plan may reach."""

    first: int = 1
    """Number of its first call."""
    earlier: tuple[int, ...] = ()
    """Calls before that which have a result."""
    max_lines: int = 10
    refuse: bool = True


@dataclass(frozen=True, slots=True)
class Form:
    """One surface form."""

    messages: Callable[[Asked, str], tuple[Message, ...]]
    """The conversation that asks for a plan; the text is what was wrong with the one before, if there was one."""
    grammar: Callable[[Sequence[ToolSpec], Bounds], str]
    """GBNF of plans over the tools."""
    reader: Callable[[str, int], Reader]
    """A reader of a plan for a task, of at most so many calls."""
    worded: Callable[[Sequence[str], Sequence[Node]], str]
    """The paragraph that asks for another plan: from problems, and the calls of the plan that has them."""


def _messages(asked: Asked, feedback: str) -> tuple[Message, ...]:
    return messages(
        asked.task,
        asked.specs,
        brief=asked.brief,
        hints=asked.hints,
        finished=asked.finished,
        reason=asked.reason,
        feedback=feedback,
    )


def _grammar(specs: Sequence[ToolSpec], bounds: Bounds) -> str:
    return grammar(specs, first=bounds.first, earlier=bounds.earlier, max_lines=bounds.max_lines, refuse=bounds.refuse)


def _reader(task: str, max_lines: int) -> Reader:
    return LineReader(task=task, max_lines=max_lines)


LINES = Form(messages=_messages, grammar=_grammar, reader=_reader, worded=worded)
"""Numbered lines (``lines.py``)."""
