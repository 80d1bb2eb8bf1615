"""What a planner model is told. The stable part comes first, so that its KV prefix stays warm across tasks.

Order: rules, tools, worked examples (the same for every task over one catalogue), then the data (the same
for every task in one workspace), then hints and the task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..messages import Message
from ..steps import Effect, Hint, Node, Plan, StepResult, ToolSpec
from .foreign import explained, opening
from .lines import OUTSIDE, write
from .needed import named
from .shots import Shot, choose_shots, shown_tools
from .shown import shown
from .wording import signature, summary

_RULES = f"""\
You turn a task into a short plan: numbered lines, each one call of a tool. You do not answer the task; the \
lines are run and their results become the answer.
Rules:
- Write lines like 1. tool(name=value), with text in double quotes, and end with return and the lines that \
answer the task.
- Write no line that the task does not ask for: most tasks need one to three lines.
- $1 is the result of line 1. Use $1, $1.column or $1[0].column wherever a value comes from an earlier line; \
never guess a value that a line can find out. SQL may read an earlier table: FROM $1.
- Use only the tools below, and only the tables, columns and files that DATA lists. Spell names and values as DATA does.
- When the task asks for something that no tool can do or that DATA does not hold, write only \
{OUTSIDE}(reason="...")"""

_LINKS = "NAMES IN THE TASK"


def messages(
    task: str,
    specs: Sequence[ToolSpec],
    *,
    brief: str = "",
    hints: Sequence[Hint] = (),
    finished: tuple[Plan, Mapping[str, StepResult]] | None = None,
    reason: str = "",
    feedback: str = "",
) -> tuple[Message, ...]:
    """Return the conversation that asks for a plan of ``task``; the same for equal arguments, byte by byte.

    ``feedback`` (a rejected plan and what is wrong with it) stands in the same turn as the task: as a turn
    of its own it makes small models go on from the worked examples instead.
    """
    shots = choose_shots(specs)
    turns = shot_turns(specs, shots) if shots else opening(specs)
    parts = task_parts(task, specs, brief=brief, earlier=earlier_tasks(hints, write))
    if finished is not None:
        parts.append(_finished(*finished, reason=reason))
    if feedback:
        parts.append(feedback)
    return (*turns, Message(role="user", content="\n\n".join(parts)))


def task_parts(task: str, specs: Sequence[ToolSpec], *, brief: str, earlier: str) -> list[str]:
    """Return the paragraphs of the task's own turn: tools that no example shows, data, earlier tasks, the task."""
    shots = choose_shots(specs)
    parts = [] if shots else [f"TOOLS\n{explained(specs)}"]
    parts += [f"DATA\n{brief.strip()}"] if brief.strip() else []
    parts += [earlier] if earlier else []
    if shots and (fit := named(task, specs, usual=shown_tools(specs))):
        parts.append(f"TOOLS THAT FIT\n{catalogue(fit)}")
    return [*parts, f"TASK\n{task.strip()}"]


def shot_turns(
    specs: Sequence[ToolSpec], shots: Sequence[Shot], *, rules: str = _RULES, said: Callable[[str], str] = str
) -> list[Message]:
    """Return the turns before the task's own: rules and tools, then the worked examples, whose plans ``said`` words."""
    turns = [Message(role="system", content=f"{rules}\n\nTOOLS\n{catalogue(specs)}")]
    before = ""
    for shot in shots:
        asked = _asked(shot, known=shot.data == before)
        turns += [Message(role="user", content=asked), Message(role="assistant", content=said(shot.plan))]
        before = shot.data or before
    return turns


def linked(brief: str, links: str) -> str:
    """Return what a toolset says of its surroundings with what it says of the task put after it."""
    return f"{brief.strip()}\n\n{_LINKS}\n{links.strip()}" if links.strip() else brief.strip()


def catalogue(specs: Sequence[ToolSpec]) -> str:
    """Return the tools as one line each: signature, effect where it is not a read, description."""
    return "\n".join(f"{signature(spec)}{_effect(spec)} - {summary(spec.description)}" for spec in specs)


def _effect(spec: ToolSpec) -> str:
    return "" if spec.effect is Effect.READ else f" [{spec.effect.value}]"


def _asked(shot: Shot, *, known: bool) -> str:
    """The turn of a worked example; data that the turn before it had (``known``) is not said again."""
    parts = [f"DATA\n{shot.data}"] if shot.data and not known else []
    parts += [f"{_LINKS}\n{shot.links}"] if shot.links else []
    return "\n\n".join([*parts, f"TASK\n{shot.task}"])


def earlier_tasks(hints: Sequence[Hint], worded: Callable[[Node], str]) -> str:
    """Return the paragraph of similar tasks and their plans, a call as ``worded`` has it; empty without any."""
    # What lines cannot say is no example of how to write them.
    said = [hint for hint in hints if not any(node.body is not None for node in hint.plan.nodes)]
    kept = [hint for hint in said if hint.plan.nodes and not hint.plan.refusal][:2]
    if not kept:
        return ""
    parts = ["EARLIER TASKS (their plans worked; adapt them, do not copy values that differ)"]
    for hint in kept:
        lines = "\n".join(map(worded, hint.plan.nodes))
        parts.append(f"{' '.join(hint.task.split())[:300]}\n{lines}")
    return "\n\n".join(parts)


def _finished(plan: Plan, results: Mapping[str, StepResult], *, reason: str) -> str:
    parts = ["DONE SO FAR"]
    for node in plan.nodes:
        result = results.get(node.id)
        if result is not None:
            parts.append(f"{write(node)}\n{shown(result, limit=600)}")
    parts.append(f"The task is not finished{': ' + ' '.join(reason.split())[:300] if reason else ''}.")
    parts.append("Write only the further lines, with the next number; refer to the lines above that have a result.")
    return "\n".join(parts)
