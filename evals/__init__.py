"""Suites that reproduce every claim: cases with answers that can be checked, and a verdict on each output.

A case is judged by what was answered, called, written or refused, never by who said so.
"""

from typing import TYPE_CHECKING

from ..plugins import lazy

if TYPE_CHECKING:
    from .case import Case, Output, Score
    from .data import Data, DataSource
    from .suite import Means, SolverInfo, Suite

__all__ = ["Case", "Data", "DataSource", "Means", "Output", "Score", "SolverInfo", "Suite"]

__getattr__ = lazy(
    __name__,
    {
        "Case": ".case",
        "Data": ".data",
        "DataSource": ".data",
        "Means": ".suite",
        "Output": ".case",
        "Score": ".case",
        "SolverInfo": ".suite",
        "Suite": ".suite",
    },
)
