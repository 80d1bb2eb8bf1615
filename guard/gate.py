"""The gate on every tool call: judge, ask where a rule says ask, and fail closed.

A person's yes is kept with the digest of the exact arguments: it holds for that call and no other. Where a
person answers with other arguments, those are checked and judged before they take the place of the planned ones.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from ..errors import ApprovalNeeded, EditInvalid, PolicyDenied
from ..events import ApprovalAsked, Guarded
from ..protocols import Approvals, Approver, Ctx, Edited, Gate, Handler
from ..settings import FILE
from ..steps import Bound, Failure, Label, Node, Plan, Step, StepResult, ToolSpec, Verdict, digest_call
from .approve import FlagApprover
from .edits import Check, edited, keep, told
from .redact import Redactor
from .rules import Call, Rule, first_match, places

_PREVIEW = 400
_TRIES = 3
"""Times that a person who is there may give arguments for one call."""
_LATER = "Some of its values are not known yet; it is judged again when it runs."


class PolicyGate:
    """Judges calls by rules, in order, on their real values; what no rule matches is denied."""

    def __init__(self, rules: Sequence[Rule], *, workspace: Path | None = None) -> None:
        """Keep the rules; ``workspace`` overrides the run's own."""
        self._rules = tuple(rules)
        self._workspace = None if workspace is None else workspace.resolve()

    async def judge(self, step: Step, spec: ToolSpec, ctx: Ctx) -> Verdict:
        """Decide on one call. Anything that goes wrong while judging is a deny, never an error."""
        try:
            found = places(spec, step.args, self._workspace or ctx.workspace) if spec.paths else {}
            call = Call(tool=spec.name, effect=spec.effect, args=step.args, places=found, labels=step.labels)
            rule, _ = first_match(self._rules, call)
            digest = step.digest
        except Exception as error:
            return _failed_closed(spec.name, error)
        note = "" if rule is None or rule.decision == "allow" else flow(call.labels)
        return _verdict(rule, spec.name, digest, note)

    async def review(self, plan: Plan, specs: Mapping[str, ToolSpec], ctx: Ctx) -> Mapping[str, Verdict]:
        """Decide on a plan's nodes as far as literals tell; each is judged again with its values when it runs."""
        return {node.id: self._review(node, specs.get(node.tool), ctx) for node in plan.every() if node.body is None}

    def _review(self, node: Node, spec: ToolSpec | None, ctx: Ctx) -> Verdict:
        if spec is None:
            return _unknown(node.tool)
        pending = frozenset(name for name, value in node.args.items() if _refers(value))
        known = {name: value for name, value in node.args.items() if name not in pending}
        try:
            found = places(spec, known, self._workspace or ctx.workspace)
            # A path that is still to come may lead anywhere.
            found.update({name: () for name in spec.paths if name in pending})
            call = Call(tool=spec.name, effect=spec.effect, args=known, places=found, pending=pending)
            rule, certain = first_match(self._rules, call)
            digest = digest_call(node.tool, node.args)
        except Exception as error:
            return _failed_closed(node.tool, error)
        verdict = _verdict(rule, spec.name, digest, "")
        if certain:
            return verdict
        if verdict.decision == "deny":
            # An earlier rule may still allow it: a plan is refused only for what no value can mend.
            return Verdict(decision="ask", rule="undecided", reason=_LATER, args_digest=digest)
        return verdict.model_copy(update={"reason": f"{verdict.reason} {_LATER}"})


def guarded(
    gate: Gate,
    specs: Mapping[str, ToolSpec],
    approvals: Approvals,
    approver: Approver | None = None,
    *,
    approve: Collection[str] = (),
    redact: Callable[[str], str] | None = None,
    check: Check | None = None,
) -> Callable[[Handler], Handler]:
    """Return the wrapper that lets a tool call pass only when ``gate`` or a person allows it.

    An ``ask`` is answered by a recorded decision on exactly these arguments, then by ``approve`` (tool names
    or globs, from the flag), then by ``approver`` (one question at a time), else it is recorded and the step
    waits. A decision may put other arguments in the place of the planned ones; ``check`` (a Toolset's) and the
    gate look at them first. Model calls pass. Whatever fails on the way is a deny. Previews are redacted with
    ``redact`` (default: a ``Redactor``).
    """
    text = redact or Redactor().text
    desk = _Desk(gate, specs, approvals, approver, FlagApprover(approve), text, check, anyio.Lock())

    def wrap(handle: Handler) -> Handler:
        def guard(step: Step, ctx: Ctx) -> Awaitable[StepResult]:
            if step.kind == "model":
                return handle(step, ctx)
            return desk.pass_on(step, ctx, handle)

        return guard

    return wrap


@dataclass(slots=True)
class _Desk:
    gate: Gate
    specs: Mapping[str, ToolSpec]
    approvals: Approvals
    approver: Approver | None
    flag: FlagApprover
    redact: Callable[[str], str]
    check: Check | None
    lock: anyio.Lock

    async def pass_on(self, step: Step, ctx: Ctx, handle: Handler) -> StepResult:
        spec = self.specs.get(step.name)
        try:
            verdict = _unknown(step.name) if spec is None else await self.gate.judge(step, spec, ctx)
            if step.guess and verdict.decision != "allow":
                # Perhaps it will never be needed: nobody is asked, nothing is told.
                return StepResult(status="cancelled", verdict=verdict)
            _tell(step, ctx, verdict)
            if verdict.decision == "ask" and spec is not None:
                answer = await self._ask(step, spec, ctx, verdict)
                if isinstance(answer, StepResult):
                    return answer
                step, verdict = answer
                _tell(step, ctx, verdict)
        except Exception as error:
            verdict = _failed_closed(step.name, error)
            _tell(step, ctx, verdict)
        if verdict.decision != "allow":
            return _denied(step.name, verdict)
        result = await handle(step, ctx)
        changes: dict[str, Any] = {"verdict": verdict}
        if verdict.edit is not None:
            changes["label"] = result.label.join(Label(sources=("person",)))
        return result.model_copy(update=changes)

    async def _ask(self, step: Step, spec: ToolSpec, ctx: Ctx, verdict: Verdict) -> tuple[Step, Verdict] | StepResult:
        preview = preview_of(step.args, step.labels, redact=self.redact)
        answer = await self.approvals.take(step.key, step.digest)
        if isinstance(answer, Edited):
            settled = await self._edited(step, answer, spec, ctx)
            if not isinstance(settled, str):
                return settled
            await self.approvals.reopen(step.key, step.digest)
            return await self._wait(step, ctx, _doubting(verdict, settled), preview)
        if answer is None and await self.flag.decide(step, spec, verdict, preview):
            return step, verdict.model_copy(update={"decision": "allow", "by": "flag"})
        if answer is None and self.approver is not None:
            async with self.lock:
                return await self._ask_now(self.approver, step, spec, ctx, verdict, preview)
        return self._settled(step, verdict, answer) or await self._wait(step, ctx, verdict, preview)

    async def _ask_now(
        self, approver: Approver, step: Step, spec: ToolSpec, ctx: Ctx, verdict: Verdict, preview: str
    ) -> tuple[Step, Verdict] | StepResult:
        asked = verdict
        for _ in range(_TRIES):
            answer = await approver.decide(step, spec, asked, preview)
            if not isinstance(answer, Edited):
                return self._settled(step, verdict, answer) or await self._wait(step, ctx, verdict, preview)
            settled = await self._edited(step, answer, spec, ctx)
            if not isinstance(settled, str):
                return settled
            asked = _doubting(verdict, settled)
        return await self._wait(step, ctx, asked, preview)

    async def _edited(self, step: Step, answer: Edited, spec: ToolSpec, ctx: Ctx) -> tuple[Step, Verdict] | str:
        """The call that a person wants made instead, or why it cannot be."""
        try:
            changed, verdict = await edited(step, answer, spec, ctx, gate=self.gate, check=self.check)
        except (EditInvalid, PolicyDenied) as error:
            return error.message
        edit = told(step, changed, answer.by, lambda args: preview_of(args, {}, redact=self.redact))
        return changed, verdict.model_copy(update={"decision": "allow", "by": "person", "edit": edit})

    def _settled(self, step: Step, verdict: Verdict, answer: bool | None) -> tuple[Step, Verdict] | None:
        if answer is True:
            return step, verdict.model_copy(update={"decision": "allow", "by": "person"})
        if answer is False:
            reason = "a person said no; change the task or the plan."
            return step, verdict.model_copy(update={"decision": "deny", "by": "person", "reason": reason})
        return None

    async def _wait(self, step: Step, ctx: Ctx, verdict: Verdict, preview: str) -> StepResult:
        args = keep(step.args, self.redact)
        asked = await self.approvals.ask(step.key, step.digest, step.name, verdict.reason, preview, args=args)
        ctx.emit(
            ApprovalAsked(
                run=ctx.run,
                at=time.time(),
                approval=asked,
                path=step.key.path,
                tool=step.name,
                reason=verdict.reason,
                preview=preview,
            )
        )
        return StepResult(status="waiting", verdict=verdict, failure=_waits(step, ctx, verdict, asked))


def _doubting(verdict: Verdict, why: str) -> Verdict:
    return verdict.model_copy(update={"reason": f"{why} {verdict.reason}"})


def preview_of(
    args: Mapping[str, Any], labels: Mapping[str, Label], *, redact: Callable[[str], str] = lambda text: text
) -> str:
    """The arguments for a person's eyes, one a line: shortened, with the tools that their values were read by."""
    lines = []
    for name, value in args.items():
        plain = [value.text, dict(value.values)] if isinstance(value, Bound) else value
        # Before it is shortened: half a secret is still one, and no longer looks like it.
        shown = redact(json.dumps(plain, ensure_ascii=False, default=str))
        if len(shown) > _PREVIEW:
            shown = f"{shown[:_PREVIEW]}… ({len(shown)} characters)"
        label = labels.get(name)
        origin = "" if label is None or label.trusted else f" (content comes from {_origin(label)})"
        lines.append(f"{name}={shown}{origin}")
    return "\n".join(lines)


def flow(labels: Mapping[str, Label]) -> str:
    """Say which arguments carry what tools or memory have read; empty when none does."""
    parts = [f"{name!r} carries content from {_origin(label)}" for name, label in labels.items() if not label.trusted]
    return f" Note: {'; '.join(parts)}." if parts else ""


def _origin(label: Label) -> str:
    return ", ".join(label.tools) or "memory"


def _verdict(rule: Rule | None, tool: str, digest: str, note: str) -> Verdict:
    if rule is None:
        reason = f"no rule allows {tool!r}; add one under [[rules]] in {FILE}."
        return Verdict(decision="deny", rule="unmatched", reason=reason, args_digest=digest)
    reason = rule.reason if rule.decision == "allow" else f"{rule.reason}{note}"
    return Verdict(decision=rule.decision, rule=rule.name, reason=reason, args_digest=digest)


def _unknown(tool: str) -> Verdict:
    reason = f"no tool {tool!r} is known here; `shuntyard tools` lists what is."
    return Verdict(decision="deny", rule="unknown-tool", reason=reason)


def _failed_closed(tool: str, error: Exception) -> Verdict:
    reason = f"{tool!r} could not be judged ({type(error).__name__}: {error}); correct the arguments or the rule."
    return Verdict(decision="deny", rule="fails-closed", reason=reason)


def _denied(tool: str, verdict: Verdict) -> StepResult:
    message = f"{tool!r} is denied by rule {verdict.rule!r}: {verdict.reason}"
    failure = Failure(code=PolicyDenied.code, message=message, exit_code=PolicyDenied.exit_code)
    return StepResult(status="denied", verdict=verdict, failure=failure)


def _waits(step: Step, ctx: Ctx, verdict: Verdict, asked: str) -> Failure:
    message = (
        f"{step.name!r} waits for a person: {verdict.reason} "
        f"Run `shuntyard approve {asked}`, then `shuntyard resume {ctx.run}`."
    )
    return Failure(code=ApprovalNeeded.code, message=message, exit_code=ApprovalNeeded.exit_code)


def _tell(step: Step, ctx: Ctx, verdict: Verdict) -> None:
    ctx.emit(Guarded(run=ctx.run, at=time.time(), path=step.key.path, tool=step.name, verdict=verdict))


def _refers(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "$ref" in value or "$text" in value or any(_refers(part) for part in value.values())
    return isinstance(value, list | tuple) and any(_refers(part) for part in value)
