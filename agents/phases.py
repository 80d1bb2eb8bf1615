"""The phases of a run: recall, compile and run, join, learn. ``graph.py`` says in which order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import ArgumentsInvalid, PlanInvalid, PolicyDenied, ShuntyardError, ToolError
from ..estimates import Prediction
from ..events import Answered, NodePlanned, Planned, Recalled, Repaired, Replanned
from ..messages import Usage
from ..planner.compile import LineCompiler
from ..planner.join import join, marked
from ..planner.passes import Trace, optimise
from ..planner.prompt import linked
from ..planner.react import ReactPlanner
from ..planner.schedule import Scheduler
from ..planner.targets import targets
from ..planner.validate import complete, problems
from ..planner.values import ends
from ..protocols import Ctx, Handler
from ..steps import (
    Failure,
    Hint,
    Node,
    Plan,
    RunStatus,
    StepResult,
    Trajectory,
    digest_call,
)
from .absent import absent
from .calls import StepModel, StepStopped
from .clean import redacted
from .clock import now
from .dispatch import failure_of
from .early import Early
from .predicted import predicted
from .rooms import Rooms

_STOPS: tuple[RunStatus, ...] = ("spent", "doubt", "waiting", "denied")
"""Statuses of nodes that end a run before its join, the gravest first."""
_MAX_STEPS = 12
"""Calls that a planner of single steps may make."""


@dataclass(slots=True)
class Progress:
    """What a run has reached; kept current, so that a stop at any moment loses nothing."""

    task: str
    given: Plan | None = None
    """A plan that a person wrote; nothing is compiled."""
    recorded: Mapping[int, Plan] = field(default_factory=dict)
    """Plans of an earlier part of this run, by revision."""
    hints: tuple[Hint, ...] = ()
    plan: Plan | None = None
    trace: Trace | None = None
    """What the passes did to the plan; nothing for a recorded one, which went through them before."""
    predicted: Prediction | None = None
    """What the first plan was expected to take."""
    results: dict[str, StepResult] = field(default_factory=dict)
    answer: str = ""
    reason: str = ""
    """Why the plan is to be extended."""
    final: bool = False
    """The plan is not extended any more."""
    said: str = ""
    """The answer, where the planner itself gave it."""
    status: RunStatus = "running"
    failure: Failure | None = None


class Phases:
    """The phases of one run over its rooms and its pipeline."""

    def __init__(self, rooms: Rooms, handle: Handler, ctx: Ctx, progress: Progress) -> None:
        """Work on ``progress``."""
        self._rooms = rooms
        self._handle = handle
        self._ctx = ctx
        self.progress = progress
        self._stepper: ReactPlanner | None = None

    async def recall(self) -> None:
        """Look for earlier tasks like this one."""
        progress, memory = self.progress, self._rooms.memory
        if memory is None or progress.given is not None or progress.recorded:
            return
        progress.hints = tuple(await memory.recall(progress.task, catalogue_digest(self._rooms.specs.values())))
        if progress.hints:
            self._ctx.emit(Recalled(run=self._ctx.run, at=now(), hints=progress.hints))

    async def work(self) -> None:
        """Compile the plan (or its extension) and run it; reads start while it is being written."""
        progress = self.progress
        revision = progress.plan.revision + 1 if progress.plan is not None else 0
        earlier = (progress.plan, dict(progress.results)) if progress.plan is not None else None
        scheduler = Scheduler(
            self._handle, self._ctx, self._rooms.specs, revision=revision, known=dict(progress.results)
        )
        try:
            async with scheduler:
                plan = await self._compile(revision, scheduler.offer, earlier)
                if plan.refusal:
                    self._refused(plan)
                else:
                    progress.plan = plan
                    progress.predicted = progress.predicted or predicted(plan, self._rooms, self._ctx.limits)
                    await self._authorise(plan)
                    await scheduler.finish(plan)
        except StepStopped as stop:
            self._stop("spent" if stop.status == "spent" else "failed", stop.failure)
        except PlanInvalid as error:
            self._unplanned(error)
        except PolicyDenied as error:
            self._stop("denied", failure_of(error, "plan"))
        except ShuntyardError as error:
            self._stop("failed", failure_of(error, "plan"))
        finally:
            progress.results.update(scheduler.results)
        self._judge()

    async def compile_only(self) -> Plan:
        """Compile the plan and check it against the policy, without running anything of it."""
        plan = await self._compile(0, lambda node: None, None)
        if not plan.refusal:
            await self._authorise(plan)
        return plan

    async def join(self) -> None:
        """Turn the results into an answer, or into a reason to extend the plan."""
        progress = self.progress
        assert progress.plan is not None
        plan = progress.plan
        if self._stepping(plan):
            return
        may_replan = plan.revision < self._ctx.limits.max_replans and plan.origin != "person" and not progress.final
        if may_replan and (broken := self._broken(plan)):
            self._extend(plan, broken)
            return
        if nothing := self._nothing(plan):
            self._answer(plan, nothing)
            return
        try:
            gone = absent(progress.task, self._rooms.workspace)
            joined = await join(
                self._model("join", plan.revision),
                f"{progress.task}\n(There is no file {' and no file '.join(gone)}.)" if gone else progress.task,
                plan,
                progress.results,
                may_replan=may_replan,
            )
        except StepStopped as stop:
            self._stop("spent" if stop.status == "spent" else "failed", stop.failure)
            return
        if joined.replan:
            self._extend(plan, joined.replan)
            return
        unsaid = [name for name in gone if f"no file {name}".casefold() not in joined.answer.casefold()]
        note = "".join(f" There is no file {name}." for name in unsaid if name not in targets(progress.task))
        self._answer(plan, joined.answer + note)

    def _stepping(self, plan: Plan) -> bool:
        """Whether the run goes on, or is answered, by the planner that decides on one call at a time."""
        progress = self.progress
        if self._rooms.settings.planner != "react" or plan.origin == "person" or progress.final:
            return False
        if progress.said:
            # A call that failed was seen and, where it mattered, made again; what counts is what the answer rests on.
            done = tuple(node for node in plan.nodes if progress.results[node.id].ok)
            progress.plan = plan.model_copy(update={"nodes": done}) if done else plan
            self._answer(progress.plan, marked(progress.said, progress.task, plan, progress.results))
        return True

    async def learn(self, usage: Usage, cost: Any) -> None:
        """Keep the trajectory for later tasks, when it went well."""
        progress, memory = self.progress, self._rooms.memory
        if memory is None or progress.plan is None or progress.status != "done":
            return
        await memory.learn(
            Trajectory(
                run=self._ctx.run,
                task=progress.task,
                plan=progress.plan,
                catalogue=catalogue_digest(self._rooms.specs.values()),
                outcome="done",
                answer=progress.answer,
                usage=usage,
                cost=cost,
            )
        )

    async def _compile(
        self,
        revision: int,
        offer: Callable[[Node], None],
        earlier: tuple[Plan, dict[str, StepResult]] | None,
    ) -> Plan:
        progress, ctx, rooms = self.progress, self._ctx, self._rooms
        if revision in progress.recorded:
            plan = progress.recorded[revision]
        elif progress.given is not None and earlier is None:
            plan, progress.trace = optimise(self._check_given(progress.given), rooms.specs)
        elif rooms.settings.planner == "react":
            plan = await self._step(revision, earlier)
        else:
            plan = await self._write(revision, offer, earlier)
        rooms.runs.save_plan(ctx.run, redacted(plan, rooms.redactor))
        ctx.emit(Planned(run=ctx.run, at=now(), plan=plan))
        return plan

    async def _write(
        self,
        revision: int,
        offer: Callable[[Node], None],
        earlier: tuple[Plan, dict[str, StepResult]] | None,
    ) -> Plan:
        progress, ctx, rooms = self.progress, self._ctx, self._rooms

        finished = earlier[1] if earlier is not None else ()
        early = Early(offer, rooms.specs, finished=finished)

        def on_node(node: Node) -> None:
            ctx.emit(NodePlanned(run=ctx.run, at=now(), node=node))
            early(node)

        def on_repair(found: Sequence[str]) -> None:
            ctx.emit(Repaired(run=ctx.run, at=now(), problems=tuple(found)))

        async def shape(tool: str, args: Mapping[str, Any]) -> Mapping[str, str] | None:
            return await rooms.tools.shape(tool, args, ctx)

        compiler = LineCompiler(
            self._model("compile", revision),
            list(rooms.specs.values()),
            check=self._check,
            shape=shape,
            on_repair=on_repair,
        )
        plan = await compiler.compile(
            progress.task,
            hints=progress.hints,
            brief=await self._brief(),
            links=await rooms.tools.links(progress.task, ctx),
            on_node=on_node,
            finished=earlier,
            reason=progress.reason,
        )
        plan, progress.trace = optimise(plan, rooms.specs, begun=early.begun(plan), finished=finished)
        return plan.model_copy(update={"revision": revision})

    async def _step(self, revision: int, earlier: tuple[Plan, dict[str, StepResult]] | None) -> Plan:
        """Have the next call decided; without one the plan stays as it is, and the run has its answer or its end."""
        progress, ctx, rooms = self.progress, self._ctx, self._rooms
        plan, results = earlier if earlier is not None else (Plan(task=progress.task, nodes=()), {})
        if len(plan.nodes) >= _MAX_STEPS:
            progress.final = True
            return plan
        if self._stepper is None:
            self._stepper = ReactPlanner(list(rooms.specs.values()), check=self._check)
        data = linked(await self._brief(), await rooms.tools.links(progress.task, ctx))
        step = await self._stepper.step(self._model("compile", revision), plan, data=data, results=results)
        if isinstance(step, str):
            progress.said = step
            return plan
        if not step.refusal:
            ctx.emit(NodePlanned(run=ctx.run, at=now(), node=step.nodes[-1]))
        return step.model_copy(update={"revision": revision})

    async def _check(self, tool: str, args: Mapping[str, Any]) -> list[str]:
        return await self._rooms.tools.check(tool, args, self._ctx)

    async def _brief(self) -> str:
        brief = await self._rooms.tools.brief(self._ctx)
        wanted = targets(self.progress.task)
        gone = [name for name in absent(self.progress.task, self._rooms.workspace) if name not in wanted]
        note = f"\n- there is no file {' and no file '.join(gone)}" if gone else ""
        return brief + note

    def _check_given(self, plan: Plan) -> Plan:
        specs = self._rooms.specs
        found = problems(plan, specs, max_nodes=self._ctx.limits.max_nodes)
        if found:
            raise PlanInvalid(found)
        return complete(plan, specs).model_copy(update={"origin": "person"})

    async def _authorise(self, plan: Plan) -> None:
        """Stop before any effect when a node is denied whatever its inputs turn out to be."""
        verdicts = await self._rooms.gate.review(plan, self._rooms.specs, self._ctx)
        for id, verdict in verdicts.items():
            if verdict.decision == "deny":
                raise PolicyDenied(f"{id} {plan.node(id).tool}: {verdict.reason}", ids={"node": id})

    def _broken(self, plan: Plan) -> str:
        """Why the plan's own mistakes left it without a result; empty when the world said no, not the plan.

        A call that its tool could not make sense of is the planner's to mend; small models seldom say so
        when they are asked.
        """
        gone = absent(self.progress.task, self._rooms.workspace)
        for node in plan.nodes:
            result = self.progress.results.get(node.id)
            failure = result.failure if result is not None and not result.ok else None
            if failure is None or any(name in failure.message for name in gone):
                continue
            if failure.code in (ToolError.code, ArgumentsInvalid.code):
                return f"line {node.id[1:]} failed: {failure.message}"
        return ""

    def _nothing(self, plan: Plan) -> str:
        """What to answer when no end of the plan has a result; a model asked to answer from nothing makes it up."""
        results = self.progress.results
        if not plan.nodes or any(results[node.id].ok for node in ends(plan) if node.id in results):
            return ""
        bad = [result for node in plan.nodes if (result := results.get(node.id)) and not result.ok]
        failures = [result.failure for result in bad if result.failure is not None]
        told = dict.fromkeys(failure.message for failure in failures if failure.code != "not_run")
        return "Could not be done: " + "; ".join(told) if told else ""

    def _extend(self, plan: Plan, reason: str) -> None:
        self.progress.reason = reason
        self._ctx.emit(Replanned(run=self._ctx.run, at=now(), revision=plan.revision + 1, reason=reason))

    def _refused(self, plan: Plan) -> None:
        """A refusal ends the run, but not after calls were made: then their results are what there is to say."""
        progress = self.progress
        if progress.plan is None:
            progress.plan, progress.status, progress.answer = plan, "refused", plan.refusal
        else:
            progress.final = True

    def _unplanned(self, error: PlanInvalid) -> None:
        """No valid plan: a person's is theirs to mend, a first one of the model's fails, an extension is left out."""
        if self.progress.plan is not None:
            self.progress.final = True
            return
        failure = failure_of(error, "plan")
        self._stop("failed", failure if self.progress.given else failure.model_copy(update={"exit_code": 1}))

    def _model(self, role: Any, revision: int) -> StepModel:
        _, info = self._rooms.route(role, self._ctx.limits)
        return StepModel(self._handle, self._ctx, info=info, revision=revision)

    def _judge(self) -> None:
        """Set the status when the run cannot go on to its join."""
        progress = self.progress
        if progress.status != "running":
            return
        for status in _STOPS:
            for result in progress.results.values():
                if result.status == status:
                    self._stop(status, result.failure)
                    return

    def _answer(self, plan: Plan, text: str) -> None:
        """Set the answer and the status: ``done`` when every end of the DAG is, otherwise ``failed``."""
        self.progress.answer = text
        self._ctx.emit(Answered(run=self._ctx.run, at=now(), text=text))
        found = [self.progress.results.get(node.id) for node in ends(plan)]
        bad = [result for result in found if result is None or (result.failure is not None and not result.ok)]
        if not bad:
            self.progress.status = "done"
            return
        failures = [r.failure for r in self.progress.results.values() if r.failure is not None and not r.ok]
        self._stop("failed", failures[0] if failures else None)

    def _stop(self, status: RunStatus, failure: Failure | None) -> None:
        self.progress.status = status
        self.progress.failure = failure


def catalogue_digest(specs: Any) -> str:
    """Digest of the tools that a plan was made for: names, parameters and effects, in no order."""
    rows = sorted([spec.name, spec.parameters, spec.effect] for spec in specs)
    return digest_call("catalogue", {"specs": rows})


__all__ = ["Phases", "Progress", "catalogue_digest"]
