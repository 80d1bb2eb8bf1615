"""How finely to cut a task whose input is too long, or too slow, for one model call.

A task over ``n`` tokens is cut into equal parts, each asked for by itself, and the answers are joined by one more
call or by code. Small parts run side by side and are easier to get right; each repeats the instructions, and the join
gets longer. After "On the Design and Analysis of LLM-based Algorithms" (parallel decomposition): latency, cost and
error are functions of the size of the parts. What comes out is the best under the model that the caller states;
``shuntyard bench granularity`` measures whether that model is true of a language model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from ..errors import UsageError
from ..estimates import PACE, READING
from ..messages import ModelInfo
from ..protocols import Pacing


@dataclass(frozen=True, slots=True)
class Cut:
    """A task that can be cut."""

    error: Callable[[int], float]
    """How wrong the answer to a part of so many tokens is, 0 to 1: the probability that it is, or the share that is."""
    instructions: int = 100
    """Prompt tokens that every call repeats."""
    answer: int | Callable[[int], int] = 20
    """Tokens of the answer to a part of so many tokens. A join reads them all and writes an answer to the whole."""
    right: Literal["all", "one"] = "all"
    """The whole is right when all parts are (a count), or when the one part is that has what is sought. ``one`` also
    where the error is a share, which is for the whole the mean of its parts'."""
    join: Literal["model", "code"] = "model"
    """Who joins the answers: one more call, or code, which takes no time and no tokens (a sum, a merge)."""


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
    """Of the whole, were the join faultless."""

    @property
    def seconds_per_right(self) -> float:
        """Seconds for a right answer when wrong ones are asked for again; infinite where none is right."""
        return self.seconds / (1.0 - self.error) if self.error < 1.0 else math.inf


def paced(model: ModelInfo, pacing: Pacing, *, prompt: int = 512, completion: int = 64) -> ModelInfo:
    """Return ``model`` with the speeds that ``pacing`` tells of a call of about that many tokens, 2 or more each.

    As it is where ``pacing`` does not know the model.
    """
    first = pacing.seconds(model.name, prompt=prompt, completion=1)
    whole = pacing.seconds(model.name, prompt=prompt, completion=completion)
    if first is None or whole is None:
        return model
    writing = (whole - first) / (completion - 1)
    return model.model_copy(update={"seconds_per_token": writing, "seconds_per_prompt_token": first / prompt})


def analyse(n: int, parts: int, cut: Cut, model: ModelInfo, *, concurrency: int = 1) -> Chunking:
    """Return what it takes to cut ``n`` tokens into ``parts``: parts that are equal up to one token."""
    size = -(-n // parts)
    pace = model.seconds_per_token or PACE
    reading = model.seconds_per_prompt_token or pace / READING
    answer = _answer(cut, size)
    joins = parts > 1 and cut.join == "model"
    joined = _answer(cut, n) if joins else 0
    each = reading * (cut.instructions + size) + pace * answer
    join = reading * (cut.instructions + parts * answer) + pace * joined if joins else 0.0
    prompt = (parts + joins) * cut.instructions + n + (parts * answer if joins else 0)
    written = parts * answer + joined
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
    least: Literal["seconds", "cost", "seconds_per_right"] = "seconds",
    max_error: float = 1.0,
    sizes: Sequence[int] = (),
) -> Chunking:
    """Return the chunking with the least seconds or cost whose error is at most ``max_error``; of equals, fewer parts.

    ``sizes`` are the sizes of the largest part to choose from, by default all. Exact under the model, in about the
    square root of ``n`` steps: among all numbers of parts with the same largest part, seconds and cost grow with the
    number and the error is monotone in it. ``seconds_per_right`` weighs one against the other, and takes ``n``
    steps. Raises UsageError when no cut fits the model's context or reaches ``max_error``, and for ``least="cost"``
    with a model whose price is not known.
    """
    if n < 1:
        raise UsageError(f"{n!r} tokens cannot be cut; give 1 or more.")
    if least == "cost" and (model.input_price is None or model.output_price is None):
        raise UsageError(f"the price of {model.name!r} is not known; choose by least='seconds'.")
    best: Chunking | None = None
    lowest = 1.0
    for first, last in _blocks(n, cut, model):
        if sizes and -(-n // first) not in sizes:
            continue
        lowest = min(lowest, _error(n, first, cut), _error(n, last, cut))
        for parts in _candidates(n, first, last, cut, max_error, every=least == "seconds_per_right"):
            found = analyse(n, parts, cut, model, concurrency=concurrency)
            if best is None or (getattr(found, least), parts) < (getattr(best, least), best.parts):
                best = found
    if best is None:
        raise UsageError(
            f"no cut of {n} tokens has an error of {max_error!r} or less within the {model.context} tokens of "
            f"{model.name!r} (the least is {lowest:.3g}); allow more, or use another model."
        )
    return best


def _answer(cut: Cut, size: int) -> int:
    return cut.answer if isinstance(cut.answer, int) else cut.answer(size)


def _blocks(n: int, cut: Cut, model: ModelInfo) -> Iterator[tuple[int, int]]:
    """First and last number of parts for every size of the largest part, of those that fit the context."""
    room = model.context - cut.instructions
    parts = 1
    while parts <= n:
        size = -(-n // parts)
        last = n if size == 1 else -(-n // (size - 1)) - 1
        answer = _answer(cut, size)
        if size + answer <= room:
            # A join that does not fit leaves the whole in one part.
            most = (room - _answer(cut, n)) // answer if cut.join == "model" and answer else n
            if parts <= max(1, most):
                yield parts, min(last, max(1, most))
        parts = last + 1


def _candidates(n: int, first: int, last: int, cut: Cut, max_error: float, *, every: bool) -> Sequence[int]:
    """Numbers of parts of a block that may be the best: all within ``max_error``, or the least of them."""
    least = _first_within(n, first, last, cut, max_error)
    if least is None:
        return ()
    if not every:
        return (least,)
    return [parts for parts in range(first, last + 1) if _error(n, parts, cut) <= max_error]


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
