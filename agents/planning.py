"""The planner's turn: what it is shown, what its plan goes through, and what is kept of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import PlanInvalid, ShuntyardError
from ..estimates import Prediction
from ..events import Chosen, NodePlanned, Planned, Recalled, Repaired
from ..messages import Role
from ..moves import Choice, Move, Situation
from ..planner.auto import choose
from ..planner.kit import Kit
from ..planner.passes import Trace, optimise
from ..planner.strategies import planner_of
from ..planner.targets import targets
from ..planner.validate import MOST, complete, problems
from ..protocols import Ctx, Handler, Planner
from ..steps import Failure, Hint, Limits, Node, Plan, RunStatus, StepResult, digest_call
from .absent import absent
from .calls import StepModel
from .clean import redacted
from .clock import now
from .early import Early
from .rooms import Rooms


@dataclass(slots=True)
class Progress:
    """What a run has reached; kept current, so that a stop at any moment loses nothing."""

    task: str
    planner: str = "dag"
    """The strategy that plans it, or ``auto``."""
    choice: Choice | None = None
    """What became of that; given for a run that goes on."""
    given: Plan | None = None
    """A plan that a person wrote; nothing is compiled."""
    recorded: Mapping[int, Move] = field(default_factory=dict)
    """Moves of an earlier part of this run, by revision of their plans."""
    move: Move | None = None
    """The planner's last move."""
    plan: Plan | None = None
    trace: Trace | None = None
    """What the passes did to the plan; nothing for a recorded one, which went through them before."""
    predicted: Prediction | None = None
    """What the first plan was expected to take."""
    results: dict[str, StepResult] = field(default_factory=dict)
    answer: str = ""
    reason: str = ""
    """Why the plan is to be extended."""
    extended: int = 0
    """How often it was."""
    final: bool = False
    """The plan is not extended any more."""
    status: RunStatus = "running"
    failure: Failure | None = None

    @property
    def hints(self) -> tuple[Hint, ...]:
        """Earlier tasks that this run was planned by."""
        return self.choice.hints if self.choice is not None else ()


class Planning:
    """Has the run's planner make its moves."""

    def __init__(self, rooms: Rooms, handle: Handler, ctx: Ctx, progress: Progress) -> None:
        """Plan the task of ``progress``."""
        self._rooms = rooms
        self._handle = handle
        self._ctx = ctx
        self._progress = progress

    async def choose(self) -> None:
        """Look for earlier tasks like this one and settle who plans it, once in the life of a run."""
        progress, rooms, ctx = self._progress, self._rooms, self._ctx
        if progress.given is not None:
            return
        if progress.choice is None:
            hints: Sequence[Hint] = ()
            if rooms.memory is not None and not progress.recorded:
                hints = await rooms.memory.recall(progress.task, catalogue_digest(rooms.specs.values()))
            progress.choice = choose(progress.planner, progress.task, hints=tuple(hints), tier=self._tier())
            rooms.runs.choose(ctx.run, redacted(progress.choice, rooms.redactor))
        if progress.hints:
            ctx.emit(Recalled(run=ctx.run, at=now(), hints=progress.hints))
        ctx.emit(Chosen(run=ctx.run, at=now(), planner=progress.choice.planner, reason=progress.choice.reason))

    async def move(self, revision: int, offer: Callable[[Node], None]) -> Move:
        """Return the planner's next move, from the record where it is there, and keep it.

        ``offer`` receives nodes while the plan is written. Raises PlanInvalid and what the model's call raised.
        """
        progress, rooms, ctx = self._progress, self._rooms, self._ctx
        if revision in progress.recorded:
            move = progress.recorded[revision]
        elif progress.given is not None:
            plan, progress.trace = optimise(_taken(progress.given, rooms, ctx.limits), rooms.specs)
            move = Move(plan=plan)
        else:
            move = await self._fresh(revision, offer)
        if move.plan.revision == revision and not move.answer:
            rooms.runs.save_move(ctx.run, redacted(move, rooms.redactor))
        ctx.emit(Planned(run=ctx.run, at=now(), plan=move.plan))
        return move

    def model(self, role: Role, revision: int) -> StepModel:
        """Return what answers in ``role``; raises what the router raises when nobody can."""
        _, info = self._rooms.route(role, self._ctx.limits)
        return StepModel(self._handle, self._ctx, info=info, revision=revision)

    async def _fresh(self, revision: int, offer: Callable[[Node], None]) -> Move:
        progress, rooms, ctx = self._progress, self._rooms, self._ctx
        finished = tuple(progress.results) if progress.plan is not None else ()
        early = Early(offer, rooms.specs, finished=finished)

        def on_node(node: Node) -> None:
            ctx.emit(NodePlanned(run=ctx.run, at=now(), node=node))
            early(node)

        situation = Situation(
            task=progress.task,
            brief=await self._brief(),
            links=await rooms.tools.links(progress.task, ctx),
            hints=progress.hints,
            plan=progress.plan,
            results=dict(progress.results),
            reason=progress.reason,
            memo=progress.move.memo if progress.move is not None else {},
        )
        move = await self._planner().next(situation, model=self.model("compile", revision), on_node=on_node)
        if progress.plan is not None and move.plan.nodes == progress.plan.nodes and not move.plan.refusal:
            return move
        plan = move.plan
        if not move.again:
            # A plan that is still to grow keeps all that was found: nobody knows yet what will be needed.
            plan, progress.trace = optimise(plan, rooms.specs, begun=early.begun(plan), finished=finished)
        return move.model_copy(update={"plan": plan.model_copy(update={"revision": revision})})

    def _planner(self) -> Planner:
        rooms, ctx = self._rooms, self._ctx

        async def check(tool: str, args: Mapping[str, Any]) -> list[str]:
            return await rooms.tools.check(tool, args, ctx)

        async def shape(tool: str, args: Mapping[str, Any]) -> Mapping[str, str] | None:
            return await rooms.tools.shape(tool, args, ctx)

        def on_repair(found: Sequence[str]) -> None:
            ctx.emit(Repaired(run=ctx.run, at=now(), problems=tuple(found)))

        choice = self._progress.choice
        name = choice.planner if choice is not None else self._progress.planner
        return planner_of(name, Kit(list(rooms.specs.values()), check=check, shape=shape, on_repair=on_repair))

    async def _brief(self) -> str:
        brief = await self._rooms.tools.brief(self._ctx)
        wanted = targets(self._progress.task)
        gone = [name for name in absent(self._progress.task, self._rooms.workspace) if name not in wanted]
        note = f"\n- there is no file {' and no file '.join(gone)}" if gone else ""
        return brief + note

    def _tier(self) -> str:
        """The size of the model that plans; nothing while none can be chosen."""
        try:
            return self._rooms.route("compile", self._ctx.limits)[1].tier
        except ShuntyardError:
            # That nobody can plan is said when a model is due; a remembered plan needs none.
            return ""


def _taken(plan: Plan, rooms: Rooms, limits: Limits) -> Plan:
    """A person's plan, checked. Raises PlanInvalid."""
    found = problems(plan, rooms.specs, max_nodes=max(MOST, limits.max_nodes))
    if found:
        raise PlanInvalid(found)
    return complete(plan, rooms.specs).model_copy(update={"origin": "person"})


def catalogue_digest(specs: Any) -> str:
    """Digest of the tools that a plan was made for: names, parameters and effects, in no order."""
    rows = sorted([spec.name, spec.parameters, spec.effect] for spec in specs)
    return digest_call("catalogue", {"specs": rows})
