"""What our server costs beside the engine's own: wall, CPU per request and per streamed token, and leaks.

The same requests go to the engine's own server and to ours in front of the same engine, in turns in one run, so that
a busy machine treats both alike. ``model=stub`` puts a program that only sends chunks in the engine's place: the CPU
figures are the same and take seconds.
"""

from typing import TYPE_CHECKING

from ...plugins import lazy

if TYPE_CHECKING:
    from .overhead import describe, run

__all__ = ["describe", "run"]

__getattr__ = lazy(__name__, {"describe": ".overhead", "run": ".overhead"})
