"""Equal calls are made once: common subexpressions of a plan (the value numbering of compilers, over calls).

In a body they are the calls of one turn. None is merged with one outside: a call before a list that turns out to be
empty would be needed, and its failure would be that of the node.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from ...steps import Body, Node, Plan
from .base import Change, Outcome, Pass, Scope
from .rename import renamed_body, renamed_node, renamed_plan


class _Once(NamedTuple):
    """Calls of which equal ones are made once."""

    kept: tuple[Node, ...]
    places: dict[str, str]
    """Where the result of a call is that is not made any more."""
    changes: tuple[Change, ...]


def _merge(plan: Plan, scope: Scope) -> Outcome:
    kept, places, changes = _once(plan.nodes, scope)
    if places:
        return Outcome(renamed_plan(plan, kept, places), changes, places)
    return Outcome(plan.model_copy(update={"nodes": kept}), changes) if changes else Outcome(plan)


def _once(nodes: Sequence[Node], scope: Scope, *, overlap: bool = False) -> _Once:
    """``overlap``: effects of other turns may happen between any two of the calls."""
    places: dict[str, str] = {}
    first: dict[str, str] = {}
    changes: list[Change] = []
    kept: list[Node] = []
    effects = 0
    for node in nodes:
        node = renamed_node(node, places)
        if node.body is not None and node.id not in scope.begun:
            body, within = _turn(node.body, scope)
            node = node.model_copy(update={"body": body})
            changes += within
        effects += scope.effectful(node)
        alone = node.id in scope.finished or (overlap and scope.stability(node) != "pure")
        key = "" if alone else _key(node, scope, effects)
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
    return _Once(tuple(kept), places, tuple(changes))


def _turn(body: Body, scope: Scope) -> tuple[Body, tuple[Change, ...]]:
    """``body`` with equal calls of a turn made once."""
    kept, places, changes = _once(body.nodes, scope, overlap=any(map(scope.effectful, body.nodes)))
    if not changes:
        return body, ()
    if body.result is None and body.nodes[-1].id in places:
        # What a turn gives is the result of its last call, which is another now.
        body = body.model_copy(update={"result": {"$ref": body.nodes[-1].id}})
    return renamed_body(body.model_copy(update={"nodes": kept}), places), changes


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
