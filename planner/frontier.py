"""Who waits for whom while a plan runs, and how long a way is left behind each node.

Bookkeeping without any running: constant work per node and edge, over the whole life of a plan.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Container, Iterable, Mapping

from ..steps import Effect, Node, ToolSpec, digest_call
from .values import parents

_REACH = 64
"""Nodes that are told of a longer path when one is added, at most: what keeps the sum linear."""


class Frontier:
    """The nodes known so far, how many unfinished parents each still has, and the longest path behind it.

    Nodes may be added in any order, also before their parents; a parent that never comes leaves its
    children waiting, which the scheduler notices when nothing moves any more. Paths are in the typical
    seconds of the tools of ``specs``; a map counts as one call until its list is known.
    """

    def __init__(self, specs: Mapping[str, ToolSpec]) -> None:
        """Start empty."""
        self.nodes: dict[str, Node] = {}
        self._specs = specs
        self._parents: dict[str, tuple[str, ...]] = {}
        self._open: dict[str, int] = {}
        self._children: dict[str, list[str]] = {}
        self._places: dict[str, int] = {}
        self._tails: dict[str, float] = {}
        self._near: list[Node] = []
        self._effects: dict[str, None] = {}

    def add(self, node: Node, finished: Container[str]) -> bool:
        """Take ``node`` in; True when all it waits for has finished. Follow with ``lengthen`` or ``measure``."""
        id = node.id
        self.nodes[id] = node
        self._places.setdefault(id, len(self._places))
        self._parents[id] = waits = parents(node)
        self._note(node)
        count = 0
        for parent in waits:
            if parent not in finished:
                self._children.setdefault(parent, []).append(id)
                count += 1
        self._open[id] = count
        if count == 1 and node.when is not None:
            self._near.append(node)
        for child in self._children.get(id, ()):
            self._tails[id] = max(self.tail(id), self._seconds(child) + self.tail(child))
        return not count

    def keep(self, node: Node) -> None:
        """Take in a node that needs no start: it has finished or is under way."""
        self.nodes[node.id] = node
        self._places.setdefault(node.id, len(self._places))
        self._parents[node.id] = parents(node)
        self._note(node)

    def copy(self) -> Frontier:
        """The same nodes, to be finished independently of these; neither takes in more of them."""
        twin = Frontier(self._specs)
        twin.nodes, twin._parents, twin._places, twin._tails = self.nodes, self._parents, self._places, self._tails
        twin._open, twin._children = dict(self._open), dict(self._children)
        return twin

    def span(self) -> float:
        """Seconds of the longest path through all of it."""
        return max((self._seconds(id) + self.tail(id) for id in self.nodes), default=0.0)

    def parents(self, id: str) -> tuple[str, ...]:
        """Ids that the node called ``id`` waits for, or waited for."""
        return self._parents[id]

    def place(self, id: str) -> int:
        """Its place in the order in which nodes were added."""
        return self._places[id]

    def tail(self, id: str) -> float:
        """Seconds of the longest path that begins behind it."""
        return self._tails.get(id, 0.0)

    def finish(self, id: str) -> list[Node]:
        """Note that ``id`` has finished and return the nodes that waited for nothing else."""
        ready = []
        for child in self._children.pop(id, ()):
            self._open[child] -= 1
            if self._open[child] == 0:
                ready.append(self.nodes[child])
            elif self._open[child] == 1 and self.nodes[child].when is not None:
                self._near.append(self.nodes[child])
        return ready

    def near(self) -> list[Node]:
        """Nodes with a condition that came to wait for one other node only, since the last call."""
        near, self._near = self._near, []
        return near

    def effect_before(self, id: str, finished: Container[str]) -> str:
        """The first effect written before ``id`` that is not over; empty when there is none."""
        while self._effects and (first := next(iter(self._effects))) in finished:
            del self._effects[first]
        return first if self._effects and self._places[first] < self._places[id] else ""

    def lengthen(self, id: str) -> list[str]:
        """Tell those before ``id``, nearest first, what is behind them now; returns whose path has become longer.

        At most ``_REACH`` of them hear of it; in a longer plan the rest do with ``measure``.
        """
        told: list[str] = []
        todo = [(-self._places[id], id)]
        for _ in range(_REACH):
            if not todo:
                break
            _, at = heapq.heappop(todo)
            length = self._seconds(at) + self.tail(at)
            for parent in self._parents.get(at, ()):
                if parent in self._places and length > self.tail(parent):
                    self._tails[parent] = length
                    told.append(parent)
                    heapq.heappush(todo, (-self._places[parent], parent))
        return told

    def measure(self) -> None:
        """Work out every path anew; exact where parents stand before their children."""
        self._tails = tails(self._parents, self._seconds)

    def _note(self, node: Node) -> None:
        spec = self._specs.get(node.tool)
        if node.effect is not Effect.READ or (spec is not None and spec.effect is not Effect.READ):
            self._effects[node.id] = None

    def _seconds(self, id: str) -> float:
        node = self.nodes[id]
        spec = self._specs.get(node.tool)
        return spec.seconds if spec is not None else span(node, self._specs)


def span(node: Node, specs: Mapping[str, ToolSpec]) -> float:
    """Seconds of the longest path through one turn of a body; 0 where there is none, for its tool is unknown."""
    if node.body is None:
        return 0.0
    by_id = {inner.id: inner for inner in node.body.nodes}

    def seconds(id: str) -> float:
        spec = specs.get(by_id[id].tool)
        return spec.seconds if spec is not None else span(by_id[id], specs)

    waits = {id: tuple(parent for parent in parents(inner) if parent in by_id) for id, inner in by_id.items()}
    behind = tails(waits, seconds)
    return max((seconds(id) + behind.get(id, 0.0) for id in by_id), default=0.0)


def tails(parents: dict[str, tuple[str, ...]], seconds: Callable[[str], float]) -> dict[str, float]:
    """By id, the seconds of the longest path that begins behind it; none where nothing does.

    One pass from the end: the ids of ``parents`` stand after the ids that they wait for.
    """
    found: dict[str, float] = {}
    for id in reversed(parents):
        length = seconds(id) + found.get(id, 0.0)
        for parent in parents[id]:
            if length > found.get(parent, 0.0):
                found[parent] = length
    return found


def identity(node: Node) -> str:
    """Digest of what ``node`` would do: its call, condition, list and what its failure means, not its order or time."""
    failure = (node.policy.on_failure, node.policy.substitute)
    said = {"args": node.args, "when": node.when, "over": node.over, "failure": failure}
    if node.body is not None:
        said["body"] = node.body.model_dump(mode="json")
    return digest_call(node.tool, said)


def unchanged(old: Mapping[str, Node], new: Iterable[Node]) -> set[str]:
    """Ids whose call is the same in both, and whose inputs come from nodes that are the same too."""
    same: set[str] = set()
    for node in new:
        before = old.get(node.id)
        if before is None or not (before is node or identity(before) == identity(node)):
            continue
        if all(id in same or id not in old for id in parents(node)):
            same.add(node.id)
    return same
