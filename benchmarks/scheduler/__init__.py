"""Makespan of random DAGs against their critical path, CPU per task, and a DAG of 100,000 nodes.

Every seed is run by plain asyncio (a task and a future per node: the floor of what Python can do), by the
scheduler with guard, budget and events on, the same with its journal on disk, and by LangGraph as a static
graph of the same DAG; one after the other in one run, so that a busy machine treats them alike.
"""

from typing import TYPE_CHECKING

from ...plugins import lazy

if TYPE_CHECKING:
    from .dags import chain, fan, layered
    from .measure import run
    from .shown import describe

__all__ = ["chain", "describe", "fan", "layered", "run"]

__getattr__ = lazy(
    __name__, {"chain": ".dags", "describe": ".shown", "fan": ".dags", "layered": ".dags", "run": ".measure"}
)
