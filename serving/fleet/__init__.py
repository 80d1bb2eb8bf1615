"""Several engines of one model behind one face: dispatch by free memory, priority classes, requests that move while
they run, roles for reading and writing. ``policy`` and ``roles`` are pure, ``play`` runs them in virtual time,
``fleet`` on real engines. No request is lost or answered twice, and a move never widens the gap between loads.
"""

from typing import TYPE_CHECKING

from ...plugins import lazy

if TYPE_CHECKING:
    from .fleet import Fleet, Journey, Options
    from .member import Member, Part
    from .play import Asked, Machine, Played, simulate
    from .policy import Held, Load, Move, Role, UrgentFirst, dispatch, gap, migration, moved
    from .roles import Costs, Rates, weigh

__all__ = [
    "Asked",
    "Costs",
    "Fleet",
    "Held",
    "Journey",
    "Load",
    "Machine",
    "Member",
    "Move",
    "Options",
    "Part",
    "Played",
    "Rates",
    "Role",
    "UrgentFirst",
    "dispatch",
    "gap",
    "migration",
    "moved",
    "simulate",
    "weigh",
]

__getattr__ = lazy(
    __name__,
    {
        "Asked": ".play",
        "Costs": ".roles",
        "Fleet": ".fleet",
        "Held": ".policy",
        "Journey": ".fleet",
        "Load": ".policy",
        "Machine": ".play",
        "Member": ".member",
        "Move": ".policy",
        "Options": ".fleet",
        "Part": ".member",
        "Played": ".play",
        "Rates": ".roles",
        "Role": ".policy",
        "UrgentFirst": ".policy",
        "dispatch": ".policy",
        "gap": ".policy",
        "migration": ".policy",
        "moved": ".policy",
        "simulate": ".play",
        "weigh": ".roles",
    },
)
