"""The model of a task, fitted to a few calls: speeds, tokens by size, error by size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy

from ...messages import Frozen, ModelInfo
from ...planner.chunks import Cut

_STEPS = 60


class Row(Frozen):
    """One call."""

    task: str
    size: int
    """Items in its part."""
    seed: int
    prompt: int
    """Tokens."""
    cached: int
    """Of them not read again."""
    written: int
    seconds: float
    """By the clock."""
    loss: float
    """How wrong its answer was, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds for a token."""

    reading: float
    writing: float

    def seconds(self, row: Row) -> float:
        """What a call takes alone; what the engine had in its cache counts as read."""
        return self.reading * row.prompt + self.writing * row.written


def pace_of(rows: Sequence[Row]) -> Pace:
    """Return the speeds that explain the seconds of ``rows`` best; none is below zero."""
    tokens = numpy.array([[row.prompt - row.cached, row.written] for row in rows], dtype=float)
    seconds = numpy.array([row.seconds for row in rows])
    reading, writing = numpy.linalg.lstsq(tokens, seconds, rcond=None)[0]
    if reading > 0 and writing > 0:
        return Pace(float(reading), float(writing))
    # Too noisy to tell them apart: a prompt token costs what a written one does.
    each = float(seconds.sum() / tokens.sum())
    return Pace(each, each)


@dataclass(frozen=True, slots=True)
class Fitted:
    """A task as ``choose_chunk`` sees it."""

    cut: Cut
    model: ModelInfo
    unit: int
    """Prompt tokens of an item."""


def fitted(rows: Sequence[Row], info: ModelInfo, pace: Pace) -> Fitted:
    """Fit prompt and answer as straight lines of the size, the error as a logistic curve of its logarithm."""
    sizes = numpy.array([row.size for row in rows], dtype=float)
    slope, base = numpy.polyfit(sizes, [row.prompt for row in rows], 1)
    unit = max(1, round(float(slope)))
    # The whole number of tokens of an item leaves a rest, which is right in the middle of the sizes.
    instructions = max(0, round(float(base + (slope - unit) * sizes.mean())))
    more, least = (float(one) for one in numpy.polyfit(sizes, [row.written for row in rows], 1))
    error = logistic([(math.log(row.size), row.loss) for row in rows])
    model = info.model_copy(update={"seconds_per_token": pace.writing, "seconds_per_prompt_token": pace.reading})
    cut = Cut(
        error=lambda tokens: error(math.log(max(tokens / unit, 1e-9))),
        instructions=instructions,
        answer=lambda tokens: max(1, round(least + more * tokens / unit)),
        right="one",
        join="code",
    )
    return Fitted(cut, model, unit)


def logistic(points: Sequence[tuple[float, float]]) -> Callable[[float], float]:
    """Return the curve 1 / (1 + exp(-(a + b x))) of greatest likelihood; values are shares, 0 to 1.

    Two points of doubt at the ends of ``x``, half right, keep it finite where all are right or all wrong.
    """
    x = numpy.array([one for one, _ in points])
    y = numpy.array([one for _, one in points])
    ends = numpy.array([x.min(), x.max()])
    design = numpy.stack([numpy.ones(len(x) + 2), numpy.concatenate([x, ends])], axis=1)
    target = numpy.concatenate([y, [0.5, 0.5]])
    weight = numpy.concatenate([numpy.ones(len(x)), [0.5, 0.5]])
    found = numpy.zeros(2)
    for _ in range(_STEPS):
        guess = 1 / (1 + numpy.exp(-numpy.clip(design @ found, -30, 30)))
        slope = design.T @ (weight * (target - guess))
        bend = (design * (weight * guess * (1 - guess))[:, None]).T @ design
        found = found + numpy.linalg.solve(bend + 1e-9 * numpy.eye(2), slope)
    first, second = (float(one) for one in found)
    return lambda at: 1 / (1 + math.exp(-max(-30.0, min(30.0, first + second * at))))
