"""What a model planned held against the words of the task: calls that it has none for, refusals that it contradicts.

Small models call a second tool because it is there.

What of the task a call accounts for are the words that it shares with the name and the description of its tool and
with its arguments. A call of which another tool's call accounts for every word, and for more, adds nothing that was
asked for (the sales of a game beside its players, when the task is about players).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ..steps import Effect, Node, Plan, ToolSpec
from .values import parents

_IDLE = frozenset(
    "a about all also an and any are as at be between by calculate can compute could determine display do does each "
    "every fetch find for from generate get give given has have help how i if in is it its let list look make many me "
    "much my need of on one or our perform please provide retrieve return search show some specific specified tell "
    "than that the their them then there these they this to up use using want was were what when where which who whose "
    "will with would you your".split()
)
_DENIAL = frozenset("no tool know not cannot able avail data direc funct give infor provi requi suppo take".split())
"""Beginnings of the words that say no."""
_SEVERAL = re.compile(r"\b(all|both|each)\b", re.IGNORECASE)
_AGAIN = re.compile(r"\b(twice|thrice|again|repeat\w*|times)\b", re.IGNORECASE)
_WORD = re.compile(r"\d+(?:\.\d+)?|[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_A-Za-z]+")


def without_superfluous(plan: Plan, specs: Mapping[str, ToolSpec]) -> Plan:
    """Return ``plan`` without calls of which a call of another tool accounts for more of the task.

    Only calls that stand alone can go: no result flows into them or out of them, and their tool is called once. At
    least one call stays. A task that wants all of something is left as it is: its calls share what it says.
    """
    if _SEVERAL.search(plan.task):
        return plan
    used = {id for node in plan.nodes for id in parents(node)}
    single = [node for node in plan.nodes if node.body is None and not node.after]
    alone = [node for node in single if node.id not in used and not parents(node)]
    calls = Counter(node.tool for node in plan.nodes)
    said = _words(plan.task)
    shares = {node.id: said & _about(node, specs[node.tool]) for node in alone}
    gone = {
        node.id
        for node in alone
        if calls[node.tool] == 1
        and any(node.tool != other.tool and shares[node.id] < shares[other.id] for other in alone)
    }
    return (
        plan.model_copy(update={"nodes": tuple(node for node in plan.nodes if node.id not in gone)}) if gone else plan
    )


def without_repeats(plan: Plan) -> Plan:
    """Return ``plan`` without reads that are the same call again: small models go round in their lines.

    Results that are used stay, and so does all of a task that wants something twice.
    """
    if _AGAIN.search(plan.task):
        return plan
    used = {id for node in plan.nodes for id in parents(node)}
    seen: list[tuple[Any, ...]] = []
    kept = []
    for node in plan.nodes:
        call = (node.tool, node.args, node.when, node.over, node.after, node.body)
        if call not in seen or node.id in used or node.effect is not Effect.READ:
            kept.append(node)
        seen.append(call)
    return plan.model_copy(update={"nodes": tuple(kept)}) if len(kept) < len(plan.nodes) else plan


def spoken_of(task: str, specs: Iterable[ToolSpec]) -> list[str]:
    """Return the tools of which ``task`` says every word of the name: with one, a refusal is hardly ever right."""
    said = _words(task)
    return [spec.name for spec in specs if (name := _words(spec.name)) and name <= said]


def denied(reason: str, specs: Iterable[ToolSpec]) -> list[str]:
    """Return the tools that are about all that a refusal says no tool knows: its reason is not one."""
    missed = {word for word in _words(reason) if word not in _DENIAL}
    return [spec.name for spec in specs if missed and missed <= _words(f"{spec.name} {spec.description}")]


def _about(node: Node, spec: ToolSpec) -> set[str]:
    return _words(f"{spec.name} {spec.description} {json.dumps(node.args, ensure_ascii=False, default=str)}")


def _words(text: str) -> set[str]:
    """The words that say something, each by its beginning; ``BoardGame`` is two."""
    found = (word.casefold() for word in _WORD.findall(text))
    return {_stem(word) for word in found if word not in _IDLE}


def _stem(word: str) -> str:
    if word[0].isdigit():
        return word.rstrip("0").rstrip(".") if "." in word else word
    return word.removesuffix("s")[:5] if len(word) > 3 else word
