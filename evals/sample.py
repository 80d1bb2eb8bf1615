"""Which cases of a suite run: filtered, then drawn evenly from the categories, the same ones for ever."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from ..errors import DataInvalid, UnknownName, UsageError
from .case import Case
from .log import Selection


class Picked(NamedTuple):
    """A case that was drawn; the smaller its rank, the earlier."""

    rank: str
    case: Case
    digest: str


class Drawn(NamedTuple):
    """The cases to run, and the digest of every case that the suite has."""

    picked: list[Picked]
    known: frozenset[str]


def draw(cases: Iterable[Case], selection: Selection) -> Drawn:
    """Return the cases that ``selection`` asks for, mixed: those of one category do not follow one another.

    Each category gives as many as any other, as far as it has them. With equal seeds a smaller sample is part
    of a larger one. Only what may be drawn is kept in memory. Raises UnknownName for a category (a glob) that
    no case has, UsageError when no case fits, DataInvalid for an id that two cases have.
    """
    bound = min(filter(None, (selection.per_category, selection.limit)), default=0)
    buckets: dict[str, list[Picked]] = {}
    ids: set[str] = set()
    known: set[str] = set()
    seen: set[str] = set()
    for case in cases:
        if case.id in ids:
            raise DataInvalid(f"two cases have the id {case.id!r}; give each its own.")
        ids.add(case.id)
        seen.add(case.category)
        picked = _rank(case, selection.seed)
        known.add(picked.digest)
        if not _fits(case, selection):
            continue
        bucket = buckets.setdefault(case.category, [])
        bucket.append(picked)
        if bound and len(bucket) > 2 * bound:
            bucket.sort(key=lambda picked: picked.rank)
            del bucket[bound:]
    _check(selection, seen, buckets)
    return Drawn(_chosen(list(buckets.values()), selection, bound), frozenset(known))


def _chosen(buckets: Sequence[list[Picked]], selection: Selection, bound: int) -> list[Picked]:
    turns = [
        (turn, picked.rank, picked)
        for bucket in buckets
        for turn, picked in enumerate(sorted(bucket, key=lambda picked: picked.rank)[: bound or None])
    ]
    if selection.limit:
        turns = sorted(turns, key=lambda item: item[:2])[: selection.limit]
    # What was drawn has small ranks where much was left out; their last digits know nothing of that.
    return sorted((picked for _, _, picked in turns), key=lambda picked: picked.rank[::-1])


def _fits(case: Case, selection: Selection) -> bool:
    if selection.split not in ("all", case.split):
        return False
    return not selection.categories or any(fnmatchcase(case.category, glob) for glob in selection.categories)


def _rank(case: Case, seed: int) -> Picked:
    digest = case.digest
    return Picked(hashlib.sha256(f"{seed}:{digest}".encode()).hexdigest(), case, digest)


def _check(selection: Selection, seen: set[str], buckets: dict[str, list[Picked]]) -> None:
    for glob in selection.categories:
        if not any(fnmatchcase(category, glob) for category in seen):
            raise UnknownName("category", glob, sorted(seen))
    if not buckets:
        raise UsageError(f"no case fits --split {selection.split}; the suite has {len(seen)} categories; ask for all.")
