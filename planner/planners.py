"""Planners that write the whole plan at once: as lines, in two stages, or as a program."""

from __future__ import annotations

from collections.abc import Callable

from ..moves import Move, Situation
from ..protocols import Model
from ..steps import Node
from .compile import LineCompiler
from .fill import SelectThenFill
from .kit import Kit
from .programs import ProgramCompiler
from .prompt import linked


class LinePlanner:
    """A Planner of whole plans: one turn, and one more where the results did not give the answer.

    After "An LLM Compiler for Parallel Function Calling".
    """

    compiler: type[LineCompiler] = LineCompiler
    """What writes the first plan; extensions are written in lines."""

    def __init__(self, kit: Kit) -> None:
        """Plan over the tools of ``kit``."""
        self._kit = kit

    async def next(self, situation: Situation, *, model: Model, on_node: Callable[[Node], None] | None = None) -> Move:
        """Return a valid plan, or one with a ``refusal``; raises PlanInvalid when the repair rounds did not mend it."""
        first = situation.plan is None
        plan = await self.made(self.compiler if first else LineCompiler, self.voice(situation, model)).compile(
            situation.task,
            hints=situation.hints,
            brief=situation.brief,
            links=situation.links,
            on_node=on_node,
            finished=None if situation.plan is None else (situation.plan, situation.results),
            reason=situation.reason,
        )
        return Move(plan=plan)

    def made(self, kind: type[LineCompiler], model: Model) -> LineCompiler:
        """Return a compiler over the kit."""
        kit = self._kit
        return kind(model, kit.specs, check=kit.check, shape=kit.shape, on_repair=kit.on_repair)

    def voice(self, situation: Situation, model: Model) -> Model:
        """Return what answers for ``model``."""
        return model


class FillPlanner(LinePlanner):
    """Chooses the tools first and then fills in one call after the other, each under its own schema."""

    def voice(self, situation: Situation, model: Model) -> Model:
        """Answer the first request for a plan in two stages."""
        if situation.plan is not None:
            return model
        data = linked(situation.brief, situation.links)
        return SelectThenFill(model, self._kit.specs, task=situation.task, data=data)


class ProgramPlanner(LinePlanner):
    """Has the first plan written as a small program."""

    compiler = ProgramCompiler
