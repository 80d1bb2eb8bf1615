"""Words become a validated plan, a DAG of typed calls that is drawn, filed, predicted and run without barriers.

The planner asks a ``Model`` and runs nodes through a ``Handler``; it knows no tools, guards or databases.
"""

from typing import TYPE_CHECKING

from ..plugins import lazy

if TYPE_CHECKING:
    from .build import PlanBuilder
    from .chunks import Cut, choose_chunk, paced
    from .compile import LineCompiler
    from .dag import critical_path
    from .files import dump, parse
    from .predict import estimate
    from .program import parse_program
    from .render import mermaid, svg, tree
    from .schedule import Scheduler
    from .validate import complete, problems

__all__ = [
    "Cut",
    "LineCompiler",
    "PlanBuilder",
    "Scheduler",
    "choose_chunk",
    "complete",
    "critical_path",
    "dump",
    "estimate",
    "mermaid",
    "paced",
    "parse",
    "parse_program",
    "problems",
    "svg",
    "tree",
]

__getattr__ = lazy(
    __name__,
    {
        "Cut": ".chunks",
        "LineCompiler": ".compile",
        "PlanBuilder": ".build",
        "Scheduler": ".schedule",
        "choose_chunk": ".chunks",
        "complete": ".validate",
        "critical_path": ".dag",
        "dump": ".files",
        "estimate": ".predict",
        "mermaid": ".render",
        "paced": ".chunks",
        "parse": ".files",
        "parse_program": ".program",
        "problems": ".validate",
        "svg": ".render",
        "tree": ".render",
    },
)
