"""A plan as a graph: order, width and critical path. networkx lives here only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import PlanInvalid
from ..steps import Node, Plan
from .values import parents


def graph(plan: Plan) -> Any:
    """Return a ``networkx.DiGraph`` of node ids with the attribute ``node``; an edge is "must finish first".

    Parents that are not in the plan (results of an earlier revision) are left out.
    """
    import networkx

    made = networkx.DiGraph()
    for node in plan.nodes:
        made.add_node(node.id, node=node)
    for node in plan.nodes:
        made.add_edges_from((id, node.id) for id in parents(node) if id in made)
    return made


def ordered(plan: Plan) -> Plan:
    """Return ``plan`` with every node after its parents, changed as little as possible.

    Raises PlanInvalid, naming a cycle, when there is no such order.
    """
    import networkx

    place = {node.id: at for at, node in enumerate(plan.nodes)}
    made = graph(plan)
    try:
        order = list(networkx.lexicographical_topological_sort(made, key=place.__getitem__))
    except networkx.NetworkXUnfeasible:
        cycle = [edge[0] for edge in networkx.find_cycle(made)]
        raise PlanInvalid(
            [f"{' -> '.join([*cycle, cycle[0]])} wait for one another; let each use earlier results only."]
        ) from None
    by_id = {node.id: node for node in plan.nodes}
    return plan.model_copy(update={"nodes": tuple(by_id[id] for id in order)})


def layers(plan: Plan) -> list[list[Node]]:
    """Nodes by their distance from the start: each layer needs only earlier ones. PlanInvalid for a cycle."""
    depth: dict[str, int] = {}
    found: list[list[Node]] = []
    for node in ordered(plan).nodes:
        level = 1 + max((depth[id] for id in parents(node) if id in depth), default=-1)
        depth[node.id] = level
        if level == len(found):
            found.append([])
        found[level].append(node)
    return found


def width(plan: Plan) -> int:
    """The largest layer: how many calls run at once when all take equally long."""
    return max((len(layer) for layer in layers(plan)), default=0)


def critical_path(plan: Plan, seconds: Mapping[str, float]) -> tuple[list[str], float]:
    """Return the slowest chain of ids and its seconds; ``seconds`` by node id, missing ones count as 0."""
    end: dict[str, float] = {}
    before: dict[str, str | None] = {}
    for node in ordered(plan).nodes:
        latest = max((id for id in parents(node) if id in end), key=end.__getitem__, default=None)
        before[node.id] = latest
        end[node.id] = seconds.get(node.id, 0.0) + (end[latest] if latest is not None else 0.0)
    at = max(end, key=end.__getitem__, default=None)
    total = end[at] if at is not None else 0.0
    path: list[str] = []
    while at is not None:
        path.append(at)
        at = before[at]
    return path[::-1], total
