"""Which instance a request goes to, and which one moves: pure functions over plain values.

As in "Llumnix: Dynamic Scheduling for Large Language Model Serving": an instance's freedom is the memory that its
requests leave free, per request, where what a request uses is virtual: one that waits uses a whole slot that is not
there, an urgent one also the room that shall stay free around it. One number so serves balance and priorities.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ..schedule.dispatch import Waiting
from ..schedule.order import ApplicationFirst

Role = Literal["mixed", "prefill", "decode"]
"""What an instance is for: prompts and answers, prompts only, or answers (and prompts not worth a transfer)."""
HEADROOM = 1.0
"""Slots that stay free around an urgent request, where that can be."""


@dataclass(frozen=True, slots=True)
class Held:
    """A request on an instance."""

    id: int
    tokens: int
    """That it has in memory, or will have once its prompt is read."""
    running: bool = True
    """It has a slot."""
    urgent: bool = False
    movable: bool = True


@dataclass(frozen=True, slots=True)
class Load:
    """An instance and what it holds."""

    slots: int
    context: int
    """Tokens of one slot."""
    held: tuple[Held, ...] = ()
    role: Role = "mixed"

    @property
    def open(self) -> int:
        """Slots that nobody runs on or waits for."""
        return self.slots - len(self.held)

    @property
    def use(self) -> float:
        """Tokens in virtual use."""
        urgent = sum(item.urgent for item in self.held)
        use = HEADROOM * self.context if urgent else 0.0
        return use + sum(item.tokens if item.running else self.context for item in self.held)

    @property
    def freedom(self) -> float:
        """Free tokens per request; below zero with more requests than slots."""
        return (self.slots * self.context - self.use) / max(1, len(self.held))

    def plus(self, item: Held) -> Load:
        """Return the load with ``item``, which waits where no slot is open."""
        return replace(self, held=(*self.held, replace(item, running=self.open > 0)))

    def minus(self, item: Held) -> Load:
        """Return the load without ``item``; one that waits takes its slot."""
        held = [other for other in self.held if other.id != item.id]
        for index, other in enumerate(held):
            if item.running and not other.running:
                held[index] = replace(other, running=True)
                break
        return replace(self, held=tuple(held))


@dataclass(frozen=True, slots=True)
class Move:
    """A request that goes to another instance."""

    id: int
    source: int
    target: int


def dispatch(loads: Sequence[Load], item: Held, *, known: Sequence[int] = (), roles: Iterable[Role] = ()) -> int:
    """Return the instance that is freest with ``item`` on it; of equals the one that knows most of its prompt.

    ``known`` is that, in tokens, per instance. Only instances of ``roles`` count, where there are any; an open slot
    goes before a queue.
    """
    wanted = set(roles)
    places = [at for at, load in enumerate(loads) if load.role in wanted] or list(range(len(loads)))

    def merit(at: int) -> tuple[bool, float, int, int]:
        # What an instance knows is a reason only where nothing else is, or a warm one would collect all requests.
        return loads[at].open > 0, loads[at].plus(item).freedom, known[at] if known else 0, -at

    return max(places, key=merit)


def gap(loads: Sequence[Load]) -> float:
    """How far the freest and the least free instance are apart, in tokens per request; those for prompts only aside."""
    freedoms = [load.freedom for load in loads if load.role != "prefill"]
    return max(freedoms, default=0.0) - min(freedoms, default=0.0)


def migration(loads: Sequence[Load]) -> Move | None:
    """Return the one move that is worth most, or None: from the least free instance to the freest with an open slot.

    Both must come to lie strictly inside the old gap. So no move ever widens it, and repeated moves come to an end.
    Requests that wait move first (nothing of theirs is computed yet), then those with least to carry; urgent ones
    last. An instance for prompts only takes part in none of it.
    """
    places = [at for at, load in enumerate(loads) if load.role != "prefill"]
    if len(places) < 2:
        return None
    source = min(places, key=lambda at: loads[at].freedom)
    targets = [at for at in places if at != source and loads[at].open > 0]
    if not targets:
        return None
    target = max(targets, key=lambda at: loads[at].freedom)
    low, high = loads[source].freedom, loads[target].freedom
    for item in sorted(loads[source].held, key=lambda item: (item.urgent, item.running, item.tokens, item.id)):
        after = loads[source].minus(item).freedom, loads[target].plus(item).freedom
        if item.movable and all(low < freedom < high for freedom in after):
            return Move(item.id, source, target)
    return None


def moved(loads: Sequence[Load], move: Move) -> list[Load]:
    """Return the loads after ``move``."""
    found = list(loads)
    item = next(item for item in loads[move.source].held if item.id == move.id)
    found[move.source] = loads[move.source].minus(item)
    found[move.target] = loads[move.target].plus(item)
    return found


class UrgentFirst(ApplicationFirst):
    """Calls with at least ``urgent`` of their critical path to come go first; among equals applications do."""

    def __init__(self, urgent: float) -> None:
        """0 makes no call urgent."""
        super().__init__()
        self._urgent = urgent

    def rank(self, waiting: Waiting) -> tuple[float, ...]:
        """As the applications are ranked, in two classes; what was overtaken too often still goes before both."""
        starved, *rest = super().rank(waiting)
        return (starved, not is_urgent(waiting.call.priority, self._urgent), *rest)

    def precedes(self, app: str, other: Waiting) -> bool:
        """An urgent call is not kept waiting for another application's next one."""
        return not is_urgent(other.call.priority, self._urgent) and super().precedes(app, other)


def is_urgent(priority: float, bar: float) -> bool:
    """Whether a call with ``priority`` (``messages.Place``) is of the urgent class; a ``bar`` of 0 has none."""
    return 0 < bar <= priority
