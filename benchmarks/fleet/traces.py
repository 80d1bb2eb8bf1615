"""Requests as they come to a fleet: Poisson arrivals, prompts and answers with heavy tails."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ...serving.fleet.play import Asked

MOST = 1500
"""Tokens of the longest prompts and answers."""


def heavy(seed: int, *, requests: int, rate: float, urgent: float = 0.1) -> list[Asked]:
    """Return ``requests`` that come ``rate`` a second; a share ``urgent`` of them is urgent."""
    chance, now, found = random.Random(seed), 0.0, []
    for _ in range(requests):
        now += chance.expovariate(rate)
        prompt, answer = int(chance.paretovariate(1.1) * 60), int(chance.paretovariate(0.9) * 10)
        found.append(Asked(now, min(MOST, prompt), min(MOST, answer), urgent=chance.random() < urgent))
    return found


def p99(values: Sequence[float]) -> float:
    """Return the 99th percentile."""
    return sorted(values)[int(0.99 * len(values))]


def mean(values: Sequence[float]) -> float:
    """Return the mean; 0 of nothing."""
    return sum(values) / len(values) if values else 0.0
