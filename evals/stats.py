"""Figures with what chance could have made of them: bootstrap intervals, paired differences, pass@k, calibration.

Values are per case and between 0 and 1; several epochs of one case are averaged before they come here, so that
they stay together. Equal seeds give equal results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, prod
from typing import TYPE_CHECKING, Any

from ..messages import Frozen

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROUNDS = 4000
LEVEL = 0.95
_Z = 1.959964
_LEAST = 5
"""Cases that a stratum of its own needs."""
_AT_ONCE = 1 << 22
"""Numbers drawn at once; bounds the memory (32 MB)."""


class Interval(Frozen):
    """A mean over ``n`` cases and the bounds of its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


class Difference(Frozen):
    """How much the second of two runs is better on the ``n`` cases that both have."""

    value: float
    low: float
    high: float
    p: float
    """Chance of a difference this large if each case could as well have come out the other way round."""
    n: int
    better: int
    worse: int


class Bin(Frozen):
    """Outputs whose confidence lies in ``low`` < c <= ``high`` (the first bin has 0 too)."""

    low: float
    high: float
    n: int
    confidence: float
    """Mean of what the solver said."""
    value: float
    """Mean of what was right."""


class Calibration(Frozen):
    """Expected calibration error (0 is best) over ``n`` outputs, with the bins that are not empty."""

    ece: float
    n: int
    bins: tuple[Bin, ...]


def interval(values: Sequence[float], *, strata: Sequence[str] = (), seed: int = 0, rounds: int = ROUNDS) -> Interval:
    """Return the mean with its percentile bootstrap interval: cases are drawn again, within each of ``strata``.

    Strata of fewer than five cases are drawn from together: by itself a stratum of one would have no spread.
    Where no draw differs from another the bounds are those for cases not seen so far (Wilson's for none in n).
    ValueError without values.
    """
    low, high, value = _bounds(values, strata, seed=seed, rounds=rounds, least=0.0)
    return Interval(value=value, low=low, high=high, n=len(values))


def paired(
    first: Mapping[str, float],
    second: Mapping[str, float],
    *,
    strata: Mapping[str, str] | None = None,
    seed: int = 0,
    rounds: int = ROUNDS,
) -> Difference:
    """Return second minus first on the cases (by id) that both have: interval by paired bootstrap, p by sign flips.

    ValueError when they have none in common.
    """
    common = sorted(first.keys() & second.keys())
    values = [second[id] - first[id] for id in common]
    groups = [strata[id] for id in common] if strata else ()
    low, high, value = _bounds(values, groups, seed=seed, rounds=rounds, least=-1.0)
    return Difference(
        value=value,
        low=low,
        high=high,
        p=_flipped(values, seed=seed, rounds=rounds),
        n=len(values),
        better=sum(each > 0 for each in values),
        worse=sum(each < 0 for each in values),
    )


def pass_at(k: int, *, tried: int, right: int) -> float:
    """Return the unbiased estimate that one of ``k`` tries is right when ``right`` of ``tried`` were.

    Chen et al., "Evaluating Large Language Models Trained on Code". ValueError unless 1 <= k <= tried.
    """
    if not 1 <= k <= tried or not 0 <= right <= tried:
        raise ValueError(f"pass@{k} of {right} right in {tried} tries: k must lie between 1 and the number of tries.")
    wrong = tried - right
    return 1.0 if wrong < k else 1.0 - prod(1 - k / at for at in range(wrong + 1, tried + 1))


def calibration(confidences: Sequence[float], values: Sequence[float], *, bins: int = 10) -> Calibration:
    """Return the expected calibration error over equally wide bins. ValueError without outputs."""
    if not confidences or len(confidences) != len(values):
        raise ValueError(f"{len(confidences)} confidences and {len(values)} values: give one of each per output.")
    sorted_in: list[list[tuple[float, float]]] = [[] for _ in range(bins)]
    for confidence, value in zip(confidences, values, strict=True):
        sorted_in[max(ceil(round(confidence * bins, 9)) - 1, 0)].append((confidence, value))
    told = tuple(
        Bin(
            low=at / bins,
            high=(at + 1) / bins,
            n=len(pairs),
            confidence=sum(pair[0] for pair in pairs) / len(pairs),
            value=sum(pair[1] for pair in pairs) / len(pairs),
        )
        for at, pairs in enumerate(sorted_in)
        if pairs
    )
    ece = sum(each.n * abs(each.confidence - each.value) for each in told) / len(values)
    return Calibration(ece=ece, n=len(values), bins=told)


def quantiles(values: Sequence[float], at: Sequence[float] = (0.5, 0.9, 0.99)) -> dict[str, float]:
    """Return ``{"p50": ..., "p90": ..., "p99": ...}``, interpolated; empty without values."""
    import numpy as np

    if not values:
        return {}
    found = np.quantile(np.asarray(values, dtype=float), at)
    return {f"p{share * 100:g}": float(value) for share, value in zip(at, found, strict=True)}


def _bounds(
    values: Sequence[float], strata: Sequence[str], *, seed: int, rounds: int, least: float
) -> tuple[float, float, float]:
    import numpy as np

    if not values:
        raise ValueError("there are no cases to make a figure of.")
    value = float(np.mean(values))
    groups = _grouped(values, strata or [""] * len(values))
    if all(max(group) == min(group) for group in groups):
        unseen = _Z**2 / (len(values) + _Z**2)
        return value - unseen * (value - least), value + unseen * (1 - value), value
    means = _resampled([np.asarray(group) for group in groups], seed=seed, rounds=rounds)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high), value


def _grouped(values: Sequence[float], strata: Sequence[str]) -> list[list[float]]:
    """Values by stratum; the small strata are one, or join the smallest of the others."""
    groups: dict[str, list[float]] = {}
    for stratum, value in zip(strata, values, strict=True):
        groups.setdefault(stratum, []).append(value)
    large = [group for group in groups.values() if len(group) >= _LEAST]
    small = [value for group in groups.values() if len(group) < _LEAST for value in group]
    if large and len(small) < _LEAST:
        min(large, key=len).extend(small)
        return large
    return [*large, small] if small else large


def _resampled(groups: Sequence[NDArray[Any]], *, seed: int, rounds: int) -> NDArray[Any]:
    """Means over all groups, each round drawing every group's cases again."""
    import numpy as np

    chance = np.random.default_rng(seed)
    sums = np.zeros(rounds)
    for group in groups:
        step = max(1, _AT_ONCE // len(group))
        for begin in range(0, rounds, step):
            end = min(begin + step, rounds)
            sums[begin:end] += group[chance.integers(len(group), size=(end - begin, len(group)))].sum(axis=1)
    return sums / sum(len(group) for group in groups)


def _flipped(values: Sequence[float], *, seed: int, rounds: int) -> float:
    """Share of random sign changes that move the sum at least as far from 0; the observed one counts too."""
    import numpy as np

    chance = np.random.default_rng(seed)
    moved = np.abs(np.asarray([each for each in values if each]))
    far = abs(sum(values)) - 1e-9
    step = max(1, _AT_ONCE // max(len(moved), 1))
    count = 0
    for begin in range(0, rounds, step):
        signs = chance.integers(2, size=(min(step, rounds - begin), len(moved))) * 2 - 1
        count += int((np.abs(signs @ moved) >= far).sum())
    return (count + 1) / (rounds + 1)
