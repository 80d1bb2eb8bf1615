"""Which planner a task gets, decided from its words and what is remembered; no model is asked.

In this order:

1. the same task was done before over the same tools: ``reuse``, which takes its plan as it stands;
2. a similar task was done before and every difference of the words is a value in its plan: ``reuse``;
3. the task says that what is to be done depends on what is found, and the model is a medium or large one: ``outline``
   (small models lose more by a longer conversation than they gain by seeing results);
4. everything else: ``dag``. (``fill`` and ``program`` are never chosen: ``fill`` was measured below ``dag`` on both
   small models, and ``program`` is not measured enough.)
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..moves import Choice
from ..steps import Hint
from .template import bound, differences

AUTO = "auto"
"""Stands for whichever of the strategies is chosen."""

_DEPENDS = re.compile(
    r"\b(?:depending on|depends on|based on what|whichever|whatever (?:it|they|is|was)|according to what"
    r"|(?:find out|look up|determine|work out|figure out)\b[^.;]*\b(?:then|and then|after that)"
    r"|for (?:each|every) (?:of (?:them|those|these)|\w+ (?:that|which|you find|found|mentioned|listed|named))"
    r"|(?:those|the ones) (?:that )?(?:you find|found|mentioned|listed|named))\b",
    re.IGNORECASE,
)


def choose(name: str, task: str, *, hints: tuple[Hint, ...] = (), tier: str = "") -> Choice:
    """Return the planner called ``name`` or, for ``auto``, the one that ``task`` gets, with the reason.

    ``tier`` is the size of the model that plans; empty when there is none.
    """
    if name != AUTO:
        return Choice(planner=name, hints=hints)
    planner, reason = _chosen(task, hints, tier)
    return Choice(planner=planner, reason=reason, hints=hints)


def _chosen(task: str, hints: Sequence[Hint], tier: str) -> tuple[str, str]:
    for hint in hints:
        if hint.exact:
            return "reuse", f"run {hint.run} did the same task"
    for hint in hints:
        if bound(hint, task) is not None:
            values = ", ".join(f"{new} for {old}" for old, new in differences(hint.task, task) or ())
            return "reuse", f"run {hint.run} did the same with other values" + (f": {values}" if values else "")
    if tier in ("medium", "large") and (found := _DEPENDS.search(task)):
        return "outline", f"what is to be done depends on what is found: {found[0]!r}"
    return "dag", "nothing speaks for another"
