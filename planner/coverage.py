"""What a task says and no call of its plan takes up: a tool that it names, numbers, names, quoted words.

Worth one more try of the model, never a reason to refuse a plan: a task may say more than it asks for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from ..steps import Plan, ToolSpec

_NUMBER = re.compile(r"(?<![\w.^])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?!\.?\d)(?!(?:[a-z]*\d|:\d))", re.IGNORECASE)
_QUOTED = re.compile(r"(?<![\w\"'])(?:'([^'\n]{2,80})'|\"([^\"\n]{2,80})\")(?![\w\"'])")
_NAME = re.compile(
    r"(?<![.!?:\"'(] )(?<!^)(?<![\w'\"($\n])(?:\d+ )?[A-Z][\w-]*\w(?:(?: of| and| the| de)? [A-Z][\w-]*\w)*"
)
_WORD = re.compile(r"\w+")
_CLAUSE = re.compile(r"[.!?;,]\s|[\n\"]")
_FORM = frozenset("and the of de am pm usd eur gbp hz joules kelvin celsius fahrenheit newtons watts volts".split())
"""Words of a name, and units, that arguments may well leave out."""
_MOST = 4
"""What a model is told at once."""


def untaken(plan: Plan, specs: Mapping[str, ToolSpec]) -> list[str]:
    """Return what no call of ``plan`` takes up of its task, worded for a model, the surest first."""
    called = {node.tool for node in plan.nodes}
    told = json.dumps([node.args for node in plan.nodes], ensure_ascii=False)
    about = " ".join(f"{name} {specs[name].description}" for name in called if name in specs)
    tools = [name for name in specs if name not in called and _names(plan.task, name)]
    found = [f"a call of {name}" for name in tools]
    words = list(_said(plan.task, f"{told} {about} {' '.join(tools)}"))
    numbers = [text for text in _numbers(plan.task, told) if not any(text in word.split() for word in words)]
    loose = dict.fromkeys([*numbers, *words])
    return [*found, *(f"what {text!r} is for: {_around(plan.task, text)!r}" for text in [*loose][:_MOST])]


def unfinished(missing: Sequence[str]) -> str:
    """Return the paragraph that asks for a whole plan where the first left something out.

    Its lines are not shown: small models copy what they see, and add nothing.
    """
    told = "\n".join(f"- {text}" for text in missing)
    return (
        f"A FIRST PLAN LEFT SOMETHING OUT\n{told}\nWrite the whole plan, with a line for each thing that is asked for."
    )


def _names(task: str, tool: str) -> bool:
    """Whether ``task`` has the name of ``tool``, which must be more than one word."""
    parts = re.split(r"[^A-Za-z0-9]+", tool)
    return len(parts) > 1 and re.search(rf"(?i)(?<!\w){'[^A-Za-z0-9 ]'.join(parts)}(?!\w)", task) is not None


def _numbers(task: str, told: str) -> Iterator[str]:
    """Numbers of ``task`` that are in no argument, as they stand or as a share (5 % is 0.05, 1.05 or 0.95)."""
    made = {float(text.replace(",", "")) for text in re.findall(r"\d[\d,]*(?:\.\d+)?", told) if text.strip(",")}
    made |= {float(text) for text in re.findall(r"\d+(?:\.\d+)?", told)}
    for match in _NUMBER.finditer(task):
        value = float(match[0].replace(",", ""))
        shares = {value / 100, round(1 + value / 100, 9), round(1 - value / 100, 9)}
        if value > 1 and not {value, value * 1000, value * 1_000_000, *shares} & made:
            yield match[0].rstrip(",")


def _said(task: str, known: str) -> Iterator[str]:
    """Quoted words and names of ``task`` that stand neither in the arguments nor in what the called tools are."""
    words = {_stem(word) for word in _WORD.findall(known.replace("_", " "))}
    quoted = [one or two for one, two in _QUOTED.findall(task)]
    for text in [*quoted, *_NAME.findall(task)]:
        parts = [word for word in _WORD.findall(text) if word.casefold() not in _FORM]
        if any(_stem(word) not in words for word in parts):
            yield text


def _around(task: str, text: str) -> str:
    """The clause of ``task`` in which ``text`` stands."""
    at = task.index(text)
    begin = max((match.end() for match in _CLAUSE.finditer(task, 0, at)), default=0)
    end = _CLAUSE.search(task, at + len(text))
    return task[begin : end.start() if end else len(task)].strip()[:120]


def _stem(word: str) -> str:
    return word.casefold()[:5]
