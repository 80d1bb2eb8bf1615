"""All passes over a plan, until none finds anything."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from ...steps import Plan
from ..validate import Specs, named
from ..values import parse_ref
from .base import Change, Pass, PassTrace, Scope, Trace
from .batch import BATCH
from .dead import DEAD
from .fold import FOLD
from .hoist import HOIST
from .merge import MERGE
from .order import ORDER
from .rename import moved

PASSES = (DEAD, MERGE, FOLD, HOIST, BATCH, ORDER)
"""Merging comes before what changes calls: lines that were merged as they came are then equal here as well."""


class Optimised(NamedTuple):
    """A plan and what was done to it."""

    plan: Plan
    trace: Trace


def optimise(
    plan: Plan,
    specs: Specs,
    *,
    begun: Collection[str] = (),
    finished: Collection[str] = (),
    passes: Sequence[Pass] = PASSES,
) -> Optimised:
    """Return the valid ``plan`` after ``passes``, which are repeated until none changes anything.

    The same plan gives the same plan, and a plan that came from here comes back as it is. Whatever stays keeps its
    id; of merged and batched calls the earliest id stays. Calls that have ``begun`` stay as they are, and so do those
    that an earlier revision ``finished``, into which nothing is merged: a planner that asks again wants to know anew.
    """
    scope = Scope(named(specs), frozenset({*begun, *finished}), frozenset(finished))
    changes: dict[str, list[Change]] = {each.name: [] for each in passes}
    renamed: dict[str, str] = {}
    again = bool(plan.nodes)
    while again:
        again = False
        for each in passes:
            outcome = each.apply(plan, scope)
            if not outcome.changes:
                continue
            again = True
            plan = outcome.plan
            changes[each.name] += outcome.changes
            places = outcome.renamed
            renamed = {id: moved(ref, places) for id, ref in renamed.items()}
            renamed |= {id: ref for id, ref in places.items() if id not in renamed}
    traces = [PassTrace(name=each.name, promises=each.promises, changes=tuple(changes[each.name])) for each in passes]
    left = {node.id for node in plan.nodes}
    kept = {id: ref for id, ref in renamed.items() if parse_ref(ref).head in left}
    return Optimised(plan, Trace(passes=tuple(traces), renamed=kept))
