"""Two writes of one file in one plan: the second would replace the first, which nobody means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..steps import Effect, Node, Plan, ToolSpec
from .values import parents


def merged_writes(plan: Plan, specs: Mapping[str, ToolSpec]) -> Plan:
    """Return ``plan`` with every later write of a file taken into its first, whose content becomes a list.

    Only for tools that write a literal path and take any content; a write whose result is used stays.
    """
    used = {parent for node in plan.nodes for parent in parents(node)}
    kept: dict[tuple[str, str], Node] = {}
    nodes: list[Node] = []
    for node in plan.nodes:
        place = _place(node, specs.get(node.tool))
        first = kept.get(place) if place else None
        if place is None or first is None or first.id in used or node.id in used:
            if place is not None:
                kept[place] = node
            nodes.append(node)
            continue
        nodes.remove(first)
        content = [*_listed(first.args["content"]), *_listed(node.args["content"])]
        merged = node.model_copy(update={"args": {**first.args, **_untitled(node.args), "content": content}})
        kept[place] = merged
        nodes.append(merged)
    return plan.model_copy(update={"nodes": tuple(nodes)})


def _place(node: Node, spec: ToolSpec | None) -> tuple[str, str] | None:
    """Tool and path of a plain write; None for everything else."""
    if spec is None or spec.effect is not Effect.WRITE or len(spec.paths) != 1 or node.when or node.over:
        return None
    path = node.args.get(spec.paths[0])
    return (node.tool, path) if isinstance(path, str) and "content" in node.args else None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _untitled(args: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in args.items() if name != "title"}
