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
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from ..estimates import Estimate
from ..steps import Node, Plan, ToolSpec
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
    turns: float = 0.5
    """Share of its most turns that a loop with a condition takes, at least one."""


LOW = Assumed(elements=1, pace=0.5, holds=False, turns=0.0)
LIKELY = Assumed(elements=5)
HIGH = Assumed(elements=25, pace=3.0, retries=True, turns=1.0)
_MOST = 2_000
"""Calls of bodies that are played one by one; what is beyond them is left out."""


@dataclass(frozen=True, slots=True)
class _Load:
    """What one node asks for."""

    waits: tuple[str, ...]
    """Ids that it waits for."""
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
    spread = _Spread(named(specs), assumed, _skipped(plan) if not assumed.holds else set())
    spread.level(plan.nodes, "", {}, ())
    loads = spread.loads
    single = {id: load.seconds if load.calls else 0.0 for id, load in loads.items()}
    behind = tails({id: load.waits for id, load in loads.items()}, single.__getitem__)
    return Estimate(
        concurrency=concurrency,
        work=sum(load.calls * load.seconds for load in loads.values()),
        span=max((seconds + behind.get(id, 0.0) for id, seconds in single.items()), default=0.0),
        makespan=_played(loads, behind, concurrency),
        cost=spread.cost,
        calls=spread.calls,
    )


class _Spread:
    """The calls of a plan one by one, those of bodies once per turn, by path."""

    def __init__(self, specs: Mapping[str, ToolSpec], assumed: Assumed, skipped: Collection[str]) -> None:
        self._specs = specs
        self._assumed = assumed
        self._skipped = skipped
        self.loads: dict[str, _Load] = {}
        self.calls = 0
        self.cost = Decimal(0)

    def level(self, nodes: Sequence[Node], path: str, places: Mapping[str, str], first: tuple[str, ...]) -> list[str]:
        """Add the calls of a plan, or of one turn, all of which wait for ``first``; returns their paths.

        ``places`` are the paths of the ids around.
        """
        places = {**places, **{node.id: f"{path}{node.id}" for node in nodes}}
        for node in nodes:
            waits = (*first, *(places[id] for id in parents(node) if id in places))
            if node.body is None:
                self._call(node, places[node.id], waits)
            else:
                self._body(node, places, waits)
        return [places[node.id] for node in nodes]

    def _call(self, node: Node, path: str, waits: tuple[str, ...]) -> None:
        spec, assumed = self._specs.get(node.tool), self._assumed
        attempts = 1 + node.policy.retries if assumed.retries else 1
        count = 0 if node.id in self._skipped else assumed.elements if node.over is not None else 1
        self.loads[path] = _Load(waits, count, attempts * assumed.pace * spec.seconds if spec else 0.0)
        self.calls += attempts * count
        self.cost += attempts * count * (spec.cost if spec else Decimal(0))

    def _body(self, node: Node, places: Mapping[str, str], waits: tuple[str, ...]) -> None:
        """Add the turns of a body and, behind them, its node, which is no call."""
        body, assumed, path = node.body, self._assumed, places[node.id]
        assert body is not None
        most = body.most or 1
        loops = most if body.until is None else max(1, round(assumed.turns * most))
        turns = 0 if node.id in self._skipped else assumed.elements if node.over is not None else loops
        ends: list[str] = []
        before = waits
        for at in range(turns):
            if len(self.loads) > _MOST:
                break
            ended = self.level(body.nodes, f"{path}[{at}].", places, before)
            ends += ended
            if node.over is None:
                before = (*waits, *ended)
        self.loads[path] = _Load((*waits, *ends), 0, 0.0)


def _skipped(plan: Plan) -> set[str]:
    """Ids that do not run when no condition holds: those with one, and those that use the value of such."""
    found: set[str] = set()
    for node in plan.every():
        own = node if node.body is None else node.model_copy(update={"body": None})
        if node.when is not None or any(parse_ref(text).head in found for text in refs(own)):
            found.add(node.id)
    return found


def _played(loads: Mapping[str, _Load], behind: Mapping[str, float], workers: int) -> float:
    """Play the list schedule: whenever a worker is free it takes the ready call with the longest way to the end.

    As the scheduler does, whose limits of tools and resources are not played.
    """
    children: dict[str, list[str]] = defaultdict(list)
    waits: dict[str, int] = {}
    for id, load in loads.items():
        within = [parent for parent in dict.fromkeys(load.waits) if parent in loads]
        waits[id] = len(within)
        for parent in within:
            children[parent].append(id)
    place = {id: at for at, id in enumerate(loads)}
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
    release([id for id in loads if not waits[id]])
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
