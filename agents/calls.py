"""Model calls of the product itself, as steps: so that ledger, guard and journal miss nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from ..errors import ShuntyardError
from ..events import StepDone, StepStarted, TextDelta
from ..messages import Completion, Message, ModelInfo, ModelRequest, Place, Role
from ..protocols import Ctx, Handler
from ..steps import Failure, Status, Step, StepKey
from .clock import now

AHEAD: dict[Role, float] = {"compile": 3, "repair": 3, "replan": 3}
"""Phases of a run still to come from a call on, itself included; of any other role it is the last one."""


class StepStopped(ShuntyardError):
    """Raised where a step's failure ends the phase that needed it; ``failure`` and ``status`` say how."""

    def __init__(self, failure: Failure, status: Status) -> None:
        """Carry the failure of a step as an error."""
        super().__init__(failure.message)
        self.failure = failure
        self.status = status


class StepModel:
    """A ``Model`` whose every call travels the pipeline.

    The path in the journal is the request's role, counted from the second call on (``repair``,
    ``repair.2``), so that a resumed run finds its answers again.
    """

    def __init__(self, handle: Handler, ctx: Ctx, *, info: ModelInfo, revision: int = 0) -> None:
        """Answer through ``handle``; ``info`` is that of the router's first choice."""
        self._handle = handle
        self._ctx = ctx
        self._info = info
        self._revision = revision
        self._turns: Counter[str] = Counter()

    @property
    def info(self) -> ModelInfo:
        """The router's first choice."""
        return self._info

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> Completion:
        """Answer by way of the pipeline; raises StepStopped when no answer came."""
        self._turns[request.role] += 1
        turn = self._turns[request.role]
        path = request.role if turn == 1 else f"{request.role}.{turn}"
        emit, run = self._ctx.emit, self._ctx.run

        def heard(text: str) -> None:
            emit(TextDelta(run=run, at=now(), role=request.role, text=text))
            if on_text is not None:
                on_text(text)

        placed = request if request.place else request.model_copy(update={"place": self._place(path, request.role)})
        step = Step(
            key=StepKey(run, self._revision, path), kind="model", name=request.role, request=placed, on_text=heard
        )
        emit(StepStarted(run=run, at=now(), path=path, name=request.role, kind="model"))
        result = await self._handle(step, self._ctx)
        emit(
            StepDone(
                run=run,
                at=now(),
                path=path,
                name=request.role,
                kind="model",
                status=result.status,
                seconds=result.seconds,
                cost=result.cost,
                usage=result.usage,
                failure=result.failure,
                replayed=result.replayed,
            )
        )
        if not result.ok or not isinstance(result.value, dict):
            failure = result.failure or Failure(code="model_error", message=f"{path} gave no answer", exit_code=6)
            raise StepStopped(failure, result.status)
        return Completion(
            text=str(result.value.get("text", "")),
            finish="length" if result.value.get("finish") == "length" else "stop",
            model=result.decision.model if result.decision else self._info.name,
            usage=result.usage,
            seconds=result.seconds,
            cached=result.value.get("cached") is True,
            read=str(result.value.get("read", "")),
        )

    def _place(self, path: str, role: Role) -> Place:
        ahead = AHEAD.get(role, 1)
        return Place(run=self._ctx.run, node=path, arrived=self._ctx.began, priority=ahead, follows=ahead > 1)

    async def count(self, messages: Sequence[Message]) -> int:
        """A careful estimate without loading a model: three bytes a token."""
        return sum(-(-len(message.content.encode()) // 3) + 8 for message in messages)
