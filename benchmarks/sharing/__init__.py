"""What plan-aware serving saves: a prefix computed once, applications in order, states over a restart, short stalls.

Every figure is a ratio within one run on the same model file. Seconds are CPU seconds of the engine's process where
they can be, because other programs cannot change those; prompt tokens are the engine's own counts.
"""

from typing import TYPE_CHECKING

from ...plugins import lazy

if TYPE_CHECKING:
    from .measure import run
    from .shown import describe

__all__ = ["describe", "run"]

__getattr__ = lazy(__name__, {"describe": ".shown", "run": ".measure"})
