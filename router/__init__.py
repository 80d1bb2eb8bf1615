"""Decides which model answers a call, and never lets a run cross its limits.

Every model that could be asked stands in one catalogue; a choice is made by role, size and price and
says why; the worst case of a call is reserved before it is made and settled after; a model that does
not answer is replaced by the next one.
"""

from typing import TYPE_CHECKING

from ..plugins import lazy

if TYPE_CHECKING:
    from .budget import budgeted, rule
    from .catalogue import Catalogue
    from .http import HttpModel
    from .remote import LitellmModel
    from .source import RemoteSource

__all__ = ["Catalogue", "HttpModel", "LitellmModel", "RemoteSource", "budgeted", "rule"]

__getattr__ = lazy(
    __name__,
    {
        "Catalogue": ".catalogue",
        "HttpModel": ".http",
        "LitellmModel": ".remote",
        "RemoteSource": ".source",
        "budgeted": ".budget",
        "rule": ".budget",
    },
)
