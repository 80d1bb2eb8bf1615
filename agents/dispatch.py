"""The innermost floor of the pipeline: the call itself, to a tool or to a model."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import anyio
from pydantic import JsonValue

from ..errors import InDoubt, ModelUnavailable, ShuntyardError, ToolTimeout, WorkerDied
from ..labels import of_tool
from ..messages import Completion, ModelRequest
from ..protocols import Ctx, Executor, Handler, Model
from ..steps import Effect, Failure, Label, Step, StepResult

MODEL_TIMEOUT = 900.0
"""Seconds after which a model call is given up and counts as unavailable."""
STALL = 120.0
"""Seconds that a stream may be silent between two pieces of text; the first may take longer."""


class Models(Protocol):
    """Opens models by the name that the router chose."""

    async def open(self, name: str) -> Model:
        """Open ``name``."""


def dispatch(models: Models, executor: Executor) -> Handler:
    """Return the handler that calls.

    Time-outs hold for the call alone, not for the guard's questions nor for the wait for a free worker. A read
    or an idempotent effect whose worker died is a failure that may be tried again; any other effect is in doubt,
    because it may have happened.
    """

    async def handle(step: Step, ctx: Ctx) -> StepResult:
        started, clock = time.time(), time.perf_counter()
        try:
            if step.request is not None:
                result = await _ask(step, models)
            else:
                value = await _call(step, ctx, executor)
                seconds = time.perf_counter() - clock
                return StepResult(value=value, label=of_tool(step.name), started=started, seconds=seconds)
        except InDoubt as error:
            result = StepResult(status="doubt", failure=failure_of(error, step.name))
        except Exception as error:
            result = StepResult(status="failed", failure=failure_of(error, step.name))
        return result.model_copy(update={"started": started, "seconds": time.perf_counter() - clock})

    return handle


async def _ask(step: Step, models: Models) -> StepResult:
    assert step.request is not None
    try:
        with anyio.fail_after(step.timeout or MODEL_TIMEOUT):
            model = await models.open(step.model)
            completion = await _heard(model, step.request, step.on_text)
    except TimeoutError:
        raise ModelUnavailable(
            f"{step.model!r} did not finish within {step.timeout or MODEL_TIMEOUT:g} s; try a smaller model."
        ) from None
    value: dict[str, JsonValue] = {"text": completion.text, "finish": completion.finish, "ttft": completion.ttft}
    if completion.cached:
        value["cached"] = True
    if completion.read:
        value["read"] = completion.read
    return StepResult(
        value=value,
        usage=completion.usage,
        label=Label(sources=("model",)),
    )


async def _heard(model: Model, request: ModelRequest, on_text: Callable[[str], None] | None) -> Completion:
    """Complete; raises ModelUnavailable when a stream that has begun falls silent."""
    with anyio.CancelScope() as patience:

        def hear(text: str) -> None:
            patience.deadline = anyio.current_time() + STALL
            if on_text is not None:
                on_text(text)

        return await model.complete(request, on_text=hear)
    raise ModelUnavailable(f"{model.info.name!r} began to answer and then said nothing for {STALL:g} s.")


async def _call(step: Step, ctx: Ctx, executor: Executor) -> Any:
    begun = False
    limit = anyio.CancelScope()

    async def begin() -> None:
        nonlocal begun
        if step.effect is not Effect.READ:
            await step.before_effect()
        begun = True
        if step.timeout is not None:
            limit.deadline = anyio.current_time() + step.timeout

    try:
        with limit, suppress(TimeoutError):
            return await executor.run(step, ctx, begin)
    except WorkerDied as error:
        if begun and step.effect is not Effect.READ and not step.idempotent:
            raise _in_doubt(step, error) from error
        raise
    raise ToolTimeout(f"{step.name} ran past its {step.timeout or 0:g} s; ask for less, or raise the node's timeout.")


def _in_doubt(step: Step, error: WorkerDied) -> InDoubt:
    path, run = step.key.path, step.key.run
    return InDoubt(
        f"node {path!r} began its effect, and whether it happened is not known: {error.message} Look, then run: "
        f"shuntyard resume {run} --assume {path}=done or --assume {path}=not-done",
        ids={"run": run, "node": path},
    )


def failure_of(error: Exception, name: str) -> Failure:
    """Return ``error`` as a value; a bug in a tool keeps its type and text."""
    if isinstance(error, ShuntyardError):
        return Failure(code=error.code, message=error.message, retryable=error.retryable, exit_code=error.exit_code)
    return Failure(code="tool_error", message=f"{name} raised {type(error).__name__}: {error}")
