"""Several calls of a tool that takes a list become one call."""

from __future__ import annotations

import json
from typing import Any

from ...steps import Node, Plan, Source
from ..validate import problems
from ..values import parents, parts_in
from .base import Change, Outcome, Pass, Scope
from .rename import renamed_plan


def _batch(plan: Plan, scope: Scope) -> Outcome:
    groups: dict[str, list[Node]] = {}
    effects = 0
    for node in plan.nodes:
        effects += scope.effectful(node)
        if key := _key(node, scope, effects):
            groups.setdefault(key, []).append(node)
    places: dict[str, str] = {}
    whole: dict[str, Node] = {}
    changes: list[Change] = []
    for group in groups.values():
        call = _together(group, scope) if len(group) > 1 else None
        if call is None:
            continue
        whole[call.id] = call
        for at, node in enumerate(group):
            places[node.id] = f"{call.id}[{at}]"
            reason = f"one {node.tool} call for {len(group)}"
            changes.append(Change(kind="batched", node=node.id, into=places[node.id], reason=reason))
    if not places:
        return Outcome(plan)
    kept = tuple(whole.get(node.id, node) for node in plan.nodes if node.id in whole or node.id not in places)
    return Outcome(renamed_plan(plan, kept, places), tuple(changes), places)


def _key(node: Node, scope: Scope, effects: int) -> str:
    """Equal for calls that differ in one value only and may begin together; empty for a call that stays alone."""
    if scope.effectful(node) or node.over is not None or node.body is not None or node.id in scope.begun:
        return ""
    # A substitute stands for one value, not for the list of all.
    if node.policy.on_failure == "substitute":
        return ""
    spec = scope.specs[node.tool]
    name = spec.batches
    # Bound texts and paths are resolved one by one.
    if name not in node.args or name in (*spec.binds, *spec.paths) or not _single(node.args[name]):
        return ""
    rest = {key: value for key, value in node.args.items() if key != name}
    epoch = effects if spec.stability != "pure" else -1
    said = [node.tool, rest, node.when, sorted(parents(node)), node.policy.model_dump(), epoch]
    return json.dumps(said, sort_keys=True)


def _single(value: Any) -> bool:
    """True for one value, whatever earlier results turn out to be: a reference may yield a list."""
    return parts_in(value) is not None or not isinstance(value, (dict, list))


def _together(group: list[Node], scope: Scope) -> Node | None:
    """The call for all of ``group``; None when its tool's schema does not take a list after all."""
    first = group[0]
    name = scope.specs[first.tool].batches
    sources: dict[str, Source] = {path: source for path, source in first.sources.items() if path != name}
    sources |= {f"{name}[{at}]": node.sources[name] for at, node in enumerate(group) if name in node.sources}
    values = [node.args[name] for node in group]
    call = first.model_copy(update={"args": {**first.args, name: values}, "sources": sources})
    return None if problems(Plan(task="", nodes=(call,)), scope.specs, known=parents(call)) else call


BATCH = Pass(
    name="batch",
    promises="calls of a tool that takes a list, which can begin together, are one call; results are its elements",
    apply=_batch,
)
