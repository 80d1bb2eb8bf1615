"""The planners by name. Each is a Planner made from a Kit; a run has one, and asks nothing else of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..errors import UnknownName
from ..protocols import Planner
from .auto import AUTO
from .kit import Kit
from .outline import OutlinePlanner
from .planners import FillPlanner, LinePlanner, ProgramPlanner
from .react import ReactPlanner
from .reuse import ReusePlanner


@dataclass(frozen=True, slots=True)
class Strategy:
    """A way of planning."""

    about: str
    make: Callable[[Kit], Planner]


STRATEGIES: Mapping[str, Strategy] = {
    "dag": Strategy("plans the whole task, as lines, before it runs", LinePlanner),
    "react": Strategy("decides on one call at a time, from the results before it", ReactPlanner),
    "fill": Strategy("chooses the tools first, then fills in one call after the other", FillPlanner),
    "program": Strategy("plans the whole task as a small program", ProgramPlanner),
    "outline": Strategy("says what must be known first, finds that out, then plans the rest", OutlinePlanner),
    "reuse": Strategy("takes the plan of a similar task, with the values of this one", ReusePlanner),
}


def planner_of(name: str, kit: Kit) -> Planner:
    """Return the planner called ``name``. Raises UnknownName."""
    if name not in STRATEGIES:
        raise UnknownName("planner", name, [*STRATEGIES, AUTO], mend="Name one with --planner.")
    return STRATEGIES[name].make(kit)
