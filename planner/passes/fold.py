"""Texts that are put together from constants alone are put together now.

Calls are not evaluated here, not even pure ones: every call goes the one road (record, guard, budget, dispatch), and
a call that a pass made would be seen by none of them.
"""

from __future__ import annotations

from typing import Any

from ...steps import Node, Plan
from ..validate import problems
from ..values import parents, parts_in
from .base import Change, Outcome, Pass, Scope


def _fold(plan: Plan, scope: Scope) -> Outcome:
    changes: list[Change] = []
    nodes: list[Node] = []
    for node in plan.nodes:
        args = {name: _folded(value) for name, value in node.args.items()}
        if args != node.args and node.id not in scope.begun:
            folded = node.model_copy(update={"args": args})
            if _sound(folded, scope):
                names = [name for name in args if args[name] != node.args[name]]
                reason = f"{', '.join(names)} is a text of constants"
                changes.append(Change(kind="changed", node=node.id, reason=reason))
                node = folded
        nodes.append(node)
    return Outcome(plan.model_copy(update={"nodes": tuple(nodes)}), tuple(changes)) if changes else Outcome(plan)


def _folded(value: Any) -> Any:
    parts = parts_in(value)
    if parts is not None:
        return "".join(parts) if all(isinstance(part, str) for part in parts) else value
    if isinstance(value, dict):
        return {key: _folded(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_folded(child) for child in value]
    return value


def _sound(node: Node, scope: Scope) -> bool:
    """True when the call still keeps its tool's schema: a text around results is checked less than a literal."""
    return not problems(Plan(task="", nodes=(node,)), scope.specs, known=parents(node))


FOLD = Pass(
    name="fold",
    promises="a text of constants is a literal; nothing is called",
    apply=_fold,
)
