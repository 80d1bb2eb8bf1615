"""The phases of a run: recall, plan and run, join, learn. ``graph.py`` says in which order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import PlanInvalid, PolicyDenied, ShuntyardError
from ..events import Answered, Replanned
from ..messages import Usage
from ..planner.join import join, marked
from ..planner.schedule import Scheduler
from ..planner.targets import targets
from ..planner.values import ends
from ..protocols import Ctx, Handler
from ..steps import Failure, Plan, RunStatus, Trajectory
from .absent import absent, unreplaced
from .calls import StepStopped
from .clock import now
from .dispatch import failure_of
from .planning import Planning, Progress, catalogue_digest
from .predicted import predicted
from .rooms import Rooms
from .verdicts import broken, nothing

_STOPS: tuple[RunStatus, ...] = ("spent", "doubt", "waiting", "denied")
"""Statuses of nodes that end a run before its join, the gravest first."""


class Phases:
    """The phases of one run over its rooms and its pipeline."""

    def __init__(self, rooms: Rooms, handle: Handler, ctx: Ctx, progress: Progress) -> None:
        """Work on ``progress``."""
        self._rooms = rooms
        self._handle = handle
        self._ctx = ctx
        self.progress = progress
        self._planning = Planning(rooms, handle, ctx, progress)

    async def recall(self) -> None:
        """Look for earlier tasks like this one, and settle how it is planned."""
        await self._planning.choose()

    async def work(self) -> None:
        """Have the planner make its move and run its plan; reads start while it is being written."""
        progress = self.progress
        revision = progress.plan.revision + 1 if progress.plan is not None else 0
        scheduler = Scheduler(
            self._handle, self._ctx, self._rooms.specs, revision=revision, known=dict(progress.results)
        )
        try:
            async with scheduler:
                move = await self._planning.move(revision, scheduler.offer)
                if move.plan.refusal:
                    self._refused(move.plan)
                else:
                    # A planner that has nothing to add has nothing to add when it is asked again.
                    progress.final |= progress.plan is not None and move.plan.nodes == progress.plan.nodes
                    progress.move, progress.plan, progress.reason = move, move.plan, ""
                    progress.predicted = progress.predicted or predicted(move.plan, self._rooms, self._ctx.limits)
                    await self._authorise(move.plan)
                    await scheduler.finish(move.plan)
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
        """Have the planner make its first move and check it against the policy, without running anything of it."""
        move = self.progress.move = await self._planning.move(0, lambda node: None)
        if not move.plan.refusal:
            await self._authorise(move.plan)
        return move.plan

    async def join(self) -> None:
        """Turn the results into an answer, or into a reason to extend the plan; nothing while the planner goes on."""
        progress = self.progress
        assert progress.plan is not None
        plan, move = progress.plan, progress.move
        if move is not None and move.answer:
            # A call that failed was seen and, where it mattered, made again; what counts is what the answer rests on.
            done = tuple(node for node in plan.nodes if progress.results[node.id].ok)
            progress.plan = plan.model_copy(update={"nodes": done}) if done else plan
            self._answer(progress.plan, marked(move.answer, progress.task, plan, progress.results))
            return
        if move is not None and move.again and not progress.final:
            return
        may_replan = progress.extended < self._ctx.limits.max_replans and plan.origin != "person" and not progress.final
        gone = self._gone()
        if may_replan and (why := broken(plan, progress.results, gone)):
            self._extend(plan, why)
        elif told := nothing(plan, progress.results):
            self._answer(plan, told)
        else:
            await self._join(plan, gone, may_replan=may_replan)

    async def _join(self, plan: Plan, gone: Sequence[str], *, may_replan: bool) -> None:
        """Ask the model for the answer; files that the task speaks of and that are not there are told."""
        progress = self.progress
        try:
            joined = await join(
                self._planning.model("join", plan.revision),
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

    def _gone(self) -> tuple[str, ...]:
        """Files that the task speaks of and that are not there, but for those that a person put others in place of."""
        gone = absent(self.progress.task, self._rooms.workspace)
        # From the journal: results of maps and bodies do not tell what was changed of the calls in them.
        made = self._rooms.runs.steps(self._ctx.run) if gone else ()
        verdicts = [step.result.verdict for step in made if step.result is not None]
        return unreplaced(
            gone, [verdict.edit for verdict in verdicts if verdict is not None and verdict.edit is not None]
        )

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

    async def _authorise(self, plan: Plan) -> None:
        """Stop before any effect when a node is denied whatever its inputs turn out to be."""
        verdicts = await self._rooms.gate.review(plan, self._rooms.specs, self._ctx)
        for id, verdict in verdicts.items():
            if verdict.decision == "deny":
                raise PolicyDenied(f"{id} {plan.node(id).tool}: {verdict.reason}", ids={"node": id})

    def _extend(self, plan: Plan, reason: str) -> None:
        self.progress.reason = reason
        self.progress.extended += 1
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


__all__ = ["Phases", "Progress"]
