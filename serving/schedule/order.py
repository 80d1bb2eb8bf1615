"""Orders of waiting calls.

``ApplicationFirst`` serves applications one after the other in the order in which they came, as "Parrot: Efficient
Serving of LLM-based Applications with Semantic Variable" does: a person waits for the last call of an application,
not for each. For N applications of k equal steps that come together the mean completion is k(N+1)/2 steps; serving
request by request makes it (k-1)N+(N+1)/2.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from .dispatch import Call, Waiting

QUANTUM = 300.0
"""Seconds on slots after which an application goes behind those that had less, as in "Autellix: An Efficient
Serving Engine for LLM Agents as General Programs". More than most runs ever take."""
OVERTAKES = 128
"""How many calls that came later may start before a call; then it goes before all of them."""
_REMEMBERED = 4096


@dataclass(slots=True)
class _App:
    number: int
    arrived: float
    served: float = 0.0


class ApplicationFirst:
    """By service had (whole quanta), then arrival of the application, then priority within it, then arrival.

    No call starves: at most ``overtakes`` calls that came later start before it.
    """

    def __init__(self, *, quantum: float = QUANTUM, overtakes: int = OVERTAKES) -> None:
        """Know nothing of any application yet."""
        self._quantum = quantum
        self._overtakes = overtakes
        self._apps: OrderedDict[str, _App] = OrderedDict()
        self._number = 0

    def came(self, call: Call) -> None:
        """Note the application; its first call says when it arrived."""
        if call.app not in self._apps:
            self._number += 1
            self._apps[call.app] = _App(self._number, call.arrived)
            if len(self._apps) > _REMEMBERED:
                self._apps.popitem(last=False)
        else:
            self._apps.move_to_end(call.app)

    def rank(self, waiting: Waiting) -> tuple[float, ...]:
        """Calls that were overtaken too often come first, oldest first."""
        if waiting.overtaken >= self._overtakes:
            return (0, waiting.turn, 0, 0, 0, 0)
        return (1, *self._place(waiting.call.app, waiting.call), -waiting.call.priority, waiting.turn)

    def precedes(self, app: str, other: Waiting) -> bool:
        """Whether ``app`` comes before the application of ``other``."""
        if other.overtaken >= self._overtakes or app not in self._apps:
            return False
        return self._place(app, other.call) < self._place(other.call.app, other.call)

    def served(self, call: Call, seconds: float) -> None:
        """Add to what the application has had."""
        if call.alone:
            self._apps.pop(call.app, None)
        elif call.app in self._apps:
            self._apps[call.app].served += seconds

    def _place(self, name: str, call: Call) -> tuple[float, float, float]:
        app = self._apps.get(name) or _App(0, call.arrived)
        return app.served // self._quantum, app.arrived, app.number


class RequestFifo:
    """First come, first served, call by call: what engines do by themselves."""

    def came(self, call: Call) -> None:
        """Nothing to note."""

    def rank(self, waiting: Waiting) -> tuple[float, ...]:
        """Order of arrival."""
        return (waiting.turn,)

    def precedes(self, app: str, other: Waiting) -> bool:
        """A later call never does."""
        return False

    def served(self, call: Call, seconds: float) -> None:
        """Nothing to note."""
