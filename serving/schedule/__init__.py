"""Which model call runs next, on which slot, and what of it need not be computed again.

Pure parts first: ``dispatch`` (order and slots, in anybody's time), ``warmth`` (which slot knows which prompt),
``states`` (saved prompt states on disk). ``scheduler`` and ``once`` run them in asyncio. Nothing here knows an
engine: work is a coroutine that is given a slot.
"""

from typing import TYPE_CHECKING

from ...plugins import lazy

if TYPE_CHECKING:
    from .dispatch import AnySlot, Call, Dispatch
    from .once import Once
    from .order import ApplicationFirst, RequestFifo
    from .play import App, Played, simulate
    from .scheduler import Scheduler
    from .states import SavedState, StateIdentity, States
    from .warmth import Warmth, packed, shared

__all__ = [
    "AnySlot",
    "App",
    "ApplicationFirst",
    "Call",
    "Dispatch",
    "Once",
    "Played",
    "RequestFifo",
    "SavedState",
    "Scheduler",
    "StateIdentity",
    "States",
    "Warmth",
    "packed",
    "shared",
    "simulate",
]

__getattr__ = lazy(
    __name__,
    {
        "AnySlot": ".dispatch",
        "App": ".play",
        "ApplicationFirst": ".order",
        "Call": ".dispatch",
        "Dispatch": ".dispatch",
        "Once": ".once",
        "Played": ".play",
        "RequestFifo": ".order",
        "SavedState": ".states",
        "Scheduler": ".scheduler",
        "StateIdentity": ".states",
        "States": ".states",
        "Warmth": ".warmth",
        "packed": ".warmth",
        "shared": ".warmth",
        "simulate": ".play",
    },
)
