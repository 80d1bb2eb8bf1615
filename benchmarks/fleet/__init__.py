"""What several engines of one model are worth: tails and priorities in virtual time, moves and hand-overs on real ones.

Virtual time has no noise, so its figures are the same on every machine; of real engines tokens are counted, and CPU
seconds of the engines' processes where a figure is a time.
"""

from typing import TYPE_CHECKING

from ...plugins import lazy

if TYPE_CHECKING:
    from .measure import run
    from .shown import describe

__all__ = ["describe", "run"]

__getattr__ = lazy(__name__, {"describe": ".shown", "run": ".measure"})
