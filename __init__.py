"""Shuntyard runs agent tasks: words become a plan, a DAG of typed tool calls that runs fast, cheaply and safely."""

from typing import TYPE_CHECKING

from .plugins import lazy

if TYPE_CHECKING:
    from .agents.agent import Agent
    from .planner.build import PlanBuilder
    from .protocols import Edited
    from .steps import Plan, RunResult
    from .tools.spec import tool

__all__ = ["Agent", "Edited", "Plan", "PlanBuilder", "RunResult", "tool"]

__getattr__ = lazy(
    __name__,
    {
        "Agent": ".agents.agent",
        "Edited": ".protocols",
        "Plan": ".steps",
        "PlanBuilder": ".planner.build",
        "RunResult": ".steps",
        "tool": ".tools.spec",
    },
)
