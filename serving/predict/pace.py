"""The constants of one host: learned from what calls took, never negative, and never surer than they may be.

Each constant is a usual value times a factor, and all factors are one Gaussian in their logarithms: what is measured of
one tensor type moves, through the shared factors, what is expected of the others. An observation corrects them as an
extended Kalman filter does (recursive least squares with a prior); one that is far off everything expected is
shortened, after Huber, so that a stall of the machine does not count as knowledge.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from .work import Part

USUAL = {
    "flops:Q4_1": 0.020,
    "flops:Q5_0": 0.016,
    "flops:Q8_0": 0.012,
    "flops:Q4_K": 0.008,
    "flops:Q6_K": 0.012,
    "few:Q4_1": 0.05,
    "few:Q5_0": 0.04,
    "few:Q8_0": 0.03,
    "few:Q4_K": 0.03,
    "few:Q6_K": 0.03,
    "bytes:Q4_1": 0.06,
    "bytes:Q5_0": 0.05,
    "bytes:Q8_0": 0.05,
    "bytes:Q4_K": 0.05,
    "bytes:Q6_K": 0.05,
    "attention": 0.03,
    "kv": 0.03,
    "activations": 0.1,
    "layer": 5e-5,
    "sampling": 0.01,
    "call": 3e-3,
}
"""Processor seconds for a GFLOP, a GB, a layer of a pass, a million entries of a vocabulary, and a call."""
OTHER = {"flops": 0.015, "few": 0.035, "bytes": 0.05}
"""For tensor types that are not named above."""
SHARED, OWN = 0.7, 0.4
"""Standard deviations of the logarithms of shared and own factors before anything was measured."""
BYTES = 0.3
"""As ``SHARED``, of moving bytes: how fast memory is varies less among machines than how fast they compute."""
WALL = {"wall:prefill": 0.7, "wall:decode": 0.7}
"""Standard deviations of the logarithms of wall seconds to processor seconds."""
DRIFT = {"wall:prefill": 0.05, "wall:decode": 0.05}
"""How far these wander between two calls: other programs come and go. Everything else is the host's nature."""
CLIP = 2.5
"""Standard deviations from which on an observation is shortened."""
_ROUNDS = 4


class Pace:
    """The constants of a host whose engine has ``threads``; starts from usual ones."""

    def __init__(self, *, threads: int = 1) -> None:
        """Know nothing but what is usual."""
        self.threads = threads
        self.mean: dict[str, float] = {}
        self.covariance: dict[tuple[str, str], float] = {}
        self.seen = 0
        """Observations."""

    def value(self, constant: str) -> float:
        """What one unit of ``constant`` costs: processor seconds, or for ``wall:…`` a factor to wall seconds."""
        if constant in WALL:
            return math.exp(self.mean.get(constant, 0.0)) / self.threads
        usual = USUAL.get(constant, OTHER.get(constant.partition(":")[0], 0.0))
        return usual * math.exp(sum(self.mean.get(factor, 0.0) for factor in factors(constant)))

    def seconds(self, parts: Iterable[Part]) -> float:
        """Processor seconds of ``parts``."""
        return sum(part.amount * self.value(part.constant) for part in parts)

    def spread(self, parts: Sequence[Part], wall: str = "") -> float:
        """Standard deviation of the logarithm of what is predicted: about the relative error to expect."""
        return math.sqrt(self._variance(self._slopes(parts, wall)))

    def observe(self, parts: Sequence[Part], seconds: float, *, noise: float = 0.05, wall: str = "") -> float:
        """Learn that ``parts`` took ``seconds``: of the processor, or with ``wall`` (``wall:decode``) of the clock.

        Returns the error that the prediction had, as the logarithm of measured to predicted. ``noise`` is the relative
        error of the measurement.
        """
        for factor, drift in DRIFT.items():
            if wall == factor:
                self.covariance[factor, factor] = self._cov(factor, factor) + drift**2
        start = dict(self.mean)
        first = math.log(seconds / self._predicted(parts, wall))
        gains: dict[str, float] = {}
        slopes: dict[str, float] = {}
        # The sum is linear in the constants, not in their logarithms: go to the point where both agree.
        for _ in range(_ROUNDS):
            slopes = self._slopes(parts, wall)
            moved = sum(slope * (self.mean.get(key, 0.0) - start.get(key, 0.0)) for key, slope in slopes.items())
            off = math.log(seconds / self._predicted(parts, wall)) + moved
            variance = self._variance(slopes) + noise**2
            most = CLIP * math.sqrt(variance)
            columns = self._columns(slopes)
            gains = {key: column / variance for key, column in columns.items()}
            self.mean = dict(start)
            for key, gain in gains.items():
                self.mean[key] = start.get(key, 0.0) + gain * max(-most, min(most, off))
        variance = self._variance(slopes) + noise**2
        for one in gains:
            for other in gains:
                self.covariance[one, other] = self._cov(one, other) - gains[one] * gains[other] * variance
        self.seen += 1
        return first

    def compare(self, wall: str, ratio: float, *, noise: float) -> None:
        """Learn that the clock showed ``ratio`` times the processor's seconds: a matter of other programs alone."""
        self.observe((), ratio, noise=noise, wall=wall)

    def dumped(self) -> dict[str, object]:
        """As JSON."""
        known = sorted(self.mean)
        rows = [[round(self._cov(one, other), 9) for other in known] for one in known]
        return {"threads": self.threads, "seen": self.seen, "mean": self.mean, "covariance": rows}

    @classmethod
    def read(cls, data: Mapping[str, object]) -> Pace:
        """Return what was ``dumped``. Raises KeyError, TypeError and ValueError for anything else."""
        mean, rows = data["mean"], data["covariance"]
        if not isinstance(mean, dict) or not isinstance(rows, list) or not isinstance(data["threads"], int):
            raise TypeError(data)
        pace = cls(threads=data["threads"])
        pace.seen = int(str(data["seen"]))
        pace.mean = {str(key): float(value) for key, value in mean.items()}
        known = sorted(pace.mean)
        for one, row in zip(known, rows, strict=True):
            for other, value in zip(known, row, strict=True):
                pace.covariance[one, other] = float(value)
        return pace

    def _predicted(self, parts: Sequence[Part], wall: str) -> float:
        return (self.seconds(parts) if parts else 1.0) * (self.value(wall) if wall else 1.0)

    def _slopes(self, parts: Sequence[Part], wall: str) -> dict[str, float]:
        """What a change of each factor's logarithm changes of the prediction's: its share of the sum."""
        total = self.seconds(parts)
        found: dict[str, float] = {wall: 1.0} if wall else {}
        for part in parts:
            share = part.amount * self.value(part.constant) / total
            for factor in factors(part.constant):
                found[factor] = found.get(factor, 0.0) + share
        return found

    def _cov(self, one: str, other: str) -> float:
        known = self.covariance.get((one, other))
        if known is not None:
            return known
        if one != other:
            return 0.0
        if one.partition(":")[0] == "bytes":
            return BYTES**2
        return (WALL.get(one) or (SHARED if one in ("host", *OTHER) else OWN)) ** 2

    def _columns(self, slopes: Mapping[str, float]) -> dict[str, float]:
        keys = {*slopes, *self.mean}
        return {key: sum(self._cov(key, other) * slope for other, slope in slopes.items()) for key in keys}

    def _variance(self, slopes: Mapping[str, float]) -> float:
        columns = self._columns(slopes)
        return max(0.0, sum(columns[key] * slope for key, slope in slopes.items()))


def factors(constant: str) -> tuple[str, ...]:
    """The factors that a constant is multiplied by: the host's, those of its kind, and its own."""
    kind, colon, _ = constant.partition(":")
    return ("host", kind, constant) if colon else ("host", constant)
