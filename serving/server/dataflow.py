"""What of a program waits for what, checked before anything is generated."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...errors import RequestRefused
from ..program import ProgramRequest, ProgramStep
from .offers import check_schema

VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]{0,63})\s*\}\}")
TOKENS = 65_536
"""Most that the steps of one program may generate together."""
PROMPT_BYTES = 4 << 20
"""Most that one step's prompt may be once its variables are filled in."""
DECODE = 4
"""What a generated token costs, in prompt tokens."""


@dataclass(frozen=True, slots=True)
class Flow:
    """A program's steps by their outputs."""

    steps: Mapping[str, ProgramStep]
    needs: Mapping[str, tuple[str, ...]]
    """Outputs of other steps that a step's prompt holds."""
    ahead: Mapping[str, float]
    """Work from a step's beginning to the program's end on the longest way: the critical path comes first."""
    feeds: frozenset[str]
    """Outputs that another step waits for."""

    def fed(self, output: str) -> list[str]:
        """Return the steps that wait for ``output``."""
        return [name for name, wants in self.needs.items() if output in wants]


def flow_of(asked: ProgramRequest) -> Flow:
    """Return the flow of a program. Raises RequestRefused, naming the field that is wrong."""
    steps: dict[str, ProgramStep] = {}
    for number, step in enumerate(asked.steps):
        if step.output in steps or step.output in asked.inputs:
            raise _wrong(number, "output", f"{step.output!r} is already a variable; choose another name.")
        if (step.prompt is None) == (step.messages is None):
            raise _wrong(number, "prompt", "has to be there, or 'messages', and not both; correct it.")
        form = step.response_format
        if form is not None and form.json_schema is not None:
            check_schema(form.json_schema.schema_, f"steps.{number}.response_format")
        steps[step.output] = step
    needs: dict[str, tuple[str, ...]] = {}
    for number, step in enumerate(asked.steps):
        found = dict.fromkeys(name for text in texts_of(step) for name in VARIABLE.findall(text))
        for name in found:
            if name not in steps and name not in asked.inputs:
                field = "prompt" if step.messages is None else "messages"
                raise _wrong(number, field, f"variable {name!r} is no input and no step's output; add it.")
        needs[step.output] = tuple(name for name in found if name in steps)
    for name in asked.outputs or ():
        if name not in steps and name not in asked.inputs:
            raise RequestRefused(f"'outputs': {name!r} is no step's output; leave it out.", param="outputs")
    total = sum(step.max_tokens for step in asked.steps)
    if total > TOKENS:
        raise RequestRefused(
            f"'steps': max_tokens are {total} together, and a program may have {TOKENS}; lower them.", param="steps"
        )
    order = _ordered(needs)
    return Flow(
        steps, needs, _ahead(steps, needs, order), frozenset(name for found in needs.values() for name in found)
    )


def texts_of(step: ProgramStep) -> list[str]:
    """Return the texts of a step that may hold variables."""
    if step.messages is None:
        return [step.prompt or ""]
    found: list[str] = []
    for message in step.messages:
        content = message.content
        found += [content] if isinstance(content, str) else [part.text for part in content or ()]
    return found


def filled(text: str, values: Mapping[str, str]) -> str:
    """Return ``text`` with its variables; a value is never looked into for more."""
    return VARIABLE.sub(lambda match: values[match[1]], text)


def _ordered(needs: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return the steps, each after those it needs. Raises RequestRefused for a circle."""
    order: list[str] = []
    left = dict(needs)
    while left:
        ready = [name for name, wants in left.items() if not any(want in left for want in wants)]
        if not ready:
            raise RequestRefused(f"'steps': {_circle(left)} wait for each other; break the circle.", param="steps")
        order += ready
        for name in ready:
            del left[name]
    return order


def _circle(left: Mapping[str, tuple[str, ...]]) -> str:
    way = [next(iter(left))]
    while True:
        following = next(want for want in left[way[-1]] if want in left)
        if following in way:
            return " -> ".join([*way[way.index(following) :], following])
        way.append(following)


def _ahead(
    steps: Mapping[str, ProgramStep], needs: Mapping[str, tuple[str, ...]], order: Sequence[str]
) -> dict[str, float]:
    found = dict.fromkeys(order, 0.0)
    for name in reversed(order):
        step = steps[name]
        found[name] += step.max_tokens * DECODE + sum(len(text) for text in texts_of(step)) / 4
        for want in needs[name]:
            found[want] = max(found[want], found[name])
    return found


def _wrong(number: int, field: str, what: str) -> RequestRefused:
    where = f"steps.{number}.{field}"
    return RequestRefused(f"{where!r}: {what}", param=where)
