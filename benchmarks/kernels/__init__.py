"""What an engine compiled for this machine gains: CPU of prompts, of one answer and of eight at once, by turns.

Every figure is a ratio within one run on the same model file; seconds are CPU seconds of the engine's process.
"""

from typing import TYPE_CHECKING

from ...plugins import lazy

if TYPE_CHECKING:
    from .measure import run
    from .shown import describe

__all__ = ["describe", "run"]

__getattr__ = lazy(__name__, {"describe": ".shown", "run": ".measure"})
