"""The token-level engine: llama.cpp one pass at a time, in a child process, with the methods beside the logits.

It answers as the server's engine does and gives what that one cannot: guesses from a trie verified in branches, two
models that take turns, an early stop, prompts put together from texts read alone, prompts beyond the trained length.
It works only with releases of the wheel whose layout is known, and says so where it does not.
"""

from typing import TYPE_CHECKING

from ...plugins import lazy

if TYPE_CHECKING:
    from .client import Order, TokenChild
    from .engine import TokenEngine, TokenModel, capabilities
    from .layout import unavailable
    from .open import child_of, engine_of

__all__ = [
    "Order",
    "TokenChild",
    "TokenEngine",
    "TokenModel",
    "capabilities",
    "child_of",
    "engine_of",
    "unavailable",
]

__getattr__ = lazy(
    __name__,
    {
        "Order": ".client",
        "TokenChild": ".client",
        "TokenEngine": ".engine",
        "TokenModel": ".engine",
        "capabilities": ".engine",
        "child_of": ".open",
        "engine_of": ".open",
        "unavailable": ".layout",
    },
)
