"""Equal calls are made once: common subexpressions of a plan (the value numbering of compilers, over calls)."""

from __future__ import annotations

import json

from ...steps import Node, Plan
from .base import Change, Outcome, Pass, Scope
from .rename import renamed_node, renamed_plan


def _merge(plan: Plan, scope: Scope) -> Outcome:
    places: dict[str, str] = {}
    first: dict[str, str] = {}
    changes: list[Change] = []
    kept: list[Node] = []
    effects = 0
    for node in plan.nodes:
        node = renamed_node(node, places)
        effects += scope.effectful(node)
        key = _key(node, scope, effects) if node.id not in scope.finished else ""
        twin = first.get(key) if key else None
        if twin is not None and node.id not in scope.begun:
            places[node.id] = twin
            changes.append(
                Change(kind="merged", node=node.id, into=twin, reason=f"the same {node.tool} call as {twin}")
            )
            continue
        if key:
            first.setdefault(key, node.id)
        kept.append(node)
    if not places:
        return Outcome(plan)
    return Outcome(renamed_plan(plan, tuple(kept), places), tuple(changes), places)


def _key(node: Node, scope: Scope, effects: int) -> str:
    """Equal for calls that give the same; empty for a call that may give something else each time.

    ``effects`` are those written before ``node``: between two equal keys of a stable call stands none.
    """
    stability = scope.stability(node)
    if stability == "fresh":
        return ""
    said = [node.tool, node.args, node.when, node.over, sorted(node.after), node.sources]
    epoch = effects if stability == "stable" else -1
    return json.dumps([*said, node.policy.model_dump(), epoch], sort_keys=True)


MERGE = Pass(
    name="merge",
    promises="equal calls of tools that only read are made once, never across an effect that they might see",
    apply=_merge,
)
