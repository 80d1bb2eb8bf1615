"""What a run will take once its plan stands: the plan's calls, the answer, and at worst every replan.

Tokens of model calls are round figures from the size of the prompts, not measured ones; their seconds are those of this
machine where it was measured.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from ..errors import ShuntyardError
from ..estimates import PACE, READING, CostRange, Prediction, Range
from ..messages import ModelInfo
from ..planner.predict import HIGH, LIKELY, LOW, estimate
from ..protocols import Pacing
from ..steps import Limits, Plan
from .rooms import Rooms


class Talk(NamedTuple):
    """Tokens of model calls."""

    prompt: float
    completion: float

    def seconds(self, info: ModelInfo, pacing: Pacing, *, calls: int = 1) -> float:
        """Reading the prompts and generating the answers of ``calls`` that share the tokens equally.

        As this machine was measured, else by a round figure.
        """
        each = pacing.seconds(
            info.name, prompt=round(self.prompt / calls), completion=max(1, round(self.completion / calls))
        )
        if each is not None:
            return calls * each
        return (info.seconds_per_token or PACE) * (self.prompt / READING + self.completion)

    def cost(self, info: ModelInfo) -> Decimal | None:
        """Dollars; None where the price is not known."""
        if info.input_price is None or info.output_price is None:
            return None
        return int(self.prompt) * info.input_price + int(self.completion) * info.output_price


REPLAN = Talk(4000, 200)
"""A plan that is extended: what is there to work on, the plan so far and its results, and some lines."""


def join_talk(nodes: int) -> tuple[Talk, Talk, Talk]:
    """Tokens of an answer, low, likely, high: rules and task, a line and a result per node; at worst it is redone."""
    return Talk(280 + 30 * nodes, 15), Talk(300 + 80 * nodes, 60), Talk(2 * (2300 + 80 * nodes), 2 * 400)


def predicted(plan: Plan, rooms: Rooms, limits: Limits) -> Prediction | None:
    """Predict the run of ``plan`` from its first call to its answer; None while no model can be chosen to answer."""
    try:
        _, joiner = rooms.route("join", limits)
    except ShuntyardError:
        # That nobody can answer is said when the answer is due; calls may run before.
        return None
    p, pacing = limits.concurrency, rooms.pacing
    low, likely, high = (estimate(plan, rooms.specs, p, assumed) for assumed in (LOW, LIKELY, HIGH))
    brief, usual, long = join_talk(len(plan.nodes))
    again = 0 if plan.origin == "person" else max(0, limits.max_replans - plan.revision)
    worst = Talk(
        (1 + again) * long.prompt + again * REPLAN.prompt, (1 + again) * long.completion + again * REPLAN.completion
    )
    costs = [talk.cost(joiner) for talk in (brief, usual, worst)]
    priced = [cost for cost in costs if cost is not None]
    return Prediction(
        plan=likely,
        seconds=Range(
            low=low.makespan + brief.seconds(joiner, pacing),
            likely=likely.makespan + usual.seconds(joiner, pacing),
            high=(1 + again) * (high.makespan + long.seconds(joiner, pacing, calls=2))
            + again * REPLAN.seconds(joiner, pacing),
        ),
        calls=Range(low=low.calls, likely=likely.calls, high=(1 + again) * high.calls),
        tokens=Range(low=sum(brief), likely=sum(usual), high=sum(worst)),
        cost=CostRange(
            low=low.cost + priced[0], likely=likely.cost + priced[1], high=(1 + again) * high.cost + priced[2]
        )
        if len(priced) == len(costs)
        else None,
    )
