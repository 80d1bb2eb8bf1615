"""A plan in two stages: first which tools and what each is for, then the arguments of one call after the other.

The second stage sees one tool's parameters alone, and can write nothing else. To a compiler it is a model like any
other: the lines come as if they had been written in one go.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..messages import Completion, Message, ModelInfo, ModelRequest, Usage
from ..protocols import Model
from ..steps import Node, ToolSpec
from .foreign import Lesson, explained, lessons
from .grammar import grammar
from .lines import OUTSIDE, Refusal, parse_line, write, write_value
from .wording import signature, summary

_SELECT = f"""\
You choose the tools for a task. Write numbered lines, one for each call that is needed: the tool, a colon, and in a \
few words what for. The same tool several times for several things; one call alone for one thing, by the tool that \
fits best. $1 is the result of line 1. Then write done. When none of the tools does what is asked, write only \
{OUTSIDE}(reason="...")"""
_FILL = """\
You write one line of a plan: the call of one tool with its arguments. Take values from the task, in the form that the \
tool asks for. Leave out arguments that have a default unless the task speaks of them. $1 is the result of line 1."""
_LINES = 10
_EXAMPLES = 6
"""Worked lines of the second stage."""


class SelectThenFill:
    """A Model whose answers to ``compile`` requests are made in two stages; other requests pass through.

    It plans ``task`` over ``specs`` and ``data`` (what there is to work on) with ``model``, whatever the messages
    of the request say; their usage is the sum of all calls.
    """

    def __init__(self, model: Model, specs: Sequence[ToolSpec], *, task: str, data: str = "") -> None:
        """Plan with ``model``."""
        self._model = model
        self._specs = {spec.name: spec for spec in specs}
        self._task = task.strip()
        self._data = f"DATA\n{data.strip()}\n\n" if data.strip() else ""

    @property
    def info(self) -> ModelInfo:
        """The model's own."""
        return self._model.info

    async def count(self, messages: Sequence[Message]) -> int:
        """As the model counts."""
        return await self._model.count(messages)

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> Completion:
        """Answer; a plan's lines come one by one."""
        if request.role != "compile":
            return await self._model.complete(request, on_text=on_text)
        parts = [await self._ask(request, self._select(), selection(list(self._specs.values())))]
        chosen = _chosen(parts[0].text)
        lines = [] if chosen else [parts[0].text.strip()]
        for number, (tool, purpose) in enumerate(chosen, start=1):
            # A tool that is not there is told as a call, to be found fault with as one.
            line = f"{number}. {tool}()"
            if tool in self._specs:
                asked = self._fill(number, tool, purpose, lines)
                rules = grammar(
                    [self._specs[tool]], first=number, earlier=range(1, number), max_lines=1, closed=False, refuse=False
                )
                parts.append(await self._ask(request, asked, rules))
                line = parts[-1].text.strip()
            lines.append(line)
            if on_text is not None:
                on_text(f"{lines[-1]}\n")
        text = "\n".join(lines) + "\n"
        if on_text is not None and not chosen:
            on_text(text)
        return Completion(
            text=text,
            finish="stop",
            model=parts[0].model,
            usage=sum((part.usage for part in parts), Usage()),
            seconds=sum(part.seconds for part in parts),
        )

    async def _ask(self, request: ModelRequest, messages: tuple[Message, ...], rules: str) -> Completion:
        return await self._model.complete(request.model_copy(update={"messages": messages, "grammar": rules}))

    def _select(self) -> tuple[Message, ...]:
        specs = list(self._specs.values())
        turns = [Message(role="system", content=_SELECT)]
        for lesson in lessons(specs):
            turns.append(Message(role="user", content=_listed(lesson.specs, lesson.task)))
            turns.append(Message(role="assistant", content=_outline(lesson)))
        return (*turns, Message(role="user", content=f"{self._data}{_listed(specs, self._task)}"))

    def _fill(self, number: int, tool: str, purpose: str, lines: Sequence[str]) -> tuple[Message, ...]:
        turns = [Message(role="system", content=_FILL)]
        for lesson, node in _worked(lessons(list(self._specs.values()))):
            before = [line for line in lesson.plan.splitlines() if line[0].isdigit()][: int(node.id[1:]) - 1]
            spec = next(spec for spec in lesson.specs if spec.name == node.tool)
            asked = _wanted(spec, lesson.task, before, int(node.id[1:]), _purpose(node))
            turns.append(Message(role="user", content=asked))
            turns.append(Message(role="assistant", content=write(node)))
        asked = f"{self._data}{_wanted(self._specs[tool], self._task, lines, number, purpose)}"
        return (*turns, Message(role="user", content=asked))


def selection(specs: Sequence[ToolSpec]) -> str:
    """Return the GBNF of the first stage: at most ten lines of a tool and its purpose, or the way out."""
    names = " | ".join(f'"{spec.name}"' for spec in specs) or '"-"'
    rest = '"done"'
    for number in range(_LINES, 0, -1):
        after = f'( {rest} | "done" )' if rest != '"done"' else rest
        rest = f'"{number}. " tool ": " purpose "\\n" {after}'
    ways = [rest] if specs else []
    ways.append(f'"{OUTSIDE}(reason=\\"" [^"\\\\\\n]{{1,120}} "\\")"')
    return f"root ::= {' | '.join(ways)}\ntool ::= {names}\npurpose ::= [^\\n\\r]{{1,120}}\n"


def _listed(specs: Sequence[ToolSpec], task: str) -> str:
    tools = "\n".join(f"{signature(spec)} - {summary(spec.description)}" for spec in specs)
    return f"TOOLS\n{tools}\n\nTASK\n{task}"


def _wanted(spec: ToolSpec, task: str, before: Sequence[str], number: int, purpose: str) -> str:
    earlier = "LINES BEFORE\n" + "\n".join(before) + "\n\n" if before else ""
    return f"TOOL\n{explained([spec])}\n\nTASK\n{task}\n\n{earlier}LINE {number}, for: {purpose}"


def _chosen(text: str) -> list[tuple[str, str]]:
    """Tool and purpose of each line of the first stage."""
    found = []
    for line in text.splitlines():
        head, _, purpose = line.partition(": ")
        number, _, tool = head.partition(". ")
        if number.strip().isdigit() and tool:
            found.append((tool.strip(), purpose.strip()))
    return found[:_LINES]


def _outline(lesson: Lesson) -> str:
    if lesson.plan.startswith(OUTSIDE):
        return lesson.plan
    return "\n".join(f"{node.id[1:]}. {node.tool}: {_purpose(node)}" for node in _nodes(lesson)) + "\ndone"


def _purpose(node: Node) -> str:
    return ", ".join(write_value(value).strip('"') for value in node.args.values())


def _nodes(lesson: Lesson) -> list[Node]:
    parsed = [parse_line(line, task=lesson.task) for line in lesson.plan.splitlines() if line[0].isdigit()]
    return [node for node in parsed if not isinstance(node, Refusal)]


def _worked(given: Sequence[Lesson]) -> list[tuple[Lesson, Node]]:
    """The last line of every lesson that has one: it shows earlier lines where there are any."""
    return [(lesson, nodes[-1]) for lesson in given if (nodes := _nodes(lesson))][-_EXAMPLES:]
