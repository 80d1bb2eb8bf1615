"""Calls, slots and time as plain values: who starts where, decided anew whenever something changes.

The order is somebody else's (``order.py``), and so is the choice of a slot. What is decided here: a slot is
never idle while a call may start, but for one thing. When a call ends whose application asks again at once,
its slot is held for ``grace`` seconds, and for as long as that call is known to be on its way, if only calls
of less urgent applications wait. Without that the next step always comes a moment too late ("Anticipatory
scheduling: a disk scheduling framework to overcome deceptive idleness in synchronous I/O").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

GRACE = 0.05
"""Seconds that a slot waits for the next call of the application that it has just served."""
RETRY = 0.05
"""Seconds until slots that somebody else uses are asked for again."""


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One generation that wants a slot; calls are told apart by identity."""

    app: str
    """The application (run) that waits for it."""
    arrived: float = 0.0
    """When the application came, on any clock that all applications share."""
    priority: float = 0.0
    """What of the application's critical path is still to come from this call on; more goes first within it."""
    follows: bool = False
    """The application asks again as soon as this call has ended."""
    alone: bool = False
    """The call is its whole application, which need not be remembered."""
    tokens: bytes = b""
    """The prompt (``warmth.packed``)."""


@dataclass(slots=True, eq=False)
class Waiting:
    """A call in the queue."""

    call: Call
    turn: int
    """Position in the order of arrival of calls."""
    overtaken: int = 0
    """How many calls that came later have started before it, while it could have."""


class Order(Protocol):
    """Ranks waiting calls."""

    def came(self, call: Call) -> None:
        """Note a new call."""

    def rank(self, waiting: Waiting) -> tuple[float, ...]:
        """Smallest goes first; every rank has the same length."""

    def precedes(self, app: str, other: Waiting) -> bool:
        """Whether a further call of ``app`` would go before ``other``."""

    def served(self, call: Call, seconds: float) -> None:
        """Note that ``call`` has ended after ``seconds`` on its slot."""


class Placement(Protocol):
    """Knows what the slots are good for."""

    def blocked(self, call: Call) -> bool:
        """Whether ``call`` should wait for a running one, whose prompt it shares. Never true with no call running."""

    def choose(self, call: Call, free: Sequence[int]) -> int | None:
        """Return the one of ``free`` that ``call`` now starts on; None when none of them can be had at the moment."""

    def ended(self, slot: int) -> None:
        """Note that the call on ``slot`` has ended."""


class AnySlot:
    """Placement where all slots are alike."""

    def blocked(self, call: Call) -> bool:
        """Nothing waits for anything."""
        return False

    def choose(self, call: Call, free: Sequence[int]) -> int | None:
        """Return the first one."""
        return free[0]

    def ended(self, slot: int) -> None:
        """Nothing to note."""


@dataclass(frozen=True, slots=True)
class _Hold:
    app: str
    until: float


class Dispatch:
    """Slots and the calls that wait for them. Every method takes the time; none blocks."""

    def __init__(self, slots: int, order: Order, placement: Placement | None = None, *, grace: float = GRACE) -> None:
        """Begin with all slots free."""
        self._order = order
        self._placement = placement or AnySlot()
        self._grace = grace
        self._free = list(range(slots))
        self._waiting: dict[Call, Waiting] = {}
        self._running: dict[Call, tuple[int, float]] = {}
        self._holds: dict[int, _Hold] = {}
        self._coming: Counter[str] = Counter()
        self._turn = 0
        self._refused = False

    @property
    def waiting(self) -> int:
        """Calls that wait."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Calls that have a slot."""
        return len(self._running)

    def expect(self, app: str) -> None:
        """A call of ``app`` is being prepared; ``expected`` must follow."""
        self._coming[app] += 1

    def expected(self, app: str) -> None:
        """It has been submitted, or does not come."""
        self._coming[app] -= 1
        if not self._coming[app]:
            del self._coming[app]

    def submit(self, call: Call) -> None:
        """Queue ``call``."""
        self._turn += 1
        self._waiting[call] = Waiting(call, self._turn)
        self._order.came(call)

    def end(self, call: Call, now: float) -> None:
        """Forget ``call``: it has ended, or nobody wants it any more; a slot that it had is free again."""
        if self._waiting.pop(call, None) is not None:
            return
        slot, began = self._running.pop(call)
        self._placement.ended(slot)
        self._order.served(call, now - began)
        self._free.append(slot)
        self._free.sort()
        if call.follows and self._grace > 0:
            self._holds[slot] = _Hold(call.app, now + self._grace)

    def starts(self, now: float) -> list[tuple[Call, int]]:
        """Return the calls that start now, each with its slot."""
        found: list[tuple[Call, int]] = []
        self._refused = False
        if not self._waiting:
            return found
        self._holds = {slot: hold for slot, hold in self._holds.items() if self._holding(hold, now)}
        while self._free and (best := self._best()) is not None and (free := self._open_to(best)):
            slot = self._placement.choose(best.call, free)
            if slot is None:
                self._refused = True
                break
            self._start(best, slot, now)
            found.append((best.call, slot))
        return found

    def outranked(self, call: Call) -> bool:
        """Whether a call waits, with no slot free, whose application goes before that of the running ``call``."""
        if self._free or not self._waiting:
            return False
        best = self._best()
        return best is not None and self._order.precedes(best.call.app, Waiting(call, 0))

    def wakes(self, now: float) -> float | None:
        """When ``starts`` may give something new although nothing happens; None: never."""
        if not self._waiting or not self._free:
            return None
        times = [hold.until for hold in self._holds.values() if hold.until > now]
        if self._refused:
            times.append(now + RETRY)
        return min(times, default=None)

    def _holding(self, hold: _Hold, now: float) -> bool:
        return now < hold.until or hold.app in self._coming

    def _best(self) -> Waiting | None:
        ranked = sorted(self._waiting.values(), key=self._order.rank)
        return next((item for item in ranked if not self._placement.blocked(item.call)), None)

    def _open_to(self, best: Waiting) -> list[int]:
        """Slots that ``best`` may have: not those held for an application that goes before it."""
        kept = []
        for slot, hold in list(self._holds.items()):
            if hold.app == best.call.app or not self._order.precedes(hold.app, best):
                del self._holds[slot]
            else:
                kept.append(slot)
        return [slot for slot in self._free if slot not in kept]

    def _start(self, item: Waiting, slot: int, now: float) -> None:
        del self._waiting[item.call]
        self._free.remove(slot)
        self._holds.pop(slot, None)
        self._running[item.call] = slot, now
        for other in self._waiting.values():
            if other.turn < item.turn and not self._placement.blocked(other.call):
                other.overtaken += 1
