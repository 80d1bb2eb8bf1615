"""Words become a validated plan, a DAG of typed calls that is drawn, filed, predicted and run without barriers.

The planner asks a ``Model`` and runs nodes through a ``Handler``; it knows no tools, guards or databases.
"""

from typing import TYPE_CHECKING

from ..plugins import lazy

if TYPE_CHECKING:
    from .build import PlanBuilder
    from .compile import LineCompiler
    from .dag import Estimate, critical_path, estimate
    from .files import dump, parse
    from .program import parse_program
    from .render import mermaid, svg, tree
    from .schedule import Scheduler
    from .validate import complete, problems

__all__ = [
    "Estimate",
    "LineCompiler",
    "PlanBuilder",
    "Scheduler",
    "complete",
    "critical_path",
    "dump",
    "estimate",
    "mermaid",
    "parse",
    "parse_program",
    "problems",
    "svg",
    "tree",
]

__getattr__ = lazy(
    __name__,
    {
        "Estimate": ".dag",
        "LineCompiler": ".compile",
        "PlanBuilder": ".build",
        "Scheduler": ".schedule",
        "complete": ".validate",
        "critical_path": ".dag",
        "dump": ".files",
        "estimate": ".dag",
        "mermaid": ".render",
        "parse": ".files",
        "parse_program": ".program",
        "problems": ".validate",
        "svg": ".render",
        "tree": ".render",
    },
)
