"""Calls that may start now, and which of them is next: the one with the longest path behind it.

Limits form a tree: all calls, those of one resource, those of one limited tool of it. Every lane of the
tree is a heap of what could start in it, so that taking a call or giving one back costs O(log n). A lane
that is full leaves the heap above it, and what waits there stands in nobody's way.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio

from ..steps import Effect, Limits, Node, StepResult, ToolSpec

if TYPE_CHECKING:
    from .turns import Frame

_Entry: TypeAlias = tuple[float, int, int, "Launch | _Lane"]
"""Remaining seconds (negative), place in the plan, serial number, and what stands there."""


_LAST = 1e12
"""Where guesses stand in a heap: behind every call that is needed."""


@dataclass(slots=True, eq=False)
class Launch:
    """A node on its way: one call, or one call per element of its list."""

    node: Node
    spec: ToolSpec
    place: int
    """Its place in the written order; decides between equally long paths."""
    tail: float
    """Seconds of the longest path behind it."""
    frame: Frame
    """Where the node stands."""
    items: list[Any] | None = None
    parts: list[StepResult | None] = field(default_factory=list)
    left: int = 1
    """Calls that have not come back."""
    taken: int = 0
    """Calls that have been started."""
    dropped: bool = False
    guess: bool = False
    """Whether it is needed is not known yet: it starts after all calls that are."""
    scopes: list[anyio.CancelScope] = field(default_factory=list)
    lane: _Lane | None = None
    serial: int = 0
    """That of its entry in its lane; 0 while it has none."""

    @property
    def effect(self) -> Effect:
        """What the call does to the world."""
        return self.spec.effect

    @property
    def size(self) -> int:
        """How many calls it is."""
        return 1 if self.items is None else len(self.items)

    def drop(self) -> None:
        """Stop it; whatever it still returns is thrown away."""
        self.dropped = True
        for scope in self.scopes:
            scope.cancel()


class _Lane:
    """Calls that share a limit, as launches or as lanes with limits of their own."""

    __slots__ = ("above", "free", "heap", "serial", "width")

    def __init__(self, limit: float, width: float, above: _Lane | None) -> None:
        self.above = above
        self.free = limit
        self.width = width
        """How many of its calls can run at once when nothing else does."""
        self.heap: list[_Entry] = []
        self.serial = 0

    def best(self) -> _Entry | None:
        """The first entry that still stands."""
        heap = self.heap
        while heap:
            if heap[0][3].serial == heap[0][2]:
                return heap[0]
            heapq.heappop(heap)
        return None


class Ready:
    """The calls that could start, within ``limits`` by tool and by resource; the number of workers is not its business.

    A tool's own ``limit`` and that of the run hold both: the smaller counts.
    """

    def __init__(self, limits: Limits) -> None:
        """Start empty."""
        self._at_once: Mapping[str, int] = limits.at_once
        self._root = _Lane(math.inf, limits.concurrency, None)
        self._lanes: dict[tuple[str, str], _Lane] = {}
        self._serial = 0

    def push(self, launch: Launch) -> None:
        """Take in a launch: its calls may start from now on."""
        launch.lane = self._lane(launch.spec)
        self._stand(launch, launch.lane, _length(launch, launch.lane), launch.place)
        self._tell(launch.lane)

    def take(self) -> tuple[Launch, int] | None:
        """Start the call that comes first of those whose limits have room: its launch, and which call of it (from 0).

        None when nothing may start now. Every call taken is given back with ``release``.
        """
        entry = self._root.best()
        if entry is None:
            return None
        while isinstance(entry[3], _Lane):
            entry = entry[3].best()
            assert entry is not None, "a lane without calls stood in the lane above"
        launch = entry[3]
        assert launch.lane is not None
        at = launch.taken
        launch.taken += 1
        heapq.heappop(launch.lane.heap)
        launch.serial = 0
        if launch.taken < launch.size:
            self._stand(launch, launch.lane, _length(launch, launch.lane), launch.place)
        for lane in _upwards(launch.lane):
            lane.free -= 1
        self._tell(launch.lane)
        return launch, at

    def release(self, launch: Launch) -> None:
        """Give back the room of one call that was taken."""
        assert launch.lane is not None
        for lane in _upwards(launch.lane):
            lane.free += 1
        self._tell(launch.lane)

    def wanting(self) -> bool:
        """True when a call that is no guess could start now, and only lacks a worker."""
        first = self._root.best()
        return first is not None and first[0] < _LAST

    def hindered(self, launch: Launch) -> bool:
        """True when a call that is no guess waits for room that ``launch`` takes."""
        for lane in _upwards(launch.lane):
            first = lane.best()
            if lane.free <= 0 and first is not None and first[0] < _LAST:
                return True
        return False

    def lengthen(self, launch: Launch, *, tail: float, place: int) -> None:
        """Note that another path is behind a launch, or that it stands elsewhere in the plan."""
        if (launch.tail, launch.place) == (tail, place):
            return
        launch.tail, launch.place = tail, place
        if launch.serial and launch.lane is not None:
            self._stand(launch, launch.lane, _length(launch, launch.lane), place)
            self._tell(launch.lane)

    def remove(self, launch: Launch) -> None:
        """Start no further call of ``launch``."""
        if launch.serial and launch.lane is not None:
            launch.serial = 0
            self._tell(launch.lane)

    def clear(self) -> None:
        """Forget every call that has not started."""
        for lane in (self._root, *self._lanes.values()):
            for entry in lane.heap:
                entry[3].serial = 0
            lane.heap.clear()

    def _lane(self, spec: ToolSpec) -> _Lane:
        at_once = self._at_once
        resource = spec.resource if spec.resource in at_once else ""
        limited = spec.limit is not None or spec.name in at_once
        key = (resource, spec.name if limited else "")
        found = self._lanes.get(key)
        if found is None:
            found = self._pool(resource)
            if limited:
                limit = min(spec.limit or math.inf, at_once.get(spec.name, math.inf))
                found = _Lane(limit, min(limit, found.width), found)
            self._lanes[key] = found
        return found

    def _pool(self, resource: str) -> _Lane:
        if not resource:
            return self._root
        if (resource, "") not in self._lanes:
            limit = self._at_once[resource]
            self._lanes[(resource, "")] = _Lane(limit, min(limit, self._root.width), self._root)
        return self._lanes[(resource, "")]

    def _stand(self, child: Launch | _Lane, lane: _Lane, length: float, place: int) -> None:
        self._serial += 1
        child.serial = self._serial
        heapq.heappush(lane.heap, (-length, place, self._serial, child))

    def _tell(self, lane: _Lane) -> None:
        """Let the lanes above know what is first in ``lane`` now, or that it is full."""
        while lane.above is not None:
            first = lane.best() if lane.free > 0 else None
            lane.serial = 0
            if first is not None:
                self._stand(lane, lane.above, -first[0], first[1])
            lane = lane.above


def _length(launch: Launch, lane: _Lane) -> float:
    """Seconds to the end of the longest path: the calls still to start, in rounds, and what is behind them."""
    if launch.guess:
        return -_LAST
    return launch.spec.seconds * math.ceil((launch.size - launch.taken) / lane.width) + launch.tail


def _upwards(lane: _Lane | None) -> Iterator[_Lane]:
    while lane is not None:
        yield lane
        lane = lane.above
