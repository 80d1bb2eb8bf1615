"""Predicted against measured: time to first token, time per token, order of candidates, on models it never measured.

Constants are learned from the micro-benchmarks of the models in ``fit``. Everything else is held out: other lengths and
batches of those models, whole models of ``heldout``, and models of other sizes that are made for this (random weights,
the tokenizer of the first model; speed does not depend on the values of weights).
"""

from typing import TYPE_CHECKING

from ...plugins import lazy

if TYPE_CHECKING:
    from .measure import run
    from .shown import describe

__all__ = ["describe", "run"]

__getattr__ = lazy(__name__, {"describe": ".shown", "run": ".measure"})
