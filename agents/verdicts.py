"""What a plan's failures mean for its run: the plan's own mistakes are mended, what the world refused is told."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..errors import ArgumentsInvalid, ToolError
from ..planner.values import ends
from ..steps import Plan, StepResult


def broken(plan: Plan, results: Mapping[str, StepResult], gone: Collection[str]) -> str:
    """Why the plan's own mistakes left it without a result; empty when the world said no, not the plan.

    A call that its tool could not make sense of is the planner's to mend; small models seldom say so
    when they are asked. ``gone`` are files that the task speaks of and that are not there.
    """
    for node in plan.nodes:
        result = results.get(node.id)
        failure = result.failure if result is not None and not result.ok else None
        if failure is None or any(name in failure.message for name in gone):
            continue
        if failure.code in (ToolError.code, ArgumentsInvalid.code):
            return f"line {node.id[1:]} failed: {failure.message}"
    return ""


def nothing(plan: Plan, results: Mapping[str, StepResult]) -> str:
    """What to answer when no end of the plan has a result; a model asked to answer from nothing makes it up."""
    if not plan.nodes or any(results[node.id].ok for node in ends(plan) if node.id in results):
        return ""
    bad = [result for node in plan.nodes if (result := results.get(node.id)) and not result.ok]
    failures = [result.failure for result in bad if result.failure is not None]
    told = dict.fromkeys(failure.message for failure in failures if failure.code != "not_run")
    return "Could not be done: " + "; ".join(told) if told else ""
