"""Two runs side by side, on the cases that both have: each figure, the difference, and which cases it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import UsageError
from ..messages import Frozen
from .figures import ALL, cases, values
from .log import RunLog, RunRow
from .stats import Difference, Interval, interval, paired


class Flip(Frozen):
    """A case that came out differently."""

    id: str
    category: str
    first: float
    second: float


class Compared(Frozen):
    """One category of both runs, or all of them (category ``""``)."""

    category: str
    first: Interval
    second: Interval
    difference: Difference
    """Second minus first."""


class Comparison(Frozen):
    """What changed from the first run to the second."""

    first: str
    """Id of the run."""
    second: str
    first_title: str
    second_title: str
    rows: tuple[Compared, ...]
    flips: tuple[Flip, ...]
    """Largest change first; of equal ones those for the worse."""
    only_first: int
    """Cases that the other run does not have; they are left out."""
    only_second: int


def compare(first: RunLog, second: RunLog, *, seed: int = 0) -> Comparison:
    """Compare ``second`` with ``first``, pairing them case by case.

    A case that a run could not put to its model is left out. Raises UsageError for runs of different suites
    or versions of one, and for runs without a common case.
    """
    _same(first, second)
    one, other = _solved(first), _solved(second)
    common = [digest for digest in one if digest in other]
    if not common:
        raise UsageError(
            f"{first.header.run!r} and {second.header.run!r} have no case in common; run both on the same."
        )
    before, after = values(_rows(one, common)), values(_rows(other, common))
    category = {digest: one[digest][0].category for digest in common}
    flips = [
        Flip(id=one[digest][0].id, category=category[digest], first=before[digest], second=after[digest])
        for digest in common
        if before[digest] != after[digest]
    ]
    names = sorted(set(category.values()))
    shown = [*(names if len(names) > 1 else []), ALL]
    return Comparison(
        first=first.header.run,
        second=second.header.run,
        first_title=first.title,
        second_title=second.title,
        rows=tuple(_compared(name, before, after, category, seed) for name in shown),
        flips=tuple(sorted(flips, key=_weight)),
        only_first=len(one) - len(common),
        only_second=len(other) - len(common),
    )


def _weight(flip: Flip) -> tuple[float, float, str, str]:
    change = flip.second - flip.first
    return -abs(change), change, flip.category, flip.id


def _same(first: RunLog, second: RunLog) -> None:
    one, other = first.header, second.header
    if one.suite != other.suite:
        raise UsageError(
            f"{one.run!r} is of suite {one.suite!r}, {other.run!r} of {other.suite!r}; compare runs of one."
        )
    if one.version != other.version:
        raise UsageError(
            f"{one.run!r} and {other.run!r} are of versions {one.version} and {other.version} of suite {one.suite!r}, "
            "whose results do not compare; run the older one again."
        )


def _solved(log: RunLog) -> dict[str, list[RunRow]]:
    return cases(row for row in log.rows if not row.unsolved)


def _rows(found: Mapping[str, Sequence[RunRow]], digests: Sequence[str]) -> list[RunRow]:
    return [row for digest in digests for row in found[digest]]


def _compared(
    name: str, before: Mapping[str, float], after: Mapping[str, float], category: Mapping[str, str], seed: int
) -> Compared:
    chosen = {digest: each for digest, each in category.items() if name in (ALL, each)}
    strata = list(chosen.values())
    return Compared(
        category=name,
        first=interval([before[digest] for digest in chosen], strata=strata, seed=seed),
        second=interval([after[digest] for digest in chosen], strata=strata, seed=seed),
        difference=paired(
            {digest: before[digest] for digest in chosen},
            {digest: after[digest] for digest in chosen},
            strata=chosen,
            seed=seed,
        ),
    )
