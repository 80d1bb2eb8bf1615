"""What the token-level methods save and cost, in passes and tokens of the model, not in seconds.

Tokens per pass with guesses from a trie, the share of the large model when two take turns, what an early stop loses,
how far a prompt put together from texts read alone is from the whole, a fact found beyond the trained length.
``large`` is the second model of ``entropy``; empty lets one file play both parts, which shows the counts and no gain.
"""

from typing import TYPE_CHECKING

from ...plugins import lazy

if TYPE_CHECKING:
    from .measure import run
    from .shown import describe

__all__ = ["describe", "run"]

__getattr__ = lazy(__name__, {"describe": ".shown", "run": ".measure"})
