"""Suites that reproduce every claim: cases with answers that can be checked, and a verdict on each run.

A case is judged by what it answered, wrote or refused, never by the plan it took.
"""

from typing import TYPE_CHECKING

from ..plugins import lazy

if TYPE_CHECKING:
    from .cases import Case, Check, problems, read_cases

__all__ = ["Case", "Check", "problems", "read_cases"]

__getattr__ = lazy(__name__, {"Case": ".cases", "Check": ".cases", "problems": ".cases", "read_cases": ".cases"})
