"""kill -9 in the middle of random plans, then resume: what runs again, what comes out wrong, what happens twice.

A plan of 101 nodes with fan-in, maps and effects runs in a process that is killed when 25, 55 or 85 nodes are
finished, and is resumed in another. Whoever has to settle an effect in doubt looks whether it happened. At the end
every value is compared with a sequential evaluation, every call with a log that the tools keep.
"""

from typing import TYPE_CHECKING

from ...plugins import lazy

if TYPE_CHECKING:
    from .cases import Case, case
    from .cluster import ray_cluster
    from .measure import run
    from .plans import crash_plan
    from .shown import describe

__all__ = ["Case", "case", "crash_plan", "describe", "ray_cluster", "run"]

__getattr__ = lazy(
    __name__,
    {
        "Case": ".cases",
        "case": ".cases",
        "ray_cluster": ".cluster",
        "crash_plan": ".plans",
        "describe": ".shown",
        "run": ".measure",
    },
)
