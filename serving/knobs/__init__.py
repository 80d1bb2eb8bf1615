"""What an engine is started with, each setting behind a measurement: nothing is believed to be faster or as good.

``knobs`` is the value, part of an engine's identity. ``gate`` offers a smaller KV type only for a model file whose
answers it was seen to leave as they are; ``switch`` speculates only for the classes of requests where it wins;
``tuner`` searches the rest in a given time, and ``profiles`` keeps what it found for this host.
"""

from typing import TYPE_CHECKING

from ...plugins import lazy

if TYPE_CHECKING:
    from .gate import Verdict, ensure, judge
    from .knobs import Knobs, from_settings
    from .lone import Lone, lone
    from .profiles import Profile, chosen
    from .switch import Switch, class_of
    from .tune import tune
    from .tuner import Cost, Found, search

__all__ = [
    "Cost",
    "Found",
    "Knobs",
    "Lone",
    "Profile",
    "Switch",
    "Verdict",
    "chosen",
    "class_of",
    "ensure",
    "from_settings",
    "judge",
    "lone",
    "search",
    "tune",
]

__getattr__ = lazy(
    __name__,
    {
        "Cost": ".tuner",
        "Found": ".tuner",
        "Knobs": ".knobs",
        "Lone": ".lone",
        "Profile": ".profiles",
        "Switch": ".switch",
        "Verdict": ".gate",
        "chosen": ".profiles",
        "class_of": ".switch",
        "ensure": ".gate",
        "from_settings": ".knobs",
        "judge": ".gate",
        "lone": ".lone",
        "search": ".tuner",
        "tune": ".tune",
    },
)
