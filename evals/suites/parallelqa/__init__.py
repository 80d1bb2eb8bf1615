"""ParallelQA of LLMCompiler without the web: our own labels judge plans, and a recorded search answers questions.

A plan is judged by running it over made-up values, an answer by the data set's own rule; the labels, executed
over the recorded facts, are the oracle that both are checked against.
"""

from typing import TYPE_CHECKING

from ....plugins import lazy

if TYPE_CHECKING:
    from .suite import SUITE

__all__ = ["SUITE"]

__getattr__ = lazy(__name__, {"SUITE": ".suite"})
