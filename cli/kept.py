"""What is kept of runs, opened for commands that read or prune it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ..memory.approvals import SqlApprovals
    from ..memory.compact import Compacted
    from ..memory.runs import Runs
    from ..settings import Settings


class Kept(NamedTuple):
    """Runs and questions of one database."""

    runs: Runs
    approvals: SqlApprovals
    compact: Callable[[Sequence[str]], Compacted]


@contextmanager
def opened(settings: Settings) -> Iterator[Kept]:
    """Open the database and close it again. Raises StoreError."""
    from ..memory.approvals import SqlApprovals
    from ..memory.compact import compact
    from ..memory.runs import Runs
    from ..memory.store import Store
    from ..planner.outcomes import summary
    from ..settings import home

    store = Store.open(home(settings))
    try:
        yield Kept(Runs(store, head=summary), SqlApprovals(store), partial(compact, store, head=summary))
    finally:
        store.close()


def id_of(run: str, settings: Settings) -> str:
    """Return the whole id of ``run``, as ``Runs.get`` finds it; asked before what takes seconds to import.

    Raises UnknownName, UsageError, StoreError.
    """
    with opened(settings) as kept:
        return kept.runs.get(run).run
