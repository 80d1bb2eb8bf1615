"""Our planner over the functions of a case; only the calls of the plan count, they are not run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from ....errors import PlanInvalid, UsageError
from ....messages import Message
from ....planner.compile import LineCompiler
from ....planner.fill import SelectThenFill
from ....planner.lines import write
from ....protocols import Model
from ....steps import Plan, ToolSpec
from ...case import Case, Output
from ...recorder import Recorder
from ...suite import Means, Solver
from .cases import conversation, functions, language
from .dialect import Catalogue, catalogue, numbered, planned


@asynccontextmanager
async def open_planner(means: Means) -> AsyncIterator[Solver]:
    """Open the planner that writes a plan in one go; UsageError when there is no model."""
    yield _solver(means, lambda model, specs, task: model)


@asynccontextmanager
async def open_fill(means: Means) -> AsyncIterator[Solver]:
    """Open the planner that first selects tools and then fills in one call after the other."""
    yield _solver(means, lambda model, specs, task: SelectThenFill(model, specs, task=task))


def _solver(means: Means, way: Callable[[Model, Sequence[ToolSpec], str], Model]) -> Solver:
    model = means.model
    if model is None:
        raise UsageError("a planner needs a model; name one with --model.")

    async def solve(case: Case, *, seed: int) -> Output:
        recorder = Recorder(model, seed=seed, temperature=means.temperature)
        tools = catalogue(functions(case), language=language(case.category))
        task = as_task(conversation(case))
        plan, text = await _planned(way(recorder, tools.specs, task), tools, task)
        return Output(
            text=text,
            value=numbered(planned(plan, tools), functions(case)),
            usage=recorder.usage,
            transcript=tuple(recorder.transcript),
        )

    return solve


async def _planned(model: Model, tools: Catalogue, task: str) -> tuple[Plan, str]:
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
