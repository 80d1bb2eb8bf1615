"""Calls that nothing needs are left out: dead code, where the plan says which results answer the task."""

from __future__ import annotations

from ...steps import Node, Plan, inside
from ..values import parents
from .base import Change, Outcome, Pass, Scope


def _dead(plan: Plan, scope: Scope) -> Outcome:
    if not plan.answers:
        # Every result that nobody uses answers the task, so all nodes are needed.
        return Outcome(plan)
    by_id = {node.id: node for node in plan.nodes}
    open_ = [node.id for node in plan.nodes if _rooted(node, plan, scope)]
    live: set[str] = set()
    while open_:
        id = open_.pop()
        if id in by_id and id not in live:
            live.add(id)
            open_ += parents(by_id[id])
    reason = "no answer and no effect needs its result"
    changes = tuple(Change(kind="removed", node=id, reason=reason) for id in by_id if id not in live)
    if not changes:
        return Outcome(plan)
    return Outcome(plan.model_copy(update={"nodes": tuple(by_id[id] for id in by_id if id in live)}), changes)


def _rooted(node: Node, plan: Plan, scope: Scope) -> bool:
    """True for what stays whoever uses it: answers, effects, calls that may end the run, calls that have begun."""
    ends = node.ends or any(each.policy.on_failure in ("stop", "ask") for each in inside((node,)))
    return ends or node.id in plan.answers or node.id in scope.begun or scope.effectful(node)


DEAD = Pass(
    name="dead",
    promises="where a plan names its answers, reads that no answer and no effect needs are left out; effects never",
    apply=_dead,
)
