"""The wrapper that routes model calls and keeps every paid call inside the run's limits.

The worst case of a call (its prompt and the most it may generate) is reserved in the ledger before the
call is made, by one atomic rule; what it really cost replaces the reservation in the transaction that
commits the result. A cancelled call keeps its reservation, because it may have been billed.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

import anyio

from ..errors import BudgetSpent, ModelError, ModelUnavailable, ShuntyardError
from ..events import FellBack, Routed, Spent
from ..messages import ModelInfo, ModelRequest, Usage
from ..protocols import Amount, Ctx, Handler, Ledger, Spending
from ..steps import Decision, Failure, Limits, Settlement, Status, Step, StepResult
from .catalogue import Catalogue
from .choose import choose, price_of

NEXT_MODEL = frozenset(
    {"model_error", "model_unavailable", "model_file_bad", "download_failed", "context_too_long", "output_malformed"}
)
"""Failures after which another model may do better."""
_NEVER_RAN = frozenset({"arguments_invalid", "unknown_name", "path_refused"})
_NOTHING = Amount(Decimal(0), 0)


def rule(limits: Limits) -> Callable[[Amount], None]:
    """Return the rule that every reservation must pass: it raises BudgetSpent, naming limit and mend."""

    def admit(committed: Amount) -> None:
        if limits.max_cost is not None and committed.cost > limits.max_cost:
            raise BudgetSpent(
                f"the next call could bring the run to ${committed.cost:.6f} and --max-cost is "
                f"${limits.max_cost}; raise it and resume."
            )
        if limits.max_tokens is not None and committed.tokens > limits.max_tokens:
            raise BudgetSpent(
                f"the next call could bring the run to {committed.tokens} tokens and --max-tokens is "
                f"{limits.max_tokens}; raise it and resume."
            )

    return admit


def budgeted(
    catalogue: Catalogue,
    ledger: Ledger,
    *,
    model: str = "",
    fallback: Sequence[str] = (),
    costs: Mapping[str, Decimal] | None = None,
    before: Callable[[str], Spending] | None = None,
) -> Callable[[Handler], Handler]:
    """Return the wrapper that gives model calls a model and keeps paid calls within ``ctx.limits``.

    A model call is placed (``model`` first, ``fallback`` next), reserved and passed on with ``step.model``
    set; when that model does not answer, the next one gets a reservation of its own. Text that was already
    streamed cannot be taken back: after it, another model's answer arrives only as the result. Tools named
    in ``costs`` (dollars per call) are reserved too, all others pass untouched. ``before`` says what a run had
    spent when it was taken up: what is told goes on from there.

    The wrapper returns failures as results: ``spent`` (exit 4) when the worst case does not fit.
    """
    paid = {name: cost for name, cost in (costs or {}).items() if cost > 0}
    meters: dict[str, _Meter] = {}

    def meter(run: str) -> _Meter:
        if run not in meters:
            spent = Spending(Usage(), Decimal(0)) if before is None else before(run)
            meters[run] = _Meter(cost=spent.cost, usage=spent.usage)
        return meters[run]

    def wrap(handle: Handler) -> Handler:
        def budget(step: Step, ctx: Ctx) -> Awaitable[StepResult]:
            if step.kind == "tool" and step.name not in paid:
                return handle(step, ctx)
            desk = _Desk(handle, ledger, ctx, meter(ctx.run))
            if step.request is None:
                return _tool(desk, step, paid.get(step.name, Decimal(0)))
            return _Route(desk, catalogue, model, tuple(fallback)).run(step, step.request)

        return budget

    return wrap


@dataclass(slots=True)
class _Meter:
    """What one run has spent, and what this process has reserved for it."""

    cost: Decimal = Decimal(0)
    usage: Usage = field(default_factory=Usage)
    reserved: Decimal = Decimal(0)


@dataclass(slots=True)
class _Desk:
    handle: Handler
    ledger: Ledger
    ctx: Ctx
    meter: _Meter

    async def reserve(self, step: Step, ask: Amount) -> str:
        reservation = await self.ledger.reserve(step.key, ask, rule(self.ctx.limits))
        self.meter.reserved += ask.cost
        return reservation

    def count(self, ask: Amount, cost: Decimal, usage: Usage) -> None:
        meter = self.meter
        meter.reserved -= ask.cost
        meter.cost += cost
        meter.usage += usage
        self.ctx.emit(
            Spent(run=self.ctx.run, at=time.time(), cost=meter.cost, usage=meter.usage, reserved=meter.reserved)
        )


async def _tool(desk: _Desk, step: Step, cost: Decimal) -> StepResult:
    ask = Amount(cost, 0)
    try:
        reservation = await desk.reserve(step, ask)
    except Exception as error:
        return _refused(error)
    result = await desk.handle(step, desk.ctx)
    if result.failure is not None and result.failure.code in _NEVER_RAN:
        cost = Decimal(0)
    desk.count(ask, cost, Usage())
    settlement = Settlement(reservation=reservation, cost=cost, tokens=0)
    return result.model_copy(update={"cost": result.cost + cost, "settlements": (*result.settlements, settlement)})


@dataclass(slots=True)
class _Route:
    """One model call on its way through its candidates."""

    desk: _Desk
    catalogue: Catalogue
    model: str
    fallback: tuple[str, ...]
    failed: list[str] = field(default_factory=list)
    last: Failure | None = None
    cost: Decimal = Decimal(0)
    usage: Usage = field(default_factory=Usage)

    async def run(self, step: Step, request: ModelRequest) -> StepResult:
        limits = self.desk.ctx.limits
        try:
            # Before anything is opened: a limit that no model can keep must not load one.
            if limits.max_tokens is not None and limits.max_tokens <= request.max_tokens:
                rule(limits)(Amount(Decimal(0), request.max_tokens + 1))
            decision = choose(
                request.role,
                self.catalogue.infos(),
                model=self.model,
                fallback=self.fallback,
                max_cost=limits.max_cost,
                installed=self.catalogue.installed,
            )
        except Exception as error:
            return _refused(error)
        self._emit_routed(step, request, decision)
        heard = _Heard(step)
        for turn, name in enumerate(decision.candidates):
            result = await self._try(name, step, request, heard)
            if result is not None:
                used = decision.model_copy(update={"model": name, "failed": tuple(self.failed)})
                return result.model_copy(
                    update={"decision": used, "cost": self.cost + result.cost, "usage": self.usage + result.usage}
                )
            if turn + 1 < len(decision.candidates):
                self._emit_fell_back(step, name, decision.candidates[turn + 1])
        return self._nobody(decision)

    async def _try(self, name: str, step: Step, request: ModelRequest, heard: _Heard) -> StepResult | None:
        """Return the step's result, or None when the next candidate should be tried."""
        try:
            model = await self.catalogue.open(name)
            prompt = await model.count(request.messages)
            ask = _worst(model.info, prompt, request.max_tokens, self.desk.ctx.limits)
            reservation = await self.desk.reserve(step, ask)
        except ModelError as error:
            self._note(name, failure_of(error))
            return None
        except Exception as error:
            return _refused(error)
        heard.here, heard.pieces = False, 0
        on_text = heard.muted if heard.ever else heard.hear
        try:
            result = await self.desk.handle(replace(step, model=name, on_text=on_text), self.desk.ctx)
        except anyio.get_cancelled_exc_class():
            # Text that came was paid for; a piece is a token or more.
            usage = Usage(prompt=prompt, completion=heard.pieces) if heard.here else Usage()
            self.desk.count(ask, cost_of(model.info, usage), usage)
            raise
        usage = result.usage
        if not usage.total and (result.ok or heard.here):
            usage = Usage(prompt=prompt, completion=request.max_tokens)
        free = result.ok and isinstance(result.value, dict) and result.value.get("cached") is True
        cost = Decimal(0) if free else cost_of(model.info, usage)
        self.desk.count(ask, cost, usage)
        if result.ok:
            settlement = Settlement(reservation=reservation, cost=cost, tokens=0 if free else usage.total)
            update = {"usage": usage, "cost": cost, "settlements": (*result.settlements, settlement)}
            return result.model_copy(update=update)
        return await self._lost(name, result, reservation, Amount(cost, usage.total), usage)

    async def _lost(
        self, name: str, result: StepResult, reservation: str, spent: Amount, usage: Usage
    ) -> StepResult | None:
        # Settled at once, so that the next candidate's reservation finds the room again.
        try:
            await self.desk.ledger.settle(reservation, spent)
        except Exception as error:
            return _refused(error)
        failure = result.failure or Failure(code="model_unavailable", message=f"{name!r} ended as {result.status}")
        if failure.code not in NEXT_MODEL:
            return result.model_copy(update={"usage": usage, "cost": spent.cost})
        self.usage += usage
        self.cost += spent.cost
        self._note(name, failure)
        return None

    def _note(self, name: str, failure: Failure) -> None:
        self.failed.append(f"{name}: {failure.message}")
        self.last = failure

    def _nobody(self, decision: Decision) -> StepResult:
        failure = self.last
        if failure is None or len(self.failed) > 1:
            failure = failure_of(ModelUnavailable(f"no model answered; {' | '.join(self.failed)}"))
            if self.last is not None:
                failure = failure.model_copy(update={"code": self.last.code, "exit_code": self.last.exit_code})
        used = decision.model_copy(update={"failed": tuple(self.failed)})
        status: Status = "spent" if failure.code == BudgetSpent.code else "failed"
        return StepResult(status=status, failure=failure, decision=used, cost=self.cost, usage=self.usage)

    def _emit_routed(self, step: Step, request: ModelRequest, decision: Decision) -> None:
        ctx = self.desk.ctx
        ctx.emit(Routed(run=ctx.run, at=time.time(), path=step.key.path, role=request.role, decision=decision))

    def _emit_fell_back(self, step: Step, name: str, to: str) -> None:
        ctx = self.desk.ctx
        reason = self.last.message if self.last else ""
        ctx.emit(FellBack(run=ctx.run, at=time.time(), path=step.key.path, model=name, to=to, reason=reason))


class _Heard:
    """Notices streamed text: it was billed, and it cannot be unsaid."""

    def __init__(self, step: Step) -> None:
        self._on_text = step.on_text
        self.ever = False
        self.here = False
        self.pieces = 0

    def hear(self, text: str) -> None:
        self.ever = self.here = True
        self.pieces += 1
        if self._on_text is not None:
            self._on_text(text)

    def muted(self, text: str) -> None:
        self.here = True
        self.pieces += 1


def cost_of(info: ModelInfo, usage: Usage) -> Decimal:
    """Dollars for ``usage`` at the model's prices; cached prompt tokens at the full price; unknown counts 0."""
    return usage.prompt * (info.input_price or Decimal(0)) + usage.completion * (info.output_price or Decimal(0))


def _worst(info: ModelInfo, prompt: int, most: int, limits: Limits) -> Amount:
    if price_of(info) is None and limits.max_cost is not None:
        raise _PriceUnknown(
            f"the price of {info.name!r} is unknown and --max-cost is ${limits.max_cost}; give input_price and "
            f"output_price (dollars per million tokens) under [models.{info.name}]."
        )
    return Amount(cost_of(info, Usage(prompt=prompt, completion=most)), prompt + most)


class _PriceUnknown(ModelError):
    """Raised for a model that could cost anything while there is a limit: passed over, then exit 4."""

    code = BudgetSpent.code
    exit_code = BudgetSpent.exit_code


def failure_of(error: Exception) -> Failure:
    """The error as a value."""
    if isinstance(error, ShuntyardError):
        return Failure(code=error.code, message=error.message, retryable=error.retryable, exit_code=error.exit_code)
    return Failure(code="error", message=f"{type(error).__name__}: {error}")


def _refused(error: Exception) -> StepResult:
    return StepResult(status="spent" if isinstance(error, BudgetSpent) else "failed", failure=failure_of(error))
