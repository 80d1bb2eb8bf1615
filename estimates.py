"""What a run is expected to take, kept beside what it took: plain values, no behaviour."""

from __future__ import annotations

from decimal import Decimal

from .messages import Frozen

PACE = 0.02
"""Seconds per generated token of a model that does not say."""
READING = 5
"""Prompt tokens that are read in the time of one generated token."""


class Range(Frozen):
    """A figure that nobody can know yet."""

    low: float
    """Lists are short, conditions do not hold, nothing is tried twice."""
    likely: float
    high: float
    """Lists are long, every call is slow and uses all its attempts, and every replan is used."""


class CostRange(Frozen):
    """As ``Range``, in dollars."""

    low: Decimal
    likely: Decimal
    high: Decimal


class Estimate(Frozen):
    """What a plan would take under one set of assumptions. Times in seconds, cost in dollars."""

    concurrency: int
    """Calls at once."""
    work: float
    """All calls one after the other."""
    span: float
    """The critical path: no concurrency can be faster."""
    makespan: float
    """A list schedule by the longest way to the end, played through."""
    cost: Decimal
    calls: int

    @property
    def lower(self) -> float:
        """No schedule is faster than this."""
        return max(self.work / self.concurrency, self.span)

    @property
    def upper(self) -> float:
        """No schedule that leaves no worker idle beside a ready call is slower than this (Graham's bound)."""
        return self.work / self.concurrency + (1 - 1 / self.concurrency) * self.span


class Prediction(Frozen):
    """What a run takes from its plan to its answer, predicted before it runs. Planning itself is not in it."""

    plan: Estimate
    """The plan's calls as they are likely to be."""
    seconds: Range
    """Calls by the played schedule, and the answer."""
    calls: Range
    """Attempts at tools."""
    tokens: Range
    """Of the models that answer and, in ``high``, plan again."""
    cost: CostRange | None = None
    """None where a model's price is not known before it is opened."""


class Took(Frozen):
    """What the same part of a run took, from its journal."""

    seconds: float
    """In which at least one call was under way; waiting for people and being stopped do not count."""
    calls: int
    tokens: int
    cost: Decimal
