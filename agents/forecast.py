"""What a task would do, where and at what price, before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from ..estimates import Prediction
from ..messages import Frozen, Role
from ..moves import Choice
from ..planner.passes import PassTrace
from ..protocols import Ctx, Sink
from ..steps import Decision, Hint, Limits, Plan, RunResult
from .calls import StepStopped
from .dispatch import failure_of
from .phases import Phases, Progress
from .pipeline import pipeline
from .predicted import predicted
from .rooms import Rooms
from .run import Tally, emitter


class Forecast(Frozen):
    """A compiled plan with its predictions."""

    run: str
    plan: Plan
    """After the passes."""
    choice: Choice
    """Which planner made it, and why."""
    again: bool = False
    """It is the beginning: the planner goes on from its results."""
    passes: tuple[PassTrace, ...] = ()
    """What each pass did to the plan as it was written."""
    decisions: dict[str, Decision]
    """Which model each role would use."""
    hints: tuple[Hint, ...] = ()
    prediction: Prediction
    """From the plan's first call to the answer."""
    spent_tokens: int
    """What planning itself took."""
    spent_cost: Decimal

    @property
    def seconds(self) -> float:
        """Likely makespan of the plan's calls under the run's concurrency, and the join."""
        return self.prediction.seconds.likely

    @property
    def critical_path(self) -> float:
        """Seconds that no concurrency can shorten."""
        return self.prediction.plan.span

    @property
    def tokens(self) -> int:
        """Likely still to be spent."""
        return round(self.prediction.tokens.likely)

    @property
    def cost(self) -> Decimal | None:
        """Dollars likely still to be spent; None when the model's price is not known before it is opened."""
        return self.prediction.cost.likely if self.prediction.cost is not None else None


async def forecast(rooms: Rooms, run: str, task: str, limits: Limits, *, sinks: Sequence[Sink] = ()) -> Forecast:
    """Compile ``task`` and predict its run; raises StepStopped or PlanInvalid when no plan came."""
    tally = Tally()
    emit = emitter(sinks, rooms.redactor, tally)
    ctx = Ctx(run=run, workspace=rooms.workspace, emit=emit, limits=limits)
    progress = Progress(task, rooms.settings.planner)
    phases = Phases(rooms, pipeline(rooms, run), ctx, progress)
    try:
        await phases.recall()
        plan = await phases.compile_only()
    except Exception as error:
        failure = error.failure if isinstance(error, StepStopped) else failure_of(error, "plan")
        failed = RunResult(run=run, task=task, status="failed", failure=failure, usage=tally.usage, cost=tally.cost)
        rooms.runs.finish(run, failed)
        raise
    rooms.runs.finish(run, RunResult(run=run, task=task, status="done", plan=plan, usage=tally.usage, cost=tally.cost))
    roles: tuple[Role, ...] = ("compile", "join")
    decisions: dict[str, Decision] = {role: rooms.route(role, limits)[0] for role in roles}
    prediction = predicted(plan, rooms, limits)
    assert progress.choice is not None
    assert prediction is not None, "the join was routed a line above"
    return Forecast(
        run=run,
        plan=plan,
        choice=progress.choice,
        again=progress.move is not None and progress.move.again,
        passes=progress.trace.passes if progress.trace is not None else (),
        decisions=decisions,
        hints=progress.hints,
        prediction=prediction,
        spent_tokens=tally.usage.total,
        spent_cost=tally.cost,
    )
