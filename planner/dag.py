"""A plan as a graph: order, width, critical path and predictions. networkx lives here only."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ..errors import PlanInvalid
from ..steps import Node, Plan
from .validate import Specs, named
from .values import parents

ELEMENTS = 5
"""How many elements a map is assumed to have before its list is known."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a plan would take. Times in seconds, cost in dollars, per the tools' own specs."""

    work: float
    """All calls one after the other."""
    span: float
    """The critical path: no concurrency can be faster."""
    makespan: float
    """A list schedule under the given concurrency; between ``span`` and ``work``."""
    cost: Decimal
    calls: int


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


def estimate(plan: Plan, specs: Specs, concurrency: int) -> Estimate:
    """Predict ``plan`` from its tools' typical seconds and costs; a map counts as ``ELEMENTS`` calls."""
    tools = named(specs)
    each: dict[str, float] = {}
    calls: dict[str, int] = {}
    cost = Decimal(0)
    for node in plan.nodes:
        spec = tools.get(node.tool)
        calls[node.id] = ELEMENTS if node.over is not None else 1
        each[node.id] = spec.seconds if spec else 0.0
        cost += calls[node.id] * (spec.cost if spec else Decimal(0))
    took = {id: each[id] * -(-calls[id] // concurrency) for id in each}
    return Estimate(
        work=sum(each[id] * calls[id] for id in each),
        span=critical_path(plan, each)[1],
        makespan=_makespan(plan, took, concurrency),
        cost=cost,
        calls=sum(calls.values()),
    )


def _makespan(plan: Plan, seconds: Mapping[str, float], concurrency: int) -> float:
    """Play the schedule as the scheduler does: the longest path first, on ``concurrency`` workers."""
    made = graph(plan)
    length: dict[str, float] = {}
    for node in reversed(ordered(plan).nodes):
        length[node.id] = seconds[node.id] + max((length[id] for id in made.successors(node.id)), default=0.0)
    rank = {node.id: (-length[node.id], at) for at, node in enumerate(plan.nodes)}
    waits = dict(made.in_degree())
    ready = [(rank[id], id) for id, number in waits.items() if number == 0]
    heapq.heapify(ready)
    running: list[tuple[float, str]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < concurrency:
            _, id = heapq.heappop(ready)
            heapq.heappush(running, (now + seconds[id], id))
        now, id = heapq.heappop(running)
        for child in made.successors(id):
            waits[child] -= 1
            if waits[child] == 0:
                heapq.heappush(ready, (rank[child], child))
    return now
