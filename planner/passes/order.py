"""Effects on one target happen in the order in which they are written.

An effect that failed, was denied or waits for a person holds back the later ones on its target, and no others.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from ...steps import Node, Plan
from ..values import parents
from .base import Change, Outcome, Pass, Scope, upstream


def _order(plan: Plan, scope: Scope) -> Outcome:
    nodes, changes = _ordered(plan.nodes, scope)
    return Outcome(plan.model_copy(update={"nodes": tuple(nodes)}), tuple(changes)) if changes else Outcome(plan)


def _ordered(given: Sequence[Node], scope: Scope) -> tuple[list[Node], list[Change]]:
    """The calls of a plan, or of a body, with their effects on one file in their order."""
    above: dict[str, frozenset[str]] = {}
    earlier: list[tuple[Node, list[str]]] = []
    changes: list[Change] = []
    nodes: list[Node] = []
    for node in given:
        if node.body is not None and node.id not in scope.begun:
            inner, within = _ordered(node.body.nodes, scope)
            if within:
                node = node.model_copy(update={"body": node.body.model_copy(update={"nodes": tuple(inner)})})
                changes += within
        targets = _targets(node, scope)
        before = upstream(parents(node), above)
        added: list[str] = []
        for other, places in reversed(earlier if targets and node.id not in scope.begun else []):
            if other.id not in before and _meet(places, targets):
                added.append(other.id)
                before |= {other.id} | above[other.id]
        if added:
            node = node.model_copy(update={"after": (*node.after, *reversed(added))})
            names = ", ".join(reversed(added))
            changes.append(Change(kind="changed", node=node.id, reason=f"comes after {names}: they may touch one file"))
        above[node.id] = before
        if targets:
            earlier.append((node, targets))
        nodes.append(node)
    return nodes, changes


def _targets(node: Node, scope: Scope) -> list[str]:
    """Paths that an effect touches, ``""`` for one that is not known yet; none where its tool declares none."""
    if node.body is not None:
        return [place for inner in node.body.nodes for place in _targets(inner, scope)]
    if not scope.effectful(node) or node.tool not in scope.specs:
        return []
    given = [node.args[name] for name in scope.specs[node.tool].paths if name in node.args]
    return [_normal(value) if isinstance(value, str) else "" for value in given]


def _normal(path: str) -> str:
    """The path with ``.`` and ``..`` followed, without case; ``""`` where text alone does not tell what it is."""
    plain = posixpath.normpath(path.replace("\\", "/")).casefold()
    return "" if plain.startswith(("/", "..", "~")) or any(sign in plain for sign in "*?[:") else plain


def _meet(some: list[str], others: list[str]) -> bool:
    """True when a path of one may be, hold or lie in a path of the other."""
    return any(_touch(one, other) for one in some for other in others)


def _touch(one: str, other: str) -> bool:
    if "" in (one, other) or "." in (one, other) or one == other:
        return True
    return one.startswith(f"{other}/") or other.startswith(f"{one}/")


ORDER = Pass(
    name="order",
    promises="effects that may touch one file keep their written order; effects that declare no path stay independent",
    apply=_order,
)
