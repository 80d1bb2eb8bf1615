"""A search over settings in a given time, by successive halving; the default is kept unless it is beaten by turns.

Pure: measuring is a function that is handed in, and what it says it took is the only clock. The landscape of such
settings is irregular ("The Impact of Hyperparameters on Large Language Model Inference Performance"), so that no
setting is inferred from its neighbours: "Non-stochastic Best Arm Identification and Hyperparameter Optimization".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from statistics import median
from typing import Generic, TypeVar

S = TypeVar("S")

RUNGS = 3
"""Halvings; each doubles what a measurement does."""
ROUNDS = 5
"""Of the last comparison at most, each of which measures the winner and the default one after the other."""
LEAST = 3
"""Rounds for which time is kept; with fewer the default stays."""
MARGIN = 0.02
"""Share by which the winner must be better than the default: less is noise."""
PATIENCE = 0.25
"""Seconds that a running answer may wait for one batch of another's prompt, if the default lets it wait less."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one measurement found."""

    wall: float
    """Seconds of the work."""
    cpu: float
    """CPU seconds of the engine in it, which other programs on the machine move less."""
    took: float
    """Seconds that the measurement took in all, the start of an engine included."""
    gap: float = 0.0
    """Seconds of one batch of a prompt, for which running answers wait, where that is more than the default's."""

    @property
    def score(self) -> float:
        """What is made small: the geometric mean of what a person waits for and of what the machine pays."""
        return sqrt(max(self.wall, 1e-9) * max(self.cpu, 1e-9))


Measure = Callable[[S, int], Cost]
"""Measures a setting with an amount of work; one that does not run, or not in time, costs ``inf``."""


@dataclass(frozen=True, slots=True)
class Found(Generic[S]):
    """The outcome of a search."""

    best: S
    """The default where nothing beat it."""
    ratio: float
    """Score of ``best`` over that of the default, the median of the last comparison; 1 for the default."""
    tried: int
    took: float
    why: str


@dataclass(slots=True)
class _Search(Generic[S]):
    measure: Measure[S]
    seconds: float
    spent: float = 0.0
    tried: int = 0

    def take(self, setting: S, work: int) -> Cost:
        cost = self.measure(setting, work)
        self.spent += cost.took
        return cost


def search(default: S, candidates: Sequence[S], measure: Measure[S], *, seconds: float) -> Found[S]:
    """Return the best of ``candidates`` that ``seconds`` allow to find; earlier ones are tried with preference.

    The time is kept but for the measurement under way at its end. Raises what ``measure`` raises, and ValueError
    for a default that does not run.
    """
    state = _Search(measure, seconds)
    first = state.take(default, 1)
    if not isfinite(first.score):
        if state.spent >= seconds:
            why = f"{seconds:.0f} s are too few: an engine was started for {state.spent:.0f} s; the default is kept"
            return Found(default, 1.0, 0, state.spent, why)
        raise ValueError("the default does not run")
    last = 2 * LEAST * first.wall
    each = (2 - 2.0 ** (1 - RUNGS)) * max(0.0, first.took - first.wall) + RUNGS * first.wall
    room = int((seconds - state.spent - last) / max(each, 1e-9))
    if room < 1:
        why = f"{seconds:.0f} s are too few: one comparison takes {each + last:.0f} s; the default is kept"
        return Found(default, 1.0, 0, state.spent, why)
    best = _halve(state, list(candidates[:room]), until=seconds - last)
    if best is None:
        short = f"{seconds:.0f} s were over before a candidate was measured" if state.spent >= seconds - last else ""
        return Found(default, 1.0, state.tried, state.spent, f"{short or 'no candidate runs'}; the default is kept")
    ratio, rounds = _by_turns(state, default, best)
    if rounds >= LEAST and ratio <= 1 - MARGIN:
        why = f"better than the default in {rounds} rounds by turns: {ratio:.2f} of its cost"
        return Found(best, ratio, state.tried, state.spent, why)
    why = f"the best of {state.tried} has {ratio:.2f} of the default's cost in {rounds} rounds; the default is kept"
    return Found(default, 1.0, state.tried, state.spent, why)


def _halve(state: _Search[S], left: list[S], *, until: float) -> S | None:
    """Return the survivor; where the time ends early, the best of what the last full or half rung measured."""
    work = 1
    best: S | None = None
    for _ in range(RUNGS):
        scored: list[tuple[float, int]] = []
        for number, setting in enumerate(left):
            # The first rung ends early only once it has a best, or with the time itself.
            if state.spent >= until and (best is not None or scored or state.spent >= state.seconds):
                break
            cost = state.take(setting, work)
            state.tried += work == 1
            if isfinite(cost.score) and cost.gap <= PATIENCE:
                scored.append((cost.score, number))
        if not scored:
            return best
        scored.sort()
        best = left[scored[0][1]]
        left = [left[number] for _, number in scored[: max(1, len(scored) // 2)]]
        if len(left) == 1:
            return best
        work *= 2
    return best


def _by_turns(state: _Search[S], default: S, best: S) -> tuple[float, int]:
    ratios: list[float] = []
    longest = 0.0
    for turn in range(ROUNDS):
        begin = state.spent
        if begin + longest > state.seconds:
            break
        pair = {}
        # Who goes first changes, so that a machine that grows slower favours neither.
        for setting in (default, best) if turn % 2 == 0 else (best, default):
            pair[setting is best] = state.take(setting, 1)
        if not all(isfinite(cost.score) for cost in pair.values()):
            break
        longest = max(longest, state.spent - begin)
        ratios.append(pair[True].score / pair[False].score)
    return (median(ratios), len(ratios)) if ratios else (1.0, 0)
