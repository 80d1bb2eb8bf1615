"""Reads do not wait for what cannot change them."""

from __future__ import annotations

from ...steps import Node, Plan
from ..values import parents
from .base import Change, Outcome, Pass, Scope, upstream


def _hoist(plan: Plan, scope: Scope) -> Outcome:
    if plan.origin == "person":
        # A person who writes "after" may mean what no tool declares: a check that has to pass, a pause.
        return Outcome(plan)
    by_id: dict[str, Node] = {}
    above: dict[str, frozenset[str]] = {}
    changes: list[Change] = []
    for node in plan.nodes:
        freed = _freed(node, by_id, above, scope)
        if freed is not node:
            gone = [id for id in node.after if id not in freed.after]
            changes.append(Change(kind="changed", node=node.id, reason=f"need not wait for {', '.join(gone)}"))
        by_id[node.id] = freed
        above[node.id] = upstream(parents(freed), above)
    return (
        Outcome(plan.model_copy(update={"nodes": tuple(by_id.values())}), tuple(changes)) if changes else Outcome(plan)
    )


def _freed(node: Node, by_id: dict[str, Node], above: dict[str, frozenset[str]], scope: Scope) -> Node:
    """``node`` after only what it might see: what it need not wait for hands on what that waited for."""
    if not node.after or node.id in scope.begun or scope.stability(node) == "fresh":
        return node
    used = upstream(parents(node.model_copy(update={"after": ()})), above)
    after: dict[str, None] = {}
    todo = list(reversed(node.after))
    while todo:
        id = todo.pop()
        if id in used:
            continue
        if id not in by_id or _seen(node, by_id[id], scope):
            after[id] = None
        elif scope.stability(node) == "stable":
            todo += reversed(parents(by_id[id]))
    later = [id for id in after if not any(id in above.get(other, ()) for other in after if other != id)]
    return node if set(later) == set(node.after) else node.model_copy(update={"after": tuple(later)})


def _seen(node: Node, before: Node, scope: Scope) -> bool:
    """True when ``node`` might give something else for running before ``before``."""
    if scope.stability(node) == "pure":
        return False
    # A fresh call may be a pause or a poll; only of pure and stable ones is it known that they leave nothing behind.
    return scope.effectful(before) or scope.stability(before) == "fresh"


HOIST = Pass(
    name="hoist",
    promises="a repeatable read waits only for results that it uses and for effects and fresh calls that it might see",
    apply=_hoist,
)
