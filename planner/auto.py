"""Which planner a task gets, decided from its words, its tools and what is remembered; no model is asked.

In this order:

1. the same task was done before over the same tools: ``reuse``, which takes its plan as it stands;
2. a similar task was done before and every difference of the words is a value in its plan: ``reuse``;
3. the task says that what is to be done depends on what is found, and the model is a medium or large one: ``outline``
   (small models lose more by a longer conversation than they gain by seeing results);
4. more than 20 tools of a person's own and a small model: ``fill``, which shows it one tool's parameters at a time;
5. everything else: ``dag``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..moves import Choice
from ..steps import Hint, ToolSpec
from .shots import choose_shots
from .template import bound, differences

AUTO = "auto"
"""Stands for whichever of the strategies is chosen."""
MANY = 20
"""Tools of a person's own beyond which a small model is shown them one by one."""

_DEPENDS = re.compile(
    r"\b(?:depending on|depends on|based on what|whichever|whatever (?:it|they|is|was)|according to what"
    r"|(?:find out|look up|determine|work out|figure out)\b[^.;]*\b(?:then|and then|after that)"
    r"|for (?:each|every) (?:of (?:them|those|these)|\w+ (?:that|which|you find|found|mentioned|listed|named))"
    r"|(?:those|the ones) (?:that )?(?:you find|found|mentioned|listed|named))\b",
    re.IGNORECASE,
)


def choose(name: str, task: str, specs: Sequence[ToolSpec], *, hints: tuple[Hint, ...] = (), tier: str = "") -> Choice:
    """Return the planner called ``name`` or, for ``auto``, the one that ``task`` gets, with the reason.

    ``tier`` is the size of the model that plans; empty when there is none.
    """
    if name != AUTO:
        return Choice(planner=name, hints=hints)
    planner, reason = _chosen(task, specs, hints, tier)
    return Choice(planner=planner, reason=reason, hints=hints)


def _chosen(task: str, specs: Sequence[ToolSpec], hints: Sequence[Hint], tier: str) -> tuple[str, str]:
    for hint in hints:
        if hint.exact:
            return "reuse", f"run {hint.run} did the same task"
    for hint in hints:
        if bound(hint, task) is not None:
            values = ", ".join(f"{new} for {old}" for old, new in differences(hint.task, task) or ())
            return "reuse", f"run {hint.run} did the same with other values" + (f": {values}" if values else "")
    if tier in ("medium", "large") and (found := _DEPENDS.search(task)):
        return "outline", f"what is to be done depends on what is found: {found[0]!r}"
    if tier in ("tiny", "small") and len(specs) > MANY and not choose_shots(specs):
        return "fill", f"a {tier} model and {len(specs)} tools of one's own"
    return "dag", "nothing speaks for another"
