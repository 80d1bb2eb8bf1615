"""Runs a plan as a DAG: every node starts as soon as its own inputs are there.

One anyio task group, no polling and no barriers. At most ``ctx.limits.concurrency`` workers take
ready calls from one queue; a worker that finishes a call goes on with what it made ready, so a chain
stays in one task and bookkeeping is O(nodes + edges). The scheduler knows nothing of guards, budgets
or journals: it awaits ``handle(step)``, and what that returned is committed before dependents start.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from ..errors import PlanInvalid, UnknownName
from ..events import StepDone, StepStarted
from ..messages import Usage
from ..protocols import Ctx, Handler
from ..steps import Effect, Label, Node, Plan, Step, StepKey, StepResult, ToolSpec
from .frontier import Frontier, identity, unchanged
from .outcomes import blocked, failed, gathered, labelled, not_run, summary
from .validate import Specs, named
from .values import elements, holds, resolve

_FINAL = {"done", "failed", "skipped"}
_BREATH = 64
"""Calls after which a worker lets others in even when no call ever waited."""


@dataclass(slots=True)
class _Launch:
    """A node on its way: one call, or one call per element."""

    node: Node
    spec: ToolSpec
    items: list[Any] | None = None
    parts: list[StepResult | None] = field(default_factory=list)
    left: int = 1
    dropped: bool = False
    scopes: list[anyio.CancelScope] = field(default_factory=list)

    def drop(self) -> None:
        """Stop it; whatever it still returns is thrown away."""
        self.dropped = True
        for scope in self.scopes:
            scope.cancel()


class Scheduler:
    """Runs nodes through ``handle``, whole plans or while they are being written.

    ``results`` holds what has finished, in the order of finishing, at any moment: also after a
    cancellation from outside, which stops the calls under way and keeps the rest. Time-outs travel on
    ``Step.timeout`` and are kept by the innermost handler, so that a person's answer or a commit never
    counts against a tool's time. A handler that raises makes its node fail, nothing else.
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
        self._handle = handle
        self._ctx = ctx
        self._specs = named(specs)
        self._revision = revision
        self._known = {id: result for id, result in (known or {}).items() if result.status in _FINAL}
        self.results: dict[str, StepResult] = dict(self._known)
        self._frontier = Frontier()
        self._launched: dict[str, _Launch] = {}
        self._ready: deque[tuple[_Launch, int]] = deque()
        self._group: TaskGroup | None = None
        self._idle = anyio.Event()
        self._workers = 0
        self._starting = 0
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
            if self._frontier.add(node, self.results):
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
        for id, launch in list(self._launched.items()):
            held = self._closed and launch.spec.effect is not Effect.READ
            if id not in keep or held:
                launch.drop()
                del self._launched[id]
        for id in [id for id in self.results if id in old and id not in keep and id not in self._known]:
            del self.results[id]
        self._frontier = Frontier()
        for node in nodes:
            if node.id in self.results or node.id in self._launched:
                self._frontier.nodes[node.id] = node
            elif self._frontier.add(node, self.results):
                self._begin(node)

    def _begin(self, node: Node) -> None:
        """Start a node whose parents have finished, or settle it (and what follows from that) at once."""
        result = self._admit(node)
        if result is not None:
            self._report(node, node.id, result)
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
                    self._report(child, child.id, now)
                    settled.append((child.id, now))

    def _admit(self, node: Node) -> StepResult | None:
        """Queue the calls of a ready node and return None, or return the result it has without any."""
        spec = self._specs.get(node.tool)
        try:
            stopped = blocked(node, self.results)
            if stopped is not None or self._halted:
                return stopped
            if spec is None:
                raise UnknownName("tool", node.tool, list(self._specs))
            if node.when is not None and not holds(node, self.results):
                return StepResult(status="skipped")
            launch = _Launch(node, spec)
            if node.over is not None:
                launch.items = elements(node, self.results)
                launch.left = len(launch.items)
                launch.parts = [None] * launch.left
                if not launch.items:
                    return StepResult(value=[], label=Label(sources=("tool",)))
        except Exception as error:
            return failed(error, node.tool)
        self._launched[node.id] = launch
        if self._closed or spec.effect is Effect.READ:
            self._queue(launch)
        return None

    def _queue(self, launch: _Launch) -> None:
        if launch.items is None:
            self._ready.append((launch, -1))
            return
        self._started(launch.node, launch.node.id, 1)
        self._ready.extend((launch, at) for at in range(len(launch.items)))

    def _spawn(self, *, keep: int = 0) -> None:
        """Start workers for the queue, but for the ``keep`` calls that the caller takes itself."""
        assert self._group is not None or not self._ready, "enter the scheduler before offering nodes"
        wanted = len(self._ready) - keep - self._starting
        for _ in range(min(wanted, self._ctx.limits.concurrency - self._workers)):
            assert self._group is not None
            self._workers += 1
            self._starting += 1
            self._group.start_soon(self._work)

    async def _work(self) -> None:
        self._starting -= 1
        calls = 0
        try:
            while self._ready:
                launch, at = self._ready.popleft()
                if launch.dropped:
                    continue
                result = await self._call(launch, at)
                if not launch.dropped:
                    self._came_back(launch, at, result)
                self._spawn(keep=1)
                calls += 1
                if calls % _BREATH == 0:
                    await anyio.lowlevel.checkpoint()
        finally:
            self._workers -= 1
        self._rest_if_idle()

    def _came_back(self, launch: _Launch, at: int, result: StepResult) -> None:
        node = launch.node
        if result.status == "spent":
            self._halt("the budget is spent")
        if launch.items is not None:
            launch.parts[at] = result
            launch.left -= 1
            if launch.left:
                return
            result = gathered(node.id, [part for part in launch.parts if part is not None])
            self._report(node, node.id, result)
        del self._launched[node.id]
        if result.status == "failed" and node.policy.on_failure == "stop":
            self._halt(f"{node.id} failed: {result.failure.message if result.failure else ''}")
        self._settle(node.id, result)

    def _halt(self, reason: str) -> None:
        """Start nothing more; what runs may finish."""
        self._halted = self._halted or reason
        self._ready.clear()

    def _rest_if_idle(self) -> None:
        """Notice the end: nothing runs and nothing is ready. What still waits now will never start."""
        if self._workers or self._ready or not self._closed:
            return
        for node in self._frontier.nodes.values():
            if node.id not in self.results:
                result = self._left_over(node)
                self.results[node.id] = result
                self._report(node, node.id, result)
        self._idle.set()

    def _left_over(self, node: Node) -> StepResult:
        if not self._halted:
            return not_run("not run because it waits for a node that is not there, or for itself", status="failed")
        never = not_run(f"not run because {self._halted}")
        launch = self._launched.get(node.id)
        if launch is None or launch.items is None:
            return never
        return gathered(node.id, [part or never for part in launch.parts])

    async def _call(self, launch: _Launch, at: int) -> StepResult:
        """One call with its retries; in a scope of its own while the plan may still change."""
        if self._closed:
            return await self._attempts(launch, at)
        with anyio.CancelScope() as scope:
            launch.scopes.append(scope)
            return await self._attempts(launch, at)
        result = not_run("not finished because the plan changed")
        if launch.dropped:
            self._report(launch.node, _path(launch, at), result)
        return result

    async def _attempts(self, launch: _Launch, at: int) -> StepResult:
        node, spec = launch.node, launch.spec
        path = _path(launch, at)
        try:
            item = None if launch.items is None else launch.items[at]
            args, labels = resolve(node, self.results, spec, item=item)
        except Exception as error:
            result = failed(error, node.tool)
            self._report(node, path, result)
            return result
        attempt = 1
        while True:
            step = Step(
                key=StepKey(self._ctx.run, self._revision, path),
                kind="tool",
                name=node.tool,
                args=args,
                effect=spec.effect,
                idempotent=spec.idempotent,
                timeout=node.policy.timeout or spec.timeout,
                attempt=attempt,
                labels=labels,
            )
            result = await self._attempt(node, step)
            if not self._again(node, step, result):
                return result
            attempt = result.attempts + 1
            await anyio.sleep(min(1.0, 0.05 * 2 ** (attempt - 2)))

    async def _attempt(self, node: Node, step: Step) -> StepResult:
        self._started(node, step.key.path, step.attempt)
        try:
            result = await self._handle(step, self._ctx)
        except Exception as error:
            result = failed(error, node.tool)
        result = labelled(result, step)
        self._report(node, step.key.path, result)
        return result

    def _again(self, node: Node, step: Step, result: StepResult) -> bool:
        """True for a retryable failure with attempts left; an effect that ran out of time may have happened."""
        failure = result.failure
        if result.status != "failed" or failure is None or not failure.retryable or self._halted:
            return False
        if failure.code == "tool_timeout" and step.effect is not Effect.READ and not step.idempotent:
            return False
        return result.attempts <= node.policy.retries

    def _started(self, node: Node, path: str, attempt: int) -> None:
        self._ctx.emit(
            StepStarted(run=self._ctx.run, at=time.time(), path=path, name=node.tool, kind="tool", attempt=attempt)
        )

    def _report(self, node: Node, path: str, result: StepResult) -> None:
        # A map's own event carries no cost: its elements' events did.
        total = node.over is not None and path == node.id
        self._ctx.emit(
            StepDone(
                run=self._ctx.run,
                at=time.time(),
                path=path,
                name=node.tool,
                kind="tool",
                status=result.status,
                seconds=result.seconds,
                cost=Decimal(0) if total else result.cost,
                usage=Usage() if total else result.usage,
                failure=result.failure,
                replayed=result.replayed,
                summary=summary(result.value),
            )
        )


def _path(launch: _Launch, at: int) -> str:
    return launch.node.id if at < 0 else f"{launch.node.id}[{at}]"
