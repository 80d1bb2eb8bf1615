"""A fleet in virtual time: simulated engines under the policy that also runs the real ones."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from .policy import Held, Load, Role, dispatch, gap, migration
from .roles import Costs, Rates, weigh

Way = Literal["round_robin", "dispatch", "migrate"]
"""Turns; by freedom; by freedom with migration."""
PIECE = 128
"""Prompt tokens that an engine reads before its answers go on."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of a trace."""

    arrives: float
    prompt: int
    answer: int
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Machine:
    """An instance of a fleet."""

    slots: int = 3
    context: int = 4096
    role: Role = "mixed"
    costs: Costs = field(default_factory=Rates)


@dataclass(slots=True, eq=False)
class _Request:
    id: int
    asked: Asked
    unread: int
    unwritten: int
    at: int = -1
    ready: float = 0.0
    """Its state is being carried until then."""
    running: bool = False
    first: float = 0.0
    end: float = 0.0
    answers: int = 0
    moves: int = 0
    only_read: bool = False

    @property
    def held(self) -> Held:
        tokens = self.asked.prompt + self.asked.answer - self.unwritten
        # A prompt that is being read is not torn away from the engine.
        movable = not self.running or not self.unread
        return Held(self.id, tokens, running=self.running, urgent=self.asked.urgent, movable=movable)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request."""

    asked: Asked
    first: float
    """Seconds to its first token."""
    seconds: float
    """To its last."""
    moves: int
    answers: int
    """How often it was answered: once, or the fleet is wrong."""
    pace: float
    """Seconds per token of the answer after the first."""


@dataclass(frozen=True, slots=True)
class Played:
    """A trace that was played to its end."""

    outcomes: tuple[Outcome, ...]
    gaps: tuple[tuple[float, float], ...]
    """Load gap before and after every move."""
    seconds: float
    """From the first arrival to the last token."""


class _Play:
    def __init__(self, trace: Sequence[Asked], machines: Sequence[Machine], way: Way) -> None:
        self._machines = machines
        self._way = way
        self._requests = [_Request(n, asked, asked.prompt, asked.answer) for n, asked in enumerate(trace)]
        self._on: list[list[_Request]] = [[] for _ in machines]
        self._stepping = [False] * len(machines)
        self._events: list[tuple[float, int, int, tuple[_Request, ...]]] = []
        self._count = 0
        self._turn = 0
        self.gaps: list[tuple[float, float]] = []

    def run(self) -> list[_Request]:
        for request in self._requests:
            self._push(request.asked.arrives, -1, (request,))
        while self._events:
            now, _, at, work = heapq.heappop(self._events)
            if at < 0:
                if work:
                    self._arrive(work[0])
                    self._balance(now)
            elif self._stepped(at, work, now):
                self._balance(now)
            for machine in range(len(self._machines)):
                self._step(machine, now)
        return self._requests

    def _push(self, at: float, machine: int, work: tuple[_Request, ...]) -> None:
        self._count += 1
        heapq.heappush(self._events, (at, self._count, machine, work))

    def _loads(self) -> list[Load]:
        return [
            Load(
                machine.slots,
                machine.context,
                tuple(item.held for item in on),
                machine.role,
            )
            for machine, on in zip(self._machines, self._on, strict=True)
        ]

    def _arrive(self, request: _Request) -> None:
        if self._way == "round_robin":
            at = self._turn % len(self._machines)
            self._turn += 1
        else:
            at = self._place(request)
        self._put(request, at)

    def _place(self, request: _Request) -> int:
        loads = self._loads()
        at = dispatch(loads, request.held, roles=("mixed", "decode"))
        readers = [n for n, machine in enumerate(self._machines) if machine.role == "prefill"]
        if readers and self._machines[at].role == "decode":
            reader = min(readers, key=lambda n: sum(other.unread for other in self._on[n]))
            weighed = weigh(
                request.unread,
                here=self._machines[at].costs,
                there=self._machines[reader].costs,
                running=sum(other.running for other in self._on[at]),
                ahead=sum(other.unread for other in self._on[reader]),
            )
            if weighed.pays:
                request.only_read = True
                return reader
        return at

    def _put(self, request: _Request, at: int) -> None:
        request.at, request.running = at, False
        self._on[at].append(request)
        self._admit(at)

    def _take(self, request: _Request) -> None:
        self._on[request.at].remove(request)
        request.running = False
        self._admit(request.at)

    def _admit(self, at: int) -> None:
        on = self._on[at]
        free = self._machines[at].slots - sum(item.running for item in on)
        ahead = self._way == "round_robin"
        waiting = sorted(
            (item for item in on if not item.running),
            key=lambda item: (not ahead and not item.asked.urgent, item.asked.arrives, item.id),
        )
        for item in waiting[: max(0, free)]:
            item.running = True

    def _balance(self, now: float) -> None:
        if self._way != "migrate":
            return
        for _ in range(len(self._requests)):
            loads = self._loads()
            move = migration(loads)
            if move is None:
                return
            request = self._requests[move.id]
            begun = request.running
            self._take(request)
            self._put(request, move.target)
            after = self._loads()
            self.gaps.append((gap(loads), gap(after)))
            if begun:
                request.moves += 1
                self._carried(request, move.source, now)

    def _carried(self, request: _Request, source: int, now: float) -> None:
        took = sum(self._machines[at].costs.carry(request.held.tokens) for at in (source, request.at))
        request.ready = now + took
        self._push(request.ready, -1, ())

    def _step(self, at: int, now: float) -> None:
        if self._stepping[at]:
            return
        ready = [item for item in self._on[at] if item.running and item.ready <= now]
        reading = next((item for item in ready if item.unread), None)
        writing = [item for item in ready if not item.unread]
        if reading is None and not writing:
            return
        costs = self._machines[at].costs
        took = costs.decode(len(writing)) + (costs.prefill(min(PIECE, reading.unread)) if reading else 0.0)
        self._stepping[at] = True
        self._push(now + took, at, (*writing, *([reading] if reading else [])))

    def _stepped(self, at: int, work: tuple[_Request, ...], now: float) -> bool:
        """End a step; True when a request has left."""
        self._stepping[at] = False
        left = False
        for request in work:
            if request.at != at or request.ready > now:
                # It has left in the middle of the step; what was written of it is written again.
                continue
            if request.unread:
                request.unread -= min(PIECE, request.unread)
                if not request.unread and request.only_read:
                    self._hand_over(request, at, now)
                    left = True
                continue
            request.first = request.first or now
            request.unwritten -= 1
            if request.unwritten <= 0:
                request.end = now
                request.answers += 1
                self._take(request)
                left = True
        return left

    def _hand_over(self, request: _Request, at: int, now: float) -> None:
        self._take(request)
        request.only_read = False
        self._put(request, dispatch(self._loads(), request.held, roles=("decode", "mixed")))
        self._carried(request, at, now)


def simulate(trace: Sequence[Asked], machines: Sequence[Machine], *, way: Way = "migrate") -> Played:
    """Play ``trace`` on ``machines`` to its end."""
    play = _Play(trace, machines, way)
    done = play.run()
    outcomes = tuple(
        Outcome(
            asked=item.asked,
            first=item.first - item.asked.arrives,
            seconds=item.end - item.asked.arrives,
            moves=item.moves,
            answers=item.answers,
            pace=(item.end - item.first) / max(1, item.asked.answer - 1),
        )
        for item in done
    )
    begin = min((asked.arrives for asked in trace), default=0.0)
    return Played(outcomes, tuple(play.gaps), max((item.end for item in done), default=begin) - begin)
