"""Plans that a model writes as small programs: the same plan, checks and repair rounds in another form.

Coder models have seen more programs than numbered lines; ``program.py`` says what a program may hold.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from ..errors import PlanInvalid
from ..messages import Message
from ..steps import Node, ToolSpec
from .compile import LineCompiler
from .foreign import opening
from .forms import Asked, Bounds, Form, Reader
from .lines import OUTSIDE, Refusal, parse_line, short
from .program import parse_program
from .program_grammar import program_grammar
from .program_text import write_program, written
from .prompt import earlier_tasks, shot_turns, task_parts
from .reader import circles, goes_round
from .repair import worded
from .shots import choose_shots

_RULES = f"""\
You turn a task into a short program: lines, each one call of a tool whose result gets a name, r1, r2 and so on. You \
do not answer the task; the program is run and its results become the answer.
Rules:
- Write lines like r1 = tool(name=value), with text in double quotes, and end with return and the results that answer \
the task.
- Write no line that the task does not ask for: most tasks need one to three lines.
- Use r1, r1.column or r1[0].column wherever a value comes from an earlier line, inside a text as in \
f"... {{r1.column}} ..."; never guess a value that a line can find out. SQL may read an earlier table: \
f"... FROM {{r1}}".
- Use only the tools below, and only the tables, columns and files that DATA lists. Spell names and values as DATA does.
- When the task asks for something that no tool can do or that DATA does not hold, write only \
{OUTSIDE}(reason="...")"""
_OWN_RULES = f"""\
You turn a task into a program of tool calls. Write lines such as r1 = tool(name=value), then return and the results \
that answer the task.
Rules:
- One call for each thing that is asked for: the same tool several times for several things, one call alone for one \
thing, by the one tool that fits best.
- Take values from the task, in the form that the tool asks for. Leave out arguments that have a default unless the \
task speaks of them.
- r1 is the result of the first line; use it only where a later call needs that result.
- Use only the tools listed with the task. When none of them does what is asked, write only {OUTSIDE}(reason="...")"""
_REF = re.compile(r"\$(\d+)((?:\.\w+|\[\d+\])*)")


class ProgramReader:
    """Turns the text of a program into nodes, each as soon as its statement is complete.

    ``stopped`` becomes true when the text goes round in circles or gets too long. What cannot be read is told
    when the text has ended: only then is it known not to go on.
    """

    def __init__(self, *, task: str = "", max_lines: int = 64, max_chars: int = 20_000) -> None:
        """Read a program for ``task``."""
        self.nodes: list[Node] = []
        self.problems: list[str] = []
        self.refusal: str | None = None
        self.stopped = False
        self._task = task
        self._max_lines = max_lines
        self._max_chars = max_chars
        self._text = ""
        self._line = ""

    def feed(self, text: str) -> list[Node]:
        """Take the next piece of text and return the nodes whose statements it completes."""
        found = []
        for char in text:
            if self.stopped:
                break
            self._line += char
            size = len(self._line)
            if len(self._text) + size > self._max_chars or (size > 400 and size % 64 == 0 and circles(self._line)):
                self._stop(f"the line {short(self._line)} does not end; write short values")
            elif char == "\n":
                found += self._newline()
        return found

    def close(self) -> list[Node]:
        """Say that the text has ended and return the nodes that this completes."""
        if self.stopped:
            return []
        self._keep_line()
        return self._read(last=True)

    def _newline(self) -> list[Node]:
        line = self._line.rstrip()
        self._keep_line()
        # An indented line may have others after it; a block is complete when the next line stands at the margin.
        whole = line and not line[0].isspace() and not line.endswith(":")
        return self._read(last=False) if whole else []

    def _keep_line(self) -> None:
        if not self._line.startswith("```"):
            self._text += self._line
        self._line = ""

    def _read(self, *, last: bool) -> list[Node]:
        try:
            plan = parse_program(self._text, task=self._task)
        except PlanInvalid as error:
            if last:
                self.problems += error.problems
            return []
        found = []
        for node in plan.nodes[len(self.nodes) :]:
            if goes_round(node, self.nodes):
                self.stopped = True
                break
            self.nodes.append(node)
            found.append(node)
        if plan.refusal:
            self.refusal = plan.refusal
        self.stopped = self.stopped or bool(plan.refusal) or len(self.nodes) >= self._max_lines
        return found

    def _stop(self, problem: str) -> None:
        self.stopped = True
        self.problems.append(problem)


def as_program(lines: str) -> str:
    """Return a plan of numbered lines as the program that means the same."""
    nodes: list[Node] = []
    answers: list[str] = []
    for line in lines.splitlines():
        if line.startswith("return "):
            answers = [f"n{number}" for number in re.findall(r"\$(\d+)", line)]
            continue
        parsed = parse_line(line)
        if isinstance(parsed, Refusal):
            return line
        nodes.append(parsed)
    return write_program(nodes, answers)


def _messages(asked: Asked, feedback: str) -> tuple[Message, ...]:
    shots = choose_shots(asked.specs)
    turns = (
        shot_turns(asked.specs, shots, rules=_RULES, said=as_program)
        if shots
        else opening(asked.specs, rules=_OWN_RULES, said=as_program)
    )
    earlier = earlier_tasks(asked.hints, written)
    parts = task_parts(asked.task, asked.specs, brief=asked.brief, earlier=earlier)
    # Tools explain themselves in the words of lines.
    parts = [_named(part) if part.startswith("TOOLS") else part for part in parts]
    turns[0] = turns[0].model_copy(update={"content": _named(turns[0].content)})
    parts += [feedback] if feedback else []
    return (*turns, Message(role="user", content="\n\n".join(parts)))


def _named(text: str) -> str:
    """``text`` with results called as in programs, where it calls them as in lines."""
    return _REF.sub(r"{r\1\2}", text)


def _grammar(specs: Sequence[ToolSpec], bounds: Bounds) -> str:
    return program_grammar(specs, max_lines=bounds.max_lines, refuse=bounds.refuse)


def _reader(task: str, max_lines: int) -> Reader:
    return ProgramReader(task=task, max_lines=max_lines)


def _worded(problems: Sequence[str], nodes: Sequence[Node]) -> str:
    """As for lines, in the words of programs."""
    return worded(problems, nodes, noun="program", line=written, named=_for_model)


def _for_model(problem: str) -> str:
    return re.sub(r"(?<![\w.'\"])n(\d+)\b", r"r\1", _REF.sub(r"r\1\2", problem))


PROGRAMS = Form(messages=_messages, grammar=_grammar, reader=_reader, worded=_worded)
"""Small programs."""


class ProgramCompiler(LineCompiler):
    """A LineCompiler whose model writes a program. A plan that is there already is extended by a LineCompiler."""

    form: ClassVar[Form] = PROGRAMS
