"""What a planner sees when it is its turn, what it may do then, and why a run has the planner it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from .messages import Frozen
from .steps import Hint, Plan, StepResult


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a planner may know: nothing else stays with it between two turns, so that a killed run loses nothing."""

    task: str
    brief: str = ""
    """What a Toolset says of its surroundings."""
    links: str = ""
    """What it says of this task in them."""
    hints: tuple[Hint, ...] = ()
    """Earlier tasks like this one."""
    plan: Plan | None = None
    """The plan so far; None at the first turn."""
    results: Mapping[str, StepResult] = field(default_factory=dict)
    """What came of its nodes."""
    reason: str = ""
    """Why the plan is to be extended, where the answer could not be given from it."""
    memo: Mapping[str, JsonValue] = field(default_factory=dict)
    """What the planner noted at its last turn."""


class Move(Frozen):
    """A planner's turn: a plan to run (or the plan so far, when there is nothing to add), or an answer beside it."""

    plan: Plan
    """Continues the plan so far, whose finished nodes it keeps; one with a ``refusal`` ends the planning."""
    answer: str = ""
    """The answer, where the planner gives it itself; empty: it is made from the results."""
    again: bool = False
    """The planner wants to be asked again when the plan's results are there, before anything is answered."""
    memo: dict[str, JsonValue] = {}
    """Handed to it then; kept with the plan."""


class Choice(Frozen):
    """The planner of a run; kept with it, so that a resumed run goes on as it began."""

    planner: str
    """Name of a strategy."""
    reason: str = ""
    """Why, where it was not named by a person."""
    hints: tuple[Hint, ...] = ()
    """What was remembered when it was chosen."""
