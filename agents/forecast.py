"""What a task would do, where and at what price, before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from ..messages import Frozen, ModelInfo, Role
from ..planner.dag import estimate
from ..planner.passes import PassTrace
from ..protocols import Ctx, Sink
from ..router.choose import choose
from ..steps import Decision, Hint, Limits, Plan, RunResult
from .calls import StepStopped
from .dispatch import failure_of
from .phases import Phases, Progress
from .pipeline import pipeline
from .rooms import Rooms
from .run import Tally, emitter

JOIN_TOKENS = (700, 120)
"""Prompt and answer tokens of a typical join; its results are not known yet."""


class Forecast(Frozen):
    """A compiled plan with its predictions."""

    run: str
    plan: Plan
    """After the passes."""
    passes: tuple[PassTrace, ...] = ()
    """What each pass did to the plan as it was written."""
    decisions: dict[str, Decision]
    """Which model each role would use."""
    hints: tuple[Hint, ...] = ()
    seconds: float
    """Makespan of the plan's calls under the run's concurrency, and the join."""
    critical_path: float
    """Seconds that no concurrency can shorten."""
    tokens: int
    """Still to be spent."""
    cost: Decimal | None
    """Dollars still to be spent; None when the model's price is not known before it is opened."""
    spent_tokens: int
    """What planning itself took."""
    spent_cost: Decimal


async def forecast(rooms: Rooms, run: str, task: str, limits: Limits, *, sinks: Sequence[Sink] = ()) -> Forecast:
    """Compile ``task`` and predict its run; raises StepStopped or PlanInvalid when no plan came."""
    tally = Tally()
    emit = emitter(sinks, rooms.redactor, tally)
    ctx = Ctx(run=run, workspace=rooms.workspace, emit=emit, limits=limits)
    progress = Progress(task=task)
    phases = Phases(rooms, pipeline(rooms, run), ctx, progress)
    try:
        await phases.recall()
        plan = await phases.compile_only()
    except Exception as error:
        failure = error.failure if isinstance(error, StepStopped) else failure_of(error, "plan")
        rooms.runs.finish(run, RunResult(run=run, task=task, status="failed", failure=failure))
        raise
    rooms.runs.finish(run, RunResult(run=run, task=task, status="done", plan=plan, usage=tally.usage, cost=tally.cost))
    infos = rooms.catalogue.infos()
    settings = rooms.settings
    roles: tuple[Role, ...] = ("compile", "join")
    decisions: dict[str, Decision] = {
        role: choose(
            role,
            infos,
            model=settings.model,
            fallback=settings.fallback,
            max_cost=limits.max_cost,
            installed=rooms.catalogue.installed,
        )
        for role in roles
    }
    joiner = next(info for info in infos if info.name == decisions["join"].model)
    guess = estimate(plan, rooms.specs, limits.concurrency)
    return Forecast(
        run=run,
        plan=plan,
        passes=progress.trace.passes if progress.trace is not None else (),
        decisions=decisions,
        hints=progress.hints,
        seconds=guess.makespan + _seconds(joiner),
        critical_path=guess.span,
        tokens=sum(JOIN_TOKENS),
        cost=_price(guess.cost, joiner),
        spent_tokens=tally.usage.total,
        spent_cost=tally.cost,
    )


def _price(calls: Decimal, joiner: ModelInfo) -> Decimal | None:
    if joiner.input_price is None or joiner.output_price is None:
        return None
    return calls + JOIN_TOKENS[0] * joiner.input_price + JOIN_TOKENS[1] * joiner.output_price


def _seconds(info: ModelInfo) -> float:
    per_token = info.seconds_per_token or 0.02
    return JOIN_TOKENS[1] * per_token + JOIN_TOKENS[0] * per_token / 5
