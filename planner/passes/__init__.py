"""Passes over a closed plan: each takes a plan and returns one that gives the same results with fewer, earlier calls.

``optimise`` runs them until none finds anything and tells what each did. No pass calls a tool or a model.
"""

from typing import TYPE_CHECKING

from ...plugins import lazy

if TYPE_CHECKING:
    from .base import Change, Pass, PassTrace, Scope, Trace
    from .run import Optimised, optimise

__all__ = ["Change", "Optimised", "Pass", "PassTrace", "Scope", "Trace", "optimise"]

__getattr__ = lazy(
    __name__,
    {
        "Change": ".base",
        "Optimised": ".run",
        "Pass": ".base",
        "PassTrace": ".base",
        "Scope": ".base",
        "Trace": ".base",
        "optimise": ".run",
    },
)
