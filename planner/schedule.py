"""Runs a plan as a DAG: every node starts as soon as its own inputs are there.

One anyio task group, no polling and no barriers. At most ``ctx.limits.concurrency`` workers take ready calls, the one
with the longest path behind it first, within the limits of tools and resources; a worker that finishes a call goes on
with the next, so a chain stays in one task and bookkeeping is O(nodes + edges), with a heap. The scheduler knows
nothing of guards, budgets or journals: it awaits ``handle(step)``, and what that returned is committed before
dependents start.

List scheduling along the critical path: "Bounds on Multiprocessing Timing Anomalies" (Graham): below twice the best.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from ..errors import PlanInvalid, UnknownName
from ..protocols import Ctx, Handler
from ..steps import Effect, Label, Node, Plan, StepResult
from .attempts import Attempts, path_of
from .courses import Courses
from .frontier import Frontier, identity, unchanged
from .outcomes import blocked, failed, gathered, never_run, not_run, over_limit, substituted
from .ready import Launch, Ready
from .speculate import Guesses
from .turns import Course, Frame, drop, embark, left_over
from .validate import Specs, named
from .values import elements, holds

_FINAL = {"done", "failed", "skipped"}
_BREATH = 64
"""Calls after which a worker lets others in even when no call ever waited."""


class Scheduler:
    """Runs nodes through ``handle``, whole plans or while they are being written.

    ``results`` holds what has finished, in the order of finishing, at any moment: also after a
    cancellation from outside, which stops the calls under way and keeps the rest. Time-outs travel on
    ``Step.timeout`` and are kept by the innermost handler, so that a person's answer or a commit never
    counts against a tool's time. A handler that raises makes its node fail, nothing else; what a failure
    means for other nodes is the node's ``policy.on_failure``.
    """

    def __init__(
        self,
        handle: Handler,
        ctx: Ctx,
        specs: Specs,
        *,
        revision: int = 0,
        known: Mapping[str, StepResult] | None = None,
    ) -> None:
        """Take the pipeline, its context and the tools; ``known`` are results by node id, not run again."""
        self._concurrency = ctx.limits.concurrency
        self._specs = named(specs)
        self._known = {id: result for id, result in (known or {}).items() if result.status in _FINAL}
        self.results: dict[str, StepResult] = dict(self._known)
        self._attempts = Attempts(handle, ctx, revision, lambda: self._halted)
        self._root = Frame(Frontier(self._specs), self.results, self.results)
        self._due: list[tuple[Frame, str, StepResult]] = []
        self._ready = Ready(ctx.limits)
        self._guesses = Guesses(ctx, self._specs, self._ready)
        self._most, self._made = ctx.limits.max_nodes, 0  # calls of maps and bodies so far
        self._group: TaskGroup | None = None
        self._idle = anyio.Event()
        self._workers = 0
        self._closed = False
        self._halted = ""
        self._ends: set[str] = set()  # ids after which the plan ends
        self._cut: tuple[int, StepResult] | None = None  # where it ended, and the result of what is written after
        self._courses = Courses(self._ready, self._begin, self._over, self._go_on)

    async def run(self, plan: Plan) -> dict[str, StepResult]:
        """Run ``plan`` and return the result of every node, in the order of finishing.

        Raises PlanInvalid when ids are not unique. Cancelling the call keeps ``results``.
        """
        async with self:
            return await self.finish(plan)

    async def __aenter__(self) -> Self:
        """Begin; from here on nodes may be offered."""
        self._group = self._courses.group = anyio.create_task_group()
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End. Without ``finish``, or after an error (raised as it is, in no group), calls under way are cancelled."""
        group, self._group, self._courses.group = self._group, None, None
        assert group is not None
        if not self._idle.is_set():
            self._halt("the run was stopped")
            group.cancel_scope.cancel()
        if error is None or isinstance(error, Exception):
            await group.__aexit__(None, None, None)
        else:
            await group.__aexit__(kind, error, trace)

    def offer(self, node: Node) -> None:
        """Take a node of a plan that is still being written; it starts now if it only reads and is ready.

        A node with the id of an earlier offer replaces it: the same call goes on, another one is
        cancelled together with what depends on it.
        """
        if node.id in self._known:
            return
        root = self._root
        before = root.frontier.nodes.get(node.id)
        if before is None:
            if node.ends:
                self._ends.add(node.id)
            ready = root.frontier.add(node, self.results)
            self._lengthen(root.frontier.lengthen(node.id))
            if ready:
                self._begin(root, node)
                self._settle()
        elif identity(before) != identity(node):
            offers = {**root.frontier.nodes, node.id: node}
            self._adopt(offers.values())
        self._spawn()

    async def finish(self, plan: Plan) -> dict[str, StepResult]:
        """Run the rest of the whole, authorised ``plan``; from now on effects may start.

        Offered nodes that are the same in the plan keep their results; others are cancelled and dropped.
        """
        ids = [node.id for node in plan.every()]
        if len(set(ids)) < len(ids):
            raise PlanInvalid(["two nodes have the same id; give every call a number of its own."])
        self._closed = True
        self._adopt(plan.nodes)
        self._spawn()
        self._rest_if_idle()
        await self._idle.wait()
        return {id: result for id, result in self.results.items() if id in self._root.frontier.nodes}

    def _adopt(self, nodes: Iterable[Node]) -> None:
        """Make ``nodes`` the plan and keep what was done or is under way for the ones that did not change."""
        root, nodes = self._root, list(nodes)
        old = root.frontier.nodes
        keep = unchanged(old, nodes)
        self._guesses.keep(keep)
        for id, launch in list(root.launched.items()):
            held = self._closed and launch.effect is not Effect.READ
            if id not in keep or held:
                drop(launch, self._ready)
                del root.launched[id]
        for id in [id for id in self.results if id in old and id not in keep and id not in self._known]:
            del self.results[id]
        frontier = root.frontier = Frontier(self._specs)
        self._ends = {node.id for node in nodes if node.ends and node.id not in self._known}
        begins = []
        for node in nodes:
            if node.id in self.results or node.id in root.launched:
                frontier.keep(node)
            elif frontier.add(node, self.results):
                begins.append(node)
        frontier.measure()
        self._lengthen(root.launched)
        for id in self._ends & self.results.keys():
            self._end(id, self.results[id])
        for node in begins:
            self._begin(root, node)
        self._settle()

    def _lengthen(self, ids: Iterable[str]) -> None:
        """Let those of ``ids`` whose calls wait for a worker know what is behind them now."""
        root = self._root
        for id in ids:
            launch = root.launched.get(id)
            if isinstance(launch, Launch):
                self._ready.lengthen(launch, tail=root.behind(id), place=root.rank(id))

    def _begin(self, frame: Frame, node: Node) -> None:
        """Start a node whose parents have finished, or let its result be due at once."""
        result = self._admit(frame, node)
        if result is not None:
            self._attempts.report(node, frame.path + node.id, result)
            self._due.append((frame, node.id, result))

    def _settle(self) -> None:
        """Keep the results that are due and begin what waited for them; a loop, because chains may be long."""
        due = self._due
        while due:
            frame, id, result = due.pop()
            if frame.dropped:
                continue
            frame.results[id] = result
            if id in self._ends:
                self._end(id, result)
            for child in frame.frontier.finish(id):
                now = self._admit(frame, child)
                if now is not None:
                    self._attempts.report(child, frame.path + child.id, now)
                    due.append((frame, child.id, now))
            if frame.course is not None:
                frame.left -= 1
                if not frame.left:
                    self._courses.turn_over(frame.course, frame)

    def _admit(self, frame: Frame, node: Node) -> StepResult | None:
        """Make the calls of a ready node ready and return None, or return the result it has without any."""
        try:
            stopped = self._stopped(frame, node)
            if stopped is not None:
                return self._guesses.vain(node.id, stopped)
            if self._halted:
                return None
            guessed = self._guesses.needed(node.id)
            if isinstance(guessed, Launch):
                frame.launched[node.id] = guessed
                return None
            return guessed or self._launch(frame, node)
        except Exception as error:
            result = self._guesses.vain(node.id, failed(error, node.tool))
            # A substitute of a map is one element's value, not the list's.
            return result if node.over is not None else substituted(node, result)

    def _stopped(self, frame: Frame, node: Node) -> StepResult | None:
        """What came of a node that is not to run."""
        if self._cut is not None and frame.course is None and frame.rank(node.id) > self._cut[0]:
            return self._cut[1]
        stopped = blocked(node, frame.frontier.parents(node.id), frame.scope)
        if stopped is not None or self._halted:
            return stopped
        if node.tool not in self._specs and node.body is None:
            raise UnknownName("tool", node.tool, list(self._specs))
        if node.when is not None and not holds(node, frame.scope):
            return StepResult(status="skipped")
        return None

    def _launch(self, frame: Frame, node: Node) -> StepResult | None:
        id, spec = node.id, self._specs.get(node.tool)
        items = None if node.over is None else elements(node, frame.scope)
        if spec is None:
            course = embark(frame, node, self._specs, items, self._concurrency)
            frame.launched[id] = course
            if self._closed or course.effect is Effect.READ:
                self._attempts.started(node, course.path)
                self._courses.advance(course)
            return None
        launch = Launch(node, spec, place=frame.rank(id), tail=frame.behind(id), frame=frame)
        if items is not None:
            if not items:
                return StepResult(value=[], label=Label(sources=("tool",)))
            launch.items, launch.left, launch.parts = items, len(items), [None] * len(items)
        if (items is not None or frame.course is not None) and (spent := self._count(launch.size, frame, id)):
            return spent
        frame.launched[id] = launch
        if self._closed or spec.effect is Effect.READ:
            if items is not None:
                self._attempts.started(node, frame.path + id)
            self._ready.push(launch)
        return None

    def _count(self, calls: int, frame: Frame, id: str) -> StepResult | None:
        """Count calls that the plan does not show; the result when they are too many, and then nothing more starts."""
        self._made += calls
        if self._made <= self._most:
            return None
        self._halt("there would be more calls than max_nodes allows")
        return over_limit(frame.path + id, self._made, self._most)

    def _over(self, course: Course, result: StepResult) -> None:
        """Let the result of a body be due."""
        self._attempts.report(course.node, course.path, result)
        self._halt_if_stopped(course.node, result)
        del course.frame.launched[course.node.id]
        self._due.append((course.frame, course.node.id, result))

    def _go_on(self) -> None:
        self._settle()
        self._spawn()
        self._rest_if_idle()

    def _end(self, id: str, result: StepResult) -> None:
        """Skip what is written after ``id`` and has not started."""
        root = self._root
        if not result.ok or (self._cut is not None and self._cut[0] <= root.rank(id)):
            return
        never = StepResult(status="skipped", value=f"not run because the plan ended with {id}")
        self._cut = (root.rank(id), never)
        for other, launch in list(root.launched.items()):
            if root.rank(other) <= self._cut[0] or (isinstance(launch, Launch) and launch.taken == launch.size):
                continue
            drop(launch, self._ready)
            del root.launched[other]
            self._attempts.report(launch.node, other, never)
            self._due.append((root, other, never))

    def _spawn(self) -> None:
        """Give calls that may start to new workers, as far as both allow."""
        if not self._halted:
            self._guesses.consider(self._root.frontier.near(), self._root)
        self._start_workers()
        self._guesses.yield_place(full=self._workers >= self._concurrency)

    def _start_workers(self) -> None:
        while self._workers < self._concurrency:
            taken = self._ready.take()
            if taken is None:
                return
            assert self._group is not None, "enter the scheduler before offering nodes"
            self._workers += 1
            self._group.start_soon(self._work, *taken)

    async def _work(self, launch: Launch, at: int) -> None:
        calls = 0
        taken: tuple[Launch, int] | None = (launch, at)
        try:
            while taken is not None:
                launch, at = taken
                result = None if launch.dropped or self._halted else await self._call(launch, at)
                self._ready.release(launch)
                if result is not None and not launch.dropped:
                    self._came_back(launch, at, result)
                taken = self._ready.take()
                self._spawn()
                calls += 1
                if calls % _BREATH == 0:
                    await anyio.lowlevel.checkpoint()
        finally:
            self._workers -= 1
        self._rest_if_idle()

    def _came_back(self, launch: Launch, at: int, result: StepResult) -> None:
        node, frame = launch.node, launch.frame
        if launch.guess:
            self._guessed(launch, result)
            return
        if result.status == "spent":
            self._halt("the budget is spent")
        if launch.items is not None:
            launch.parts[at] = result
            launch.left -= 1
            if launch.left:
                return
            result = gathered(frame.path + node.id, [part for part in launch.parts if part is not None])
            self._attempts.report(node, frame.path + node.id, result)
        del frame.launched[node.id]
        self._halt_if_stopped(node, result)
        self._due.append((frame, node.id, result))
        self._settle()

    def _guessed(self, launch: Launch, result: StepResult) -> None:
        """Take in a call that was made before its condition was known."""
        node, frame = launch.node, launch.frame
        if (found := self._guesses.end(launch, result)) is not None:
            self._attempts.report(node, node.id, found)
            del frame.launched[node.id]
            self._due.append((frame, node.id, found))
        elif frame.launched.get(node.id) is launch:
            del frame.launched[node.id]
            self._begin(frame, node)
        self._settle()

    def _halt_if_stopped(self, node: Node, result: StepResult) -> None:
        if result.status == "failed" and node.policy.on_failure == "stop":
            self._halt(f"{node.id} failed: {result.failure.message if result.failure else ''}")

    def _halt(self, reason: str) -> None:
        """Start nothing more; what runs may finish."""
        self._halted = self._halted or reason
        self._ready.clear()
        self._guesses.stop()
        self._courses.stop()

    def _rest_if_idle(self) -> None:
        """Notice the end: nothing runs and nothing is ready. What still waits now will never start."""
        if self._workers or self._courses.pausing or not self._closed or self._group is None:
            return
        for node in self._root.frontier.nodes.values():
            if node.id not in self.results:
                result = left_over(self._root, node, never_run(self._halted))
                self.results[node.id] = result
                self._attempts.report(node, node.id, result)
        self._idle.set()

    async def _call(self, launch: Launch, at: int) -> StepResult:
        """One call with its attempts; in a scope of its own while it may turn out not to be needed."""
        if self._closed and not launch.frame.tentative and not launch.guess:
            return await self._attempts.make(launch, at)
        with anyio.CancelScope() as scope:
            launch.scopes.append(scope)
            if launch.guess:
                self._guesses.begin(launch, scope)
                return await self._attempts.guess(launch)
            return await self._attempts.make(launch, at)
        result = not_run("not finished because nothing needs it any more")
        if launch.dropped and not launch.guess:
            self._attempts.report(launch.node, path_of(launch, at), result)
        return result
