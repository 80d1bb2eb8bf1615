"""Applications on slots in virtual time: to test an order, and to predict what it is worth."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from .dispatch import Call, Dispatch, Order


@dataclass(frozen=True, slots=True)
class App:
    """An application: stages one after the other, in each of them calls at once (their durations)."""

    arrives: float
    stages: Sequence[Sequence[float]]
    name: str = ""


@dataclass(frozen=True, slots=True)
class Played:
    """What came of it."""

    completions: tuple[float, ...]
    """Seconds from arrival to the end of the last call, per application."""
    starts: tuple[tuple[Call, float, float], ...]
    """Every call with the time it was asked for and the time it started, in the order of starting."""

    @property
    def mean(self) -> float:
        """Mean completion."""
        return sum(self.completions) / len(self.completions)


class _Play:
    def __init__(self, apps: Sequence[App], dispatch: Dispatch, think: float) -> None:
        self._apps = apps
        self._dispatch = dispatch
        self._think = think
        self._events: list[tuple[float, int, int, Call | None]] = []
        self._count = 0
        self._stage = [-1] * len(apps)
        self._open = [0] * len(apps)
        self._of: dict[Call, tuple[int, float, float]] = {}
        self.completions = [0.0] * len(apps)
        self.starts: list[tuple[Call, float, float]] = []

    def run(self) -> None:
        for index, app in enumerate(self._apps):
            self._push(app.arrives, index, None)
        while self._events:
            now = self._events[0][0]
            while self._events and self._events[0][0] == now:
                _, _, index, call = heapq.heappop(self._events)
                if index < 0:
                    continue
                self._ended(call, index, now) if call is not None else self._next(index, now)
            for call, _ in self._dispatch.starts(now):
                index, took, asked = self._of[call]
                self.starts.append((call, asked, now))
                self._push(now + took, index, call)
            if (wakes := self._dispatch.wakes(now)) is not None:
                self._push(wakes, -1, None)

    def _push(self, at: float, index: int, call: Call | None) -> None:
        self._count += 1
        heapq.heappush(self._events, (at, self._count, index, call))

    def _next(self, index: int, now: float) -> None:
        app = self._apps[index]
        self._stage[index] += 1
        stage = self._stage[index]
        if stage == len(app.stages):
            self.completions[index] = now - app.arrives
            return
        ahead = len(app.stages) - stage
        self._open[index] = len(app.stages[stage])
        for took in app.stages[stage]:
            call = Call(app.name or str(index), app.arrives, priority=ahead, follows=ahead > 1)
            self._of[call] = (index, took, now)
            self._dispatch.submit(call)

    def _ended(self, call: Call, index: int, now: float) -> None:
        self._dispatch.end(call, now)
        self._open[index] -= 1
        if not self._open[index]:
            last = self._stage[index] + 1 == len(self._apps[index].stages)
            self._push(now if last else now + self._think, index, None)


def simulate(apps: Sequence[App], *, slots: int, order: Order, grace: float = 0.0, think: float = 0.0) -> Played:
    """Play ``apps`` to their ends; ``think`` is the time an application takes between two stages.

    Every stage must have a call.
    """
    play = _Play(apps, Dispatch(slots, order, grace=grace), think)
    play.run()
    return Played(tuple(play.completions), tuple(play.starts))
