"""One call of a plan: its arguments, its attempts, what its failure means, and the events that tell of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import anyio

from ..events import StepDone, StepStarted
from ..messages import Usage
from ..protocols import Ctx, Handler
from ..steps import Label, Node, Step, StepKey, StepResult
from .outcomes import asking, failed, labelled, may_have_happened, substituted, summary
from .ready import Launch
from .values import resolve

BODY = "body"
"""What events call a node whose work is a body."""
_NO_COST = Decimal(0)
_NO_USAGE = Usage()


class Attempts:
    """Makes the calls of one run through ``handle`` and reports them; a handler that raises makes its call fail."""

    def __init__(self, handle: Handler, ctx: Ctx, revision: int, halted: Callable[[], str]) -> None:
        """Call as part of ``revision``; nothing is tried again once ``halted`` gives a reason."""
        self._handle = handle
        self._ctx = ctx
        self._revision = revision
        self._halted = halted

    async def make(self, launch: Launch, at: int) -> StepResult:
        """Make call ``at`` of ``launch`` until it succeeds or its attempts are over; only cancelling raises."""
        node = launch.node
        path = path_of(launch, at)
        try:
            item = None if launch.items is None else launch.items[at]
            args, labels = resolve(node, launch.frame.scope, launch.spec, item=item)
        except Exception as error:
            result = substituted(node, failed(error, node.tool))
            self.report(node, path, result)
            return result
        attempt = 1
        while True:
            step = self._step(launch, path, args, labels, attempt)
            self.started(node, path, attempt)
            try:
                result = await self._handle(step, self._ctx)
            except Exception as error:
                result = failed(error, node.tool)
            result = labelled(result, step)
            again = self._again(node, step, result)
            if not again:
                result = asking(node, step, substituted(node, result))
            self.report(node, path, result)
            if not again:
                return result
            attempt = result.attempts + 1
            if not result.replayed:
                await anyio.sleep(min(1.0, 0.05 * 2 ** (attempt - 2)))

    async def guess(self, launch: Launch) -> StepResult:
        """Make the call of ``launch`` before it is known to be needed: once, and without a report."""
        node = launch.node
        try:
            args, labels = resolve(node, launch.frame.scope, launch.spec)
            step = replace(self._step(launch, node.id, args, labels, 1), guess=True)
            self.started(node, node.id)
            return labelled(await self._handle(step, self._ctx), step)
        except Exception as error:
            return failed(error, node.tool)

    def _step(
        self, launch: Launch, path: str, args: Mapping[str, Any], labels: Mapping[str, Label], attempt: int
    ) -> Step:
        node, spec = launch.node, launch.spec
        return Step(
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

    def started(self, node: Node, path: str, attempt: int = 1) -> None:
        """Tell that a call, or a map, is on its way."""
        self._ctx.emit(
            StepStarted(
                run=self._ctx.run, at=time.time(), path=path, name=node.tool or BODY, kind="tool", attempt=attempt
            )
        )

    def report(self, node: Node, path: str, result: StepResult) -> None:
        """Tell what came of a call, a map or a node that was not run."""
        # A map's own event carries no cost, nor does a body's: those of their calls did.
        total = node.body is not None or (node.over is not None and not path.endswith("]"))
        self._ctx.emit(
            StepDone(
                run=self._ctx.run,
                at=time.time(),
                path=path,
                name=node.tool or BODY,
                kind="tool",
                status=result.status,
                seconds=result.seconds,
                cost=_NO_COST if total else result.cost,
                usage=_NO_USAGE if total else result.usage,
                failure=result.failure,
                replayed=result.replayed,
                summary=summary(result.value),
            )
        )

    def _again(self, node: Node, step: Step, result: StepResult) -> bool:
        """True for a retryable failure with attempts left; an effect that ran out of time may have happened."""
        failure = result.failure
        if result.status != "failed" or failure is None or self._halted():
            return False
        if may_have_happened(step, result) or (result.verdict is not None and result.verdict.by == "person"):
            return False
        if result.replayed and node.policy.on_failure == "ask" and step.attempt == 1:
            # Whoever resumes a run that asked was told that this tries again.
            return True
        return failure.retryable and result.attempts <= node.policy.retries


def path_of(launch: Launch, at: int) -> str:
    """Where call ``at`` of ``launch`` stands in the journal."""
    path = launch.frame.path + launch.node.id
    return path if launch.items is None else f"{path}[{at}]"
