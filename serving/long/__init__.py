"""Prompts longer than a model's context, where the caller allows it (``ModelRequest.long``): read in segments and
combined, or by a constant number of pages. Never silently: ``Completion.read`` says what was read and how.
"""

from typing import TYPE_CHECKING

from ...plugins import lazy

if TYPE_CHECKING:
    from .cut import pages, segments
    from .read import Options, read_long
    from .score import by_words

__all__ = ["Options", "by_words", "pages", "read_long", "segments"]

__getattr__ = lazy(
    __name__,
    {
        "Options": ".read",
        "by_words": ".score",
        "pages": ".cut",
        "read_long": ".read",
        "segments": ".cut",
    },
)
