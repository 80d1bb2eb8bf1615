"""The gate on every tool call: judge, ask where a rule says ask, and fail closed.

A person's yes is kept with the digest of the exact arguments: it holds for that call and no other.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from ..errors import ApprovalNeeded, PolicyDenied
from ..events import ApprovalAsked, Guarded
from ..protocols import Approvals, Approver, Ctx, Gate, Handler
from ..settings import FILE
from ..steps import Bound, Failure, Label, Node, Plan, Step, StepResult, ToolSpec, Verdict, digest_call
from .approve import FlagApprover
from .redact import Redactor
from .rules import Call, Rule, first_match, places

_PREVIEW = 400
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
) -> Callable[[Handler], Handler]:
    """Return the wrapper that lets a tool call pass only when ``gate`` or a person allows it.

    An ``ask`` is answered by ``approve`` (tool names or globs, from the flag), then by a recorded yes or no to
    exactly these arguments, then by ``approver`` (one question at a time), else it is recorded and the step
    waits. Model calls pass. Whatever fails on the way is a deny. Previews are redacted with ``redact``
    (default: a ``Redactor``).
    """
    desk = _Desk(gate, specs, approvals, approver, FlagApprover(approve), redact or Redactor().text, anyio.Lock())

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
    lock: anyio.Lock

    async def pass_on(self, step: Step, ctx: Ctx, handle: Handler) -> StepResult:
        spec = self.specs.get(step.name)
        try:
            verdict = _unknown(step.name) if spec is None else await self.gate.judge(step, spec, ctx)
            _tell(step, ctx, verdict)
            if verdict.decision == "ask" and spec is not None:
                answer = await self._ask(step, spec, ctx, verdict)
                if isinstance(answer, StepResult):
                    return answer
                verdict = answer
                _tell(step, ctx, verdict)
        except Exception as error:
            verdict = _failed_closed(step.name, error)
            _tell(step, ctx, verdict)
        if verdict.decision != "allow":
            return _denied(step.name, verdict)
        result = await handle(step, ctx)
        return result.model_copy(update={"verdict": verdict})

    async def _ask(self, step: Step, spec: ToolSpec, ctx: Ctx, verdict: Verdict) -> Verdict | StepResult:
        preview = preview_of(step.args, step.labels, redact=self.redact)
        if await self.flag.decide(step, spec, verdict, preview):
            return verdict.model_copy(update={"decision": "allow", "by": "flag"})
        answer = await self.approvals.find(step.key, step.digest)
        if answer is None and self.approver is not None:
            async with self.lock:
                answer = await self.approver.decide(step, spec, verdict, preview)
        if answer is True:
            return verdict.model_copy(update={"decision": "allow", "by": "person"})
        if answer is False:
            reason = "a person said no; change the task or the plan."
            return verdict.model_copy(update={"decision": "deny", "by": "person", "reason": reason})
        asked = await self.approvals.ask(step.key, step.digest, step.name, verdict.reason, preview)
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
