"""The loop: read, choose, read again. Every method yields steps, and one place decides when an answer is over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ...errors import ContextTooLong
from .abort import AbortRule
from .binding import Llama, Row


@dataclass(frozen=True, slots=True)
class Want:
    """What is wanted of one answer."""

    limit: int = 128
    """Most tokens."""
    temperature: float = 0.0
    """0 takes the most likely token."""
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One chosen token and the logits that it was chosen from."""

    token: int
    row: Row

    @property
    def log(self) -> float:
        """Its log-probability at temperature 1."""
        return float(log_softmax(self.row)[self.token])

    @property
    def lead(self) -> float:
        """How far the likeliest token's logit is above the next one's; next to nothing is a tie."""
        second, first = np.partition(self.row, -2)[-2:]
        return float(first - second)


@dataclass(slots=True)
class Report:
    """Counts of one answer; every token and pass is of the target model unless it says otherwise."""

    prompt: int = 0
    cached: int = 0
    """Of the prompt, held from the answer before."""
    completion: int = 0
    passes: int = 0
    """After the prompt."""
    finish: str = "length"
    why: str = ""
    """What the abort rule saw."""
    drafted: int = 0
    """Tokens that were computed in the hope that they follow."""
    accepted: int = 0
    large_tokens: int = 0
    """Chosen from the large model's logits."""
    large_prompt: int = 0
    """Tokens of the prompt that the large model read too."""
    large_catch_up: int = 0
    """Tokens of the answer that the small model chose and the large one had to read."""
    small_catch_up: int = 0
    switches: int = 0

    @property
    def per_pass(self) -> float:
        """Tokens chosen, the one that ends the answer included, per pass; the prompt's last pass gave the first."""
        return (self.completion + (self.finish == "stop")) / (self.passes + 1)


class Method(Protocol):
    """A way to choose the tokens of an answer."""

    def steps(self, prompt: Sequence[int], want: Want, report: Report) -> Iterator[Step]:
        """Yield steps without end; the caller stops. Counts go to ``report`` before their step is yielded."""


class Sampler:
    """Chooses tokens; one per answer, since it owns the random numbers."""

    def __init__(self, want: Want) -> None:
        """Nothing is drawn yet."""
        self._want = want
        self._random = np.random.default_rng(want.seed)

    def __call__(self, row: Row) -> int:
        """Return a token for the logits ``row``."""
        want = self._want
        if want.temperature <= 0:
            return int(row.argmax())
        chances = np.exp(log_softmax(row / want.temperature))
        order = np.argsort(-chances)
        if want.top_p < 1:
            order = order[: int(np.searchsorted(np.cumsum(chances[order]), want.top_p)) + 1]
        kept = np.cumsum(chances[order])
        return int(order[min(int(np.searchsorted(kept, self._random.random() * kept[-1])), len(order) - 1)])


def log_softmax(row: Row) -> Row:
    """Return log-probabilities."""
    moved = row - row.max()
    found: Row = moved - np.log(np.exp(moved).sum())
    return found


def entropy(row: Row) -> float:
    """Return the entropy of the next token, in nats."""
    logs = log_softmax(row)
    return float(-(np.exp(logs) * logs).sum())


def divergence(true: Row, found: Row) -> float:
    """Return KL(true || found) of two rows of logits, in nats."""
    logs = log_softmax(true.astype(np.float64))
    return float((np.exp(logs) * (logs - log_softmax(found.astype(np.float64)))).sum())


def shared_start(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many leading tokens are the same."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (mine, theirs) in pairs if mine != theirs), min(len(one), len(other)))


class Cursor:
    """One sequence and what it holds; reads only what is new."""

    def __init__(self, llama: Llama, sequence: int = 0) -> None:
        """The sequence holds nothing yet."""
        self.llama = llama
        self.sequence = sequence
        self.held: list[int] = []
        self.read = 0
        """Tokens computed in all."""

    def known(self, tokens: Sequence[int]) -> int:
        """Return how many of ``tokens`` are held and need not be read; the last one always is, for its logits."""
        return shared_start(self.held, tokens[:-1])

    def goto(self, tokens: Sequence[int]) -> Row:
        """Hold exactly ``tokens`` and return the logits after them. Raises ContextTooLong."""
        same = self.known(tokens)
        self.llama.cut(self.sequence, same)
        self.held[same:] = []
        row = self.llama.feed(tokens[same:], same, sequence=self.sequence)
        self.held.extend(tokens[same:])
        self.read += len(tokens) - same
        return row


class Plain:
    """One token per pass: what the server's engine does."""

    def __init__(self, cursor: Cursor) -> None:
        """Share ``cursor`` with other methods of the same model."""
        self._cursor = cursor

    def steps(self, prompt: Sequence[int], want: Want, report: Report) -> Iterator[Step]:
        """As Method."""
        sampler, tokens = Sampler(want), list(prompt)
        report.cached = self._cursor.known(tokens)
        row = self._cursor.goto(tokens)
        while True:
            step = Step(sampler(row), row)
            yield step
            tokens.append(step.token)
            row = self._cursor.goto(tokens)
            report.passes += 1


def generate(
    method: Method, prompt: Sequence[int], want: Want, report: Report, *, llama: Llama, rule: AbortRule | None = None
) -> Iterator[Step]:
    """Yield the steps of an answer: up to the model's end, ``want.limit``, or what ``rule`` takes for hopeless.

    Raises ContextTooLong before anything is read when prompt and answer do not fit.
    """
    if len(prompt) + want.limit > llama.load.context:
        raise ContextTooLong(
            f"the prompt of {len(prompt)} tokens and max_tokens={want.limit} do not fit the context of "
            f"{llama.load.context} tokens; shorten the prompt or raise context."
        )
    report.prompt = len(prompt)
    watch = rule.watch() if rule is not None else None
    for step in method.steps(prompt, want, report):
        if llama.ends(step.token):
            report.finish = "stop"
            return
        report.completion += 1
        yield step
        if watch is not None:
            report.why = watch.see(step.token, step.log)
            if report.why:
                report.finish = "abort"
                return
        if report.completion >= want.limit:
            return
