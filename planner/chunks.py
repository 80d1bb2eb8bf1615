"""How finely to cut a task whose input is too long, or too slow, for one model call.

A task over ``n`` tokens is cut into equal parts, each asked for by itself, and the answers are joined by one more
call. Small parts run side by side and are easier to get right; each repeats the instructions, and the join gets
longer. After "On the Design and Analysis of LLM-based Algorithms" (parallel decomposition): latency, cost and error
are functions of the size of the parts. What comes out is the best under the model that the caller states; whether
that model is true of a language model is for a measurement to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from ..errors import UsageError
from ..estimates import PACE, READING
from ..messages import ModelInfo


@dataclass(frozen=True, slots=True)
class Cut:
    """A task that can be cut."""

    error: Callable[[int], float]
    """Probability that the answer to a part of so many tokens is wrong, 0 to 1."""
    instructions: int = 100
    """Prompt tokens that every call repeats."""
    answer: int = 20
    """Tokens of the answer to a part; the join reads them all and writes as many."""
    right: Literal["all", "one"] = "all"
    """The whole is right when all parts are (a count), or when the one part is that has what is sought."""


@dataclass(frozen=True, slots=True)
class Chunking:
    """What cutting into ``parts`` comes to."""

    parts: int
    size: int
    """Tokens of the largest part; the others have one less at most."""
    seconds: float
    """With the given number of calls at once, the join included."""
    tokens: int
    """Read and written by all calls."""
    cost: Decimal | None
    """Dollars; None where the model's price is not known."""
    error: float
    """Probability that the whole is wrong, were the join faultless."""


def analyse(n: int, parts: int, cut: Cut, model: ModelInfo, *, concurrency: int = 1) -> Chunking:
    """Return what it takes to cut ``n`` tokens into ``parts``: parts that are equal up to one token."""
    size = -(-n // parts)
    pace = model.seconds_per_token or PACE
    joins = parts > 1
    each = pace * ((cut.instructions + size) / READING + cut.answer)
    join = pace * ((cut.instructions + parts * cut.answer) / READING + cut.answer) if joins else 0.0
    calls = parts + joins
    prompt = calls * cut.instructions + n + (parts * cut.answer if joins else 0)
    written = calls * cut.answer
    cost = None
    if model.input_price is not None and model.output_price is not None:
        cost = prompt * model.input_price + written * model.output_price
    return Chunking(
        parts=parts,
        size=size,
        seconds=-(-parts // concurrency) * each + join,
        tokens=prompt + written,
        cost=cost,
        error=_error(n, parts, cut),
    )


def choose_chunk(
    n: int,
    cut: Cut,
    model: ModelInfo,
    *,
    concurrency: int = 1,
    least: Literal["seconds", "cost"] = "seconds",
    max_error: float = 1.0,
) -> Chunking:
    """Return the chunking with the least seconds or cost whose error is at most ``max_error``; of equals, fewer parts.

    Exact under the model, in about the square root of ``n`` steps: among all numbers of parts with the same largest
    part, seconds and cost grow with the number and the error is monotone in it. Raises UsageError when no cut fits
    the model's context or reaches ``max_error``, and for ``least="cost"`` with a model whose price is not known.
    """
    if n < 1:
        raise UsageError(f"{n!r} tokens cannot be cut; give 1 or more.")
    if least == "cost" and (model.input_price is None or model.output_price is None):
        raise UsageError(f"the price of {model.name!r} is not known; choose by least='seconds'.")
    best: tuple[float | Decimal, int] | None = None
    lowest = 1.0
    for first, last in _blocks(n, cut, model):
        lowest = min(lowest, _error(n, first, cut), _error(n, last, cut))
        parts = _first_within(n, first, last, cut, max_error)
        if parts is None:
            continue
        found = analyse(n, parts, cut, model, concurrency=concurrency)
        worth: float | Decimal = found.seconds if least == "seconds" or found.cost is None else found.cost
        best = min(best, (worth, parts)) if best is not None else (worth, parts)
    if best is None:
        raise UsageError(
            f"no cut of {n} tokens has an error of {max_error!r} or less within the {model.context} tokens of "
            f"{model.name!r} (the least is {lowest:.3g}); allow more, or use another model."
        )
    return analyse(n, best[1], cut, model, concurrency=concurrency)


def _blocks(n: int, cut: Cut, model: ModelInfo) -> Iterator[tuple[int, int]]:
    """First and last number of parts for every size of the largest part, of those that fit the context."""
    room = model.context - cut.instructions - cut.answer
    most = max(1, (room // cut.answer) if cut.answer else n)
    parts = max(1, -(-n // room)) if room > 0 else n + 1
    while parts <= min(n, most):
        size = -(-n // parts)
        last = n if size == 1 else -(-n // (size - 1)) - 1
        yield parts, min(last, most)
        parts = last + 1


def _first_within(n: int, first: int, last: int, cut: Cut, max_error: float) -> int | None:
    """The least number of parts of a block with an error of at most ``max_error``: the error is monotone there."""
    if _error(n, first, cut) <= max_error:
        return first
    if _error(n, last, cut) > max_error:
        return None
    low, high = first, last
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _error(n, middle, cut) <= max_error else (middle, high)
    return high


def _error(n: int, parts: int, cut: Cut) -> float:
    size = -(-n // parts)
    large = n - parts * (size - 1)
    wrong, less = cut.error(size), cut.error(size - 1) if large < parts else 0.0
    if cut.right == "one":
        return (large * size * wrong + (parts - large) * (size - 1) * less) / n
    return 1.0 - (1.0 - wrong) ** large * (1.0 - less) ** (parts - large)
