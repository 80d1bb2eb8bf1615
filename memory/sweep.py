"""Collects the files of values that no row names: of pruned runs, and of writers that were killed."""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

from . import tables
from .store import Store

_BATCH = 200
"""Files per transaction; other writers get their turn between two."""


class Swept(NamedTuple):
    """What a sweep removed."""

    blobs: int
    bytes: int
    """On disk."""


def sweep(store: Store) -> Swept:
    """Remove every blob that no row names. Safe beside writers; blocks them for moments.

    A file is judged and deleted in one transaction, and a writer looks after its file in the transaction
    that names it: so one of the two comes first and the other sees what it did.
    """
    count, freed = 0, store.blobs.sweep_halves()
    names = store.blobs.names()
    while batch := list(islice(names, _BATCH)):
        with store.write() as connection:
            named = set(connection.execute(tables.NAMED, {"digests": batch}).scalars())
            sizes = [store.blobs.remove(digest) for digest in batch if digest not in named]
        count += sum(size > 0 for size in sizes)
        freed += sum(sizes)
    return Swept(count, freed)
