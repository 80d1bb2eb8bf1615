"""What a plan takes before it runs: work, span, bounds, and a schedule played through.

Latency and cost are propagated through the DAG node by node, and what cannot be known (how long a list is, whether a
condition holds, how often a call is tried) is assumed, low, likely and high. After "On the Design and Analysis of
LLM-based Algorithms" (latency and cost of a graph as functions of parallelism) and "Bounds on Multiprocessing Timing
Anomalies" (any list schedule takes at most work / p + (1 - 1 / p) * span on p workers).
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from ..estimates import Estimate
from ..steps import Plan
from .frontier import tails
from .validate import Specs, named
from .values import parents, parse_ref, refs


@dataclass(frozen=True, slots=True)
class Assumed:
    """What a plan does not tell."""

    elements: int
    """Length of a list that a call maps over."""
    pace: float = 1.0
    """Duration of a call as a multiple of its tool's typical one."""
    holds: bool = True
    """Whether conditions hold."""
    retries: bool = False
    """Whether every call uses all its attempts."""


LOW = Assumed(elements=1, pace=0.5, holds=False)
LIKELY = Assumed(elements=5)
HIGH = Assumed(elements=25, pace=3.0, retries=True)


@dataclass(frozen=True, slots=True)
class _Load:
    """What one node asks for."""

    calls: int
    seconds: float
    """Of one call, with its attempts."""

    def length(self, left: int, workers: int) -> float:
        """Seconds of its last ``left`` calls, in rounds."""
        return self.seconds * math.ceil(left / workers)


def estimate(plan: Plan, specs: Specs, concurrency: int, assumed: Assumed = LIKELY) -> Estimate:
    """Predict ``plan`` from its tools' typical seconds and costs, with at most ``concurrency`` calls at once.

    Nodes stand after their parents; parents outside the plan have finished. Nothing is called.
    """
    tools = named(specs)
    skipped = _skipped(plan) if not assumed.holds else set()
    loads: dict[str, _Load] = {}
    calls = 0
    cost = Decimal(0)
    for node in plan.nodes:
        spec = tools.get(node.tool)
        attempts = 1 + node.policy.retries if assumed.retries else 1
        count = 0 if node.id in skipped else assumed.elements if node.over is not None else 1
        loads[node.id] = _Load(count, attempts * assumed.pace * spec.seconds if spec else 0.0)
        calls += attempts * count
        cost += attempts * count * (spec.cost if spec else Decimal(0))
    single = {id: load.seconds if load.calls else 0.0 for id, load in loads.items()}
    behind = tails({node.id: parents(node) for node in plan.nodes}, single.__getitem__)
    return Estimate(
        concurrency=concurrency,
        work=sum(load.calls * load.seconds for load in loads.values()),
        span=max((seconds + behind.get(id, 0.0) for id, seconds in single.items()), default=0.0),
        makespan=_played(plan, loads, behind, concurrency),
        cost=cost,
        calls=calls,
    )


def _skipped(plan: Plan) -> set[str]:
    """Ids that do not run when no condition holds: those with one, and those that use the value of such."""
    found: set[str] = set()
    for node in plan.nodes:
        if node.when is not None or any(parse_ref(text).head in found for text in refs(node)):
            found.add(node.id)
    return found


def _played(plan: Plan, loads: Mapping[str, _Load], behind: Mapping[str, float], workers: int) -> float:
    """Play the list schedule: whenever a worker is free it takes the ready call with the longest way to the end.

    As the scheduler does, whose limits of tools and resources are not played.
    """
    children: dict[str, list[str]] = defaultdict(list)
    waits: dict[str, int] = {}
    for node in plan.nodes:
        inside = [id for id in parents(node) if id in loads]
        waits[node.id] = len(inside)
        for id in inside:
            children[id].append(node.id)
    place = {node.id: at for at, node in enumerate(plan.nodes)}
    left = {id: load.calls for id, load in loads.items()}
    ready: list[tuple[float, int, str]] = []
    running: list[tuple[float, int, str]] = []

    def release(ids: list[str]) -> None:
        """Queue the calls of nodes that wait for nothing; one without calls is over at once."""
        while ids:
            id = ids.pop()
            for calls in range(loads[id].calls, 0, -1):
                length = loads[id].length(calls, workers) + behind.get(id, 0.0)
                heapq.heappush(ready, (-length, place[id], id))
            if not loads[id].calls:
                ids += _freed(id, children, waits)

    now = 0.0
    release([node.id for node in plan.nodes if not waits[node.id]])
    while ready or running:
        while ready and len(running) < workers:
            _, at, id = heapq.heappop(ready)
            heapq.heappush(running, (now + loads[id].seconds, at, id))
        now, _, id = heapq.heappop(running)
        left[id] -= 1
        if not left[id]:
            release(_freed(id, children, waits))
    return now


def _freed(id: str, children: Mapping[str, list[str]], waits: dict[str, int]) -> list[str]:
    free = []
    for child in children.get(id, ()):
        waits[child] -= 1
        if not waits[child]:
            free.append(child)
    return free
