"""Memory keeps what happened, durably and findable again: journal, ledger, approvals, runs, trajectories in SQLite."""

from typing import TYPE_CHECKING

from ..plugins import lazy

if TYPE_CHECKING:
    from .approvals import Question, SqlApprovals
    from .compact import Compacted, compact
    from .index import ChromaIndex
    from .journal import SqlJournal, recorded
    from .ledger import SqlLedger
    from .recall import TrajectoryMemory
    from .runs import RunRow, Runs, StepRow
    from .store import Store

__all__ = [
    "ChromaIndex",
    "Compacted",
    "Question",
    "RunRow",
    "Runs",
    "SqlApprovals",
    "SqlJournal",
    "SqlLedger",
    "StepRow",
    "Store",
    "TrajectoryMemory",
    "compact",
    "recorded",
]

__getattr__ = lazy(
    __name__,
    {
        "ChromaIndex": ".index",
        "Compacted": ".compact",
        "Question": ".approvals",
        "RunRow": ".runs",
        "Runs": ".runs",
        "SqlApprovals": ".approvals",
        "SqlJournal": ".journal",
        "SqlLedger": ".ledger",
        "StepRow": ".runs",
        "Store": ".store",
        "TrajectoryMemory": ".recall",
        "compact": ".compact",
        "recorded": ".journal",
    },
)
