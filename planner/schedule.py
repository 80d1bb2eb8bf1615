"""Runs a plan as a DAG: every node starts as soon as its own inputs are there.

One anyio task group, no polling and no barriers. At most ``ctx.limits.concurrency`` workers take ready
calls, the one with the longest path behind it first, within the limits of tools and resources; a worker
that finishes a call goes on with the next, so a chain stays in one task and bookkeeping is O(nodes +
edges), with a heap. The scheduler knows nothing of guards, budgets or journals: it awaits
``handle(step)``, and what that returned is committed before dependents start.

List scheduling along the critical path: "Bounds on Multiprocessing Timing Anomalies" (Graham) holds it
below twice the best schedule.
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
from .frontier import Frontier, identity, unchanged
from .outcomes import blocked, failed, gathered, not_run, substituted
from .ready import Launch, Ready
from .speculate import Guesses
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
        self._frontier = Frontier(self._specs)
        self._launched: dict[str, Launch] = {}
        self._ready = Ready(ctx.limits)
        self._guesses = Guesses(ctx, self._specs, self._ready)
        self._group: TaskGroup | None = None
        self._idle = anyio.Event()
        self._workers = 0
        self._closed = False
        self._halted = ""

    async def run(self, plan: Plan) -> dict[str, StepResult]:
        """Run ``plan`` and return the result of every node, in the order of finishing.

        Raises PlanInvalid when ids are not unique. Cancelling the call keeps ``results``.
        """
        async with self:
            return await self.finish(plan)

    async def __aenter__(self) -> Self:
        """Begin; from here on nodes may be offered."""
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End. Without ``finish``, or after an error (raised as it is, in no group), calls under way are cancelled."""
        group, self._group = self._group, None
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
        before = self._frontier.nodes.get(node.id)
        if before is None:
            ready = self._frontier.add(node, self.results)
            self._lengthen(self._frontier.lengthen(node.id))
            if ready:
                self._begin(node)
        elif identity(before) != identity(node):
            offers = {**self._frontier.nodes, node.id: node}
            self._adopt(offers.values())
        self._spawn()

    async def finish(self, plan: Plan) -> dict[str, StepResult]:
        """Run the rest of the whole, authorised ``plan``; from now on effects may start.

        Offered nodes that are the same in the plan keep their results; others are cancelled and dropped.
        """
        if len({node.id for node in plan.nodes}) < len(plan.nodes):
            raise PlanInvalid(["two nodes have the same id; give every call a number of its own."])
        self._closed = True
        self._adopt(plan.nodes)
        self._spawn()
        self._rest_if_idle()
        await self._idle.wait()
        ids = {node.id for node in plan.nodes}
        return {id: result for id, result in self.results.items() if id in ids}

    def _adopt(self, nodes: Iterable[Node]) -> None:
        """Make ``nodes`` the plan and keep what was done or is under way for the ones that did not change."""
        old, nodes = self._frontier.nodes, list(nodes)
        keep = unchanged(old, nodes)
        self._guesses.keep(keep)
        for id, launch in list(self._launched.items()):
            held = self._closed and launch.spec.effect is not Effect.READ
            if id not in keep or held:
                launch.drop()
                self._ready.remove(launch)
                del self._launched[id]
        for id in [id for id in self.results if id in old and id not in keep and id not in self._known]:
            del self.results[id]
        frontier = self._frontier = Frontier(self._specs)
        begins = []
        for node in nodes:
            if node.id in self.results or node.id in self._launched:
                frontier.keep(node)
            elif frontier.add(node, self.results):
                begins.append(node)
        frontier.measure()
        self._lengthen(self._launched)
        for node in begins:
            self._begin(node)

    def _lengthen(self, ids: Iterable[str]) -> None:
        """Let those of ``ids`` whose calls wait for a worker know what is behind them now."""
        for id in ids:
            if launch := self._launched.get(id):
                self._ready.lengthen(launch, tail=self._frontier.tail(id), place=self._frontier.place(id))

    def _begin(self, node: Node) -> None:
        """Start a node whose parents have finished, or settle it (and what follows from that) at once."""
        result = self._admit(node)
        if result is not None:
            self._attempts.report(node, node.id, result)
            self._settle(node.id, result)

    def _settle(self, id: str, result: StepResult) -> None:
        """Keep a node's final result and begin what waited for it; a loop, because chains may be long."""
        settled = [(id, result)]
        while settled:
            id, result = settled.pop()
            self.results[id] = result
            for child in self._frontier.finish(id):
                now = self._admit(child)
                if now is not None:
                    self._attempts.report(child, child.id, now)
                    settled.append((child.id, now))

    def _admit(self, node: Node) -> StepResult | None:
        """Make the calls of a ready node ready and return None, or return the result it has without any."""
        id, spec = node.id, self._specs.get(node.tool)
        try:
            stopped = blocked(node, self._frontier.parents(id), self.results)
            if stopped is not None or self._halted:
                return stopped if stopped is None else self._guesses.vain(id, stopped)
            if spec is None:
                raise UnknownName("tool", node.tool, list(self._specs))
            if node.when is not None and not holds(node, self.results):
                return self._guesses.vain(id, StepResult(status="skipped"))
            guessed = self._guesses.needed(id)
            if isinstance(guessed, StepResult):
                return guessed
            if guessed is not None:
                self._launched[id] = guessed
                return None
            launch = Launch(node, spec, place=self._frontier.place(id), tail=self._frontier.tail(id))
            if node.over is not None:
                launch.items = elements(node, self.results)
                launch.left = len(launch.items)
                launch.parts = [None] * launch.left
                if not launch.items:
                    return StepResult(value=[], label=Label(sources=("tool",)))
        except Exception as error:
            result = self._guesses.vain(id, failed(error, node.tool))
            # A substitute of a map is one element's value, not the list's.
            return result if node.over is not None else substituted(node, result)
        self._launched[id] = launch
        if self._closed or spec.effect is Effect.READ:
            if launch.items is not None:
                self._attempts.started(node, id)
            self._ready.push(launch)
        return None

    def _spawn(self) -> None:
        """Give calls that may start to new workers, as far as both allow."""
        if not self._halted:
            self._guesses.consider(self._frontier.near(), self._frontier, self.results)
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
        node = launch.node
        if launch.guess:
            if (found := self._guesses.end(launch, result)) is not None:
                self._attempts.report(node, node.id, found)
                del self._launched[node.id]
                self._settle(node.id, found)
            elif self._launched.get(node.id) is launch:
                del self._launched[node.id]
                self._begin(node)
            return
        if result.status == "spent":
            self._halt("the budget is spent")
        if launch.items is not None:
            launch.parts[at] = result
            launch.left -= 1
            if launch.left:
                return
            result = gathered(node.id, [part for part in launch.parts if part is not None])
            self._attempts.report(node, node.id, result)
        del self._launched[node.id]
        if result.status == "failed" and node.policy.on_failure == "stop":
            self._halt(f"{node.id} failed: {result.failure.message if result.failure else ''}")
        self._settle(node.id, result)

    def _halt(self, reason: str) -> None:
        """Start nothing more; what runs may finish."""
        self._halted = self._halted or reason
        self._ready.clear()
        self._guesses.stop()

    def _rest_if_idle(self) -> None:
        """Notice the end: nothing runs and nothing is ready. What still waits now will never start."""
        if self._workers or not self._closed or self._group is None:
            return
        for node in self._frontier.nodes.values():
            if node.id not in self.results:
                result = self._left_over(node)
                self.results[node.id] = result
                self._attempts.report(node, node.id, result)
        self._idle.set()

    def _left_over(self, node: Node) -> StepResult:
        if not self._halted:
            return not_run("not run because it waits for a node that is not there, or for itself", status="failed")
        never = not_run(f"not run because {self._halted}")
        launch = self._launched.get(node.id)
        if launch is None or launch.items is None:
            return never
        return gathered(node.id, [part or never for part in launch.parts])

    async def _call(self, launch: Launch, at: int) -> StepResult:
        """One call with its attempts; in a scope of its own while the plan may still change."""
        if self._closed and not launch.guess:
            return await self._attempts.make(launch, at, self.results)
        with anyio.CancelScope() as scope:
            launch.scopes.append(scope)
            if launch.guess:
                self._guesses.begin(launch, scope)
                return await self._attempts.guess(launch, self.results)
            return await self._attempts.make(launch, at, self.results)
        result = not_run("not finished because the plan changed")
        if launch.dropped and not launch.guess:
            self._attempts.report(launch.node, path_of(launch, at), result)
        return result
