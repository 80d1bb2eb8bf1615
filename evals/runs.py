"""What suites share: a model's answer and an agent's run told as an output, and a place of its own for each run."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from ..events import Event, StepDone
from ..messages import Completion, ModelInfo, ModelRequest, Usage
from ..settings import Settings
from ..steps import Plan, RunResult
from .case import Output


@contextmanager
def apart(settings: Settings, *, sample: Path | None = None) -> Iterator[Settings]:
    """Settings with an empty home, a workspace of its own (a copy of ``sample``) and no memory; gone after."""
    with tempfile.TemporaryDirectory(prefix="shuntyard-", ignore_cleanup_errors=True) as place:
        workspace = Path(place, "workspace")
        if sample is None:
            workspace.mkdir()
        else:
            shutil.copytree(sample, workspace)
        yield settings.model_copy(update={"home": Path(place, "home"), "workspace": workspace, "memory": False})


class ModelCalls:
    """A sink that counts calls of the model."""

    def __init__(self) -> None:
        """Begin at none."""
        self.count = 0

    def __call__(self, event: Event) -> None:
        """Count the end of each."""
        self.count += isinstance(event, StepDone) and event.kind == "model"

    def close(self) -> None:
        """Nothing to end."""


def said(request: ModelRequest, completion: Completion, info: ModelInfo, *, confidence: float | None = None) -> Output:
    """Return a model's answer as an output, at the prices of ``info``."""
    asked = [message.model_dump() for message in request.messages]
    return Output(
        text=completion.text,
        usage=completion.usage,
        cost=price(info, completion.usage),
        seconds=completion.seconds,
        confidence=confidence,
        transcript=(*asked, {"role": "assistant", "content": completion.text}),
    )


def price(info: ModelInfo, usage: Usage) -> Decimal | None:
    """Dollars for ``usage``; None when the model's prices are not known."""
    if info.input_price is None or info.output_price is None:
        return None
    return info.input_price * usage.prompt + info.output_price * usage.completion


def told(result: RunResult, *, value: JsonValue = None) -> Output:
    """Return a run as an output. A failed run has no ``error``: what it says of its failure may be right."""
    return Output(
        text=result.answer,
        value=value,
        usage=result.usage,
        cost=result.cost,
        seconds=result.seconds,
        transcript=tuple(_transcript(result)),
    )


def lines(plan: Plan | None) -> list[str]:
    """One line for each call of a plan."""
    nodes = plan.nodes if plan is not None else ()
    return [f"{node.id} {node.tool}({json.dumps(node.args, ensure_ascii=False)})" for node in nodes]


def _transcript(result: RunResult) -> Iterator[dict[str, Any]]:
    yield {"role": "user", "content": result.task}
    calls = dict(zip((node.id for node in result.plan.nodes), lines(result.plan), strict=True)) if result.plan else {}
    if result.plan is not None and result.plan.refusal:
        yield {"role": "assistant", "content": result.plan.refusal}
    for id, line in calls.items():
        step = result.results.get(id)
        if step is None:
            yield {"call": line, "result": "did not run"}
        else:
            yield {"call": line, "result": step.value if step.failure is None else step.failure.message}
    if result.failure is not None:
        yield {"role": "system", "content": f"{result.status}: {result.failure.message}"}
    if result.answer:
        yield {"role": "assistant", "content": result.answer}
