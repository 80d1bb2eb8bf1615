"""Our planner over the functions of a case; only the calls of the plan count, they are not run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from ....errors import PlanInvalid, UsageError
from ....messages import Message
from ....planner.compile import LineCompiler
from ....planner.lines import write
from ....steps import Plan
from ...case import Case, Output
from ...recorder import Recorder
from ...suite import Means, Solver
from .cases import conversation, functions, language
from .dialect import Catalogue, catalogue, numbered, planned


@asynccontextmanager
async def open_planner(means: Means) -> AsyncIterator[Solver]:
    """Open the solver; UsageError when there is no model."""
    model = means.model
    if model is None:
        raise UsageError("solver 'planner' needs a model; name one with --model.")

    async def solve(case: Case, *, seed: int) -> Output:
        recorder = Recorder(model, seed=seed, temperature=means.temperature)
        tools = catalogue(functions(case), language=language(case.category))
        plan, text = await _planned(recorder, tools, as_task(conversation(case)))
        return Output(
            text=text,
            value=numbered(planned(plan, tools), functions(case)),
            usage=recorder.usage,
            transcript=tuple(recorder.transcript),
        )

    yield solve


async def _planned(model: Recorder, tools: Catalogue, task: str) -> tuple[Plan, str]:
    """Plan; a plan that cannot be mended makes no calls, as output that cannot be read does for the raw model."""
    try:
        plan = await LineCompiler(model, tools.specs).compile(task)
    except PlanInvalid as error:
        return Plan(task=task, nodes=()), str(error)
    return plan, plan.refusal or "\n".join(map(write, plan.nodes))


def as_task(turns: Sequence[Message]) -> str:
    """Return a conversation as the text of a task: what was said before, then what is asked."""
    *before, last = turns
    lines = [turn.content.strip() if turn.role == "system" else f"{turn.role}: {turn.content}" for turn in before]
    return "\n\n".join([*lines, last.content])
