"""An in-memory ledger that keeps the Protocol's promises, and a source of ready models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

from shuntyard.errors import ShuntyardError, UnknownName
from shuntyard.events import Event
from shuntyard.messages import Message, ModelInfo, ModelRequest, Role
from shuntyard.protocols import Amount, Ctx, Handler, Ledger, Model
from shuntyard.router import Catalogue
from shuntyard.router.budget import failure_of
from shuntyard.steps import Limits, Step, StepKey, StepResult


class MemoryLedger:
    def __init__(self) -> None:
        self.open: dict[str, Amount] = {}
        self.settled = Amount(Decimal(0), 0)
        self.reserved = 0
        self.peak = Amount(Decimal(0), 0)

    def total(self) -> Amount:
        amounts = [self.settled, *self.open.values()]
        return Amount(sum((a.cost for a in amounts), Decimal(0)), sum(a.tokens for a in amounts))

    async def reserve(self, key: StepKey, ask: Amount, admit: Callable[[Amount], None]) -> str:
        total = self.total()
        committed = Amount(total.cost + ask.cost, total.tokens + ask.tokens)
        admit(committed)
        self.reserved += 1
        self.open[str(self.reserved)] = ask
        self.peak = Amount(max(self.peak.cost, committed.cost), max(self.peak.tokens, committed.tokens))
        return str(self.reserved)

    async def settle(self, reservation: str, spent: Amount) -> None:
        del self.open[reservation]
        self.settled = Amount(self.settled.cost + spent.cost, self.settled.tokens + spent.tokens)

    async def spent(self, run: str) -> Amount:
        return self.total()


class Shelf:
    """A source whose models are given; an exception in place of a model is what opening it raises."""

    def __init__(self, **models: Model | Exception) -> None:
        self.models = models
        self.opened: list[str] = []
        self.here: set[str] = set(models)

    def infos(self) -> Sequence[ModelInfo]:
        return [
            ModelInfo(name=name) if isinstance(model, Exception) else model.info for name, model in self.models.items()
        ]

    def installed(self, name: str) -> bool:
        return name in self.here

    async def open(self, name: str) -> Model:
        self.opened.append(name)
        if name not in self.models:
            raise UnknownName("model", name)
        model = self.models[name]
        if isinstance(model, Exception):
            raise model
        return model


def model_step(
    *, run: str = "r1", role: Role = "compile", max_tokens: int = 64, on_text: Callable[[str], None] | None = None
) -> Step:
    request = ModelRequest(messages=(Message(role="user", content="hello"),), role=role, max_tokens=max_tokens)
    return Step(StepKey(run, 0, role), "model", role, request=request, on_text=on_text)


def context(events: list[Event] | None = None, *, run: str = "r1", **limits: object) -> Ctx:
    seen = [] if events is None else events
    return Ctx(run=run, workspace=Path("/nowhere"), emit=seen.append, limits=Limits.model_validate(limits))


def dispatch(catalogue: Catalogue) -> Handler:
    """What agents/ does at the end of the road: call the model that was chosen, settle what came back."""

    async def handle(step: Step, ctx: Ctx) -> StepResult:
        assert step.request is not None
        try:
            model = await catalogue.open(step.model)
            done = await model.complete(step.request, on_text=step.on_text)
        except ShuntyardError as error:
            return StepResult(status="failed", failure=failure_of(error))
        return StepResult(value=done.text, usage=done.usage)

    return handle


def settling(handle: Handler, ledger: Ledger) -> Handler:
    """What record does: write the settlements of a finished step."""

    async def record(step: Step, ctx: Ctx) -> StepResult:
        result = await handle(step, ctx)
        for item in result.settlements:
            await ledger.settle(item.reservation, Amount(item.cost, item.tokens))
        return result

    return record
