"""What the rows of a run sum to: a figure with its interval per category and for all, and what it took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from ..messages import Frozen, Usage
from .log import NONE, RunRow
from .stats import Interval, interval, pass_at, quantiles

ALL = ""
"""Category of the figure over all cases."""


class Figure(Frozen):
    """One category of a run, or all of it (category ``""``)."""

    category: str
    cases: int
    rows: int
    """Cases times epochs."""
    mean: Interval
    """Of the scores, per case; over all cases the categories are strata."""
    passes: dict[int, Interval] = {}
    """pass@k, when cases were solved more than once."""
    parts: dict[str, float] = {}
    baselines: dict[str, float] = {}
    answered: float
    """Share of rows with something to judge."""
    errors: dict[str, int] = {}
    """Rows by error code, of solver and scorer."""
    usage: Usage
    """In all."""
    cost: Decimal | None
    """In all, dollars; None when any price is unknown."""
    seconds: float
    """Mean of a row."""
    latency: dict[str, float]
    """Quantiles of a row's seconds: p50, p90, p99."""


def figures(rows: Sequence[RunRow], *, seed: int = 0) -> list[Figure]:
    """Return one figure per category in order of the alphabet, then the one over all; empty without rows."""
    by_category: dict[str, list[RunRow]] = {}
    for row in rows:
        by_category.setdefault(row.category or NONE, []).append(row)
    several = [_figure(name, found, seed) for name, found in sorted(by_category.items()) if len(by_category) > 1]
    return [*several, _figure(ALL, rows, seed)] if rows else []


def values(rows: Iterable[RunRow]) -> dict[str, float]:
    """Return the mean score of each case over its epochs, by case digest."""
    return {digest: _mean([row.score.value for row in found]) for digest, found in cases(rows).items()}


def cases(rows: Iterable[RunRow]) -> dict[str, list[RunRow]]:
    """Return the rows of each case, by case digest."""
    found: dict[str, list[RunRow]] = {}
    for row in rows:
        found.setdefault(row.digest, []).append(row)
    return found


def failure(row: RunRow) -> str:
    """``code: message`` of what went wrong with a row; empty when nothing did."""
    return row.output.error or row.error


def _figure(category: str, rows: Sequence[RunRow], seed: int) -> Figure:
    found = cases(rows)
    strata = [several[0].category for several in found.values()]
    costs = [row.output.cost for row in rows]
    errors: dict[str, int] = {}
    for row in rows:
        if failure(row):
            code = failure(row).partition(":")[0]
            errors[code] = errors.get(code, 0) + 1
    return Figure(
        category=category,
        cases=len(found),
        rows=len(rows),
        mean=interval([_mean([row.score.value for row in each]) for each in found.values()], strata=strata, seed=seed),
        passes=_passes(found, strata, seed),
        parts=_means([row.score.parts for row in rows]),
        baselines=_means([row.baselines for row in rows]),
        answered=_mean([float(row.score.answered) for row in rows]),
        errors=errors,
        usage=sum((row.output.usage for row in rows), Usage()),
        cost=None if None in costs else sum((cost for cost in costs if cost is not None), Decimal(0)),
        seconds=_mean([row.output.seconds for row in rows]),
        latency=quantiles([row.output.seconds for row in rows]),
    )


def _passes(found: Mapping[str, Sequence[RunRow]], strata: Sequence[str], seed: int) -> dict[int, Interval]:
    """For k of 1, 2, 5, 10 ... up to the least number of epochs that a case has, and that number."""
    least = min(len(rows) for rows in found.values())
    wanted = sorted({k for scale in (1, 10, 100) for k in (scale, 2 * scale, 5 * scale) if k < least} | {least})
    told = {}
    for k in wanted if least > 1 else ():
        shares = [pass_at(k, tried=len(r), right=sum(x.score.value == 1 for x in r)) for r in found.values()]
        told[k] = interval(shares, strata=strata, seed=seed)
    return told


def _means(each: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for item in each for name in item)
    return {name: _mean([item[name] for item in each if name in item]) for name in names}


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)
