"""Where the bodies of calls run; every executor keeps the same promise, so a plan moves by one setting."""

from typing import TYPE_CHECKING

from ...plugins import lazy

if TYPE_CHECKING:
    from .inprocess import InProcess

__all__ = ["InProcess"]

__getattr__ = lazy(__name__, {"InProcess": ".inprocess"})
