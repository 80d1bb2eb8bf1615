"""Whether the best size of the parts of a task can be predicted: counting, sorting and retrieval, cut into parts.

After "On the Design and Analysis of LLM-based Algorithms". A few sizes are measured on one set of seeds; from them
the error of a part and the model's speeds are fitted, and ``choose_chunk`` predicts which size of a grid takes the
least seconds for a right answer. Then all sizes are measured on other seeds. Seconds are tokens times the speeds
that the model showed, laid out over as many calls at once as asked for, so that a busy machine changes nothing.
"""

from typing import TYPE_CHECKING

from ...plugins import lazy

if TYPE_CHECKING:
    from .measure import run
    from .shown import describe

__all__ = ["describe", "run"]

__getattr__ = lazy(__name__, {"describe": ".shown", "run": ".measure"})
