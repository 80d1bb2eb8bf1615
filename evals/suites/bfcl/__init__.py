"""BFCL v4, single turn: does a model call the right functions with the right arguments, and none when none fits?

Calls are compared with the published answers by the published rules, written anew (``match.py``); nothing is
run and no model judges.
"""

from typing import TYPE_CHECKING

from ....plugins import lazy

if TYPE_CHECKING:
    from .suite import SUITE

__all__ = ["SUITE"]

__getattr__ = lazy(__name__, {"SUITE": ".suite"})
