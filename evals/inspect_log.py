"""Our runs as logs of inspect_ai (extra ``inspect``), so that its viewer and its tools read them."""
# Where inspect_ai is not installed its names are untyped.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from inspect_ai.log import (
    EvalConfig,
    EvalDataset,
    EvalLog,
    EvalMetric,
    EvalPlan,
    EvalPlanStep,
    EvalResults,
    EvalSample,
    EvalScore,
    EvalSpec,
    EvalStats,
    write_eval_log,
)
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    ModelOutput,
    ModelUsage,
)
from inspect_ai.scorer import Score as InspectScore

from ..messages import Usage
from .case import Score
from .figures import figures
from .log import RunLog, RunRow


def export(log: RunLog, folder: Path) -> Path:
    """Write a run as ``RUN.eval`` into ``folder`` and return its path; ``inspect view --log-dir`` shows it.

    Blocks; not for a running event loop.
    """
    path = folder / f"{log.header.run}.eval"
    folder.mkdir(parents=True, exist_ok=True)
    write_eval_log(converted(log), str(path))
    return path


def converted(log: RunLog) -> EvalLog:
    """Return a run as inspect_ai keeps one: samples with their transcripts, scores, and our figures as metrics."""
    header, made = log.header, log.header.configuration
    ended = log.end.at if log.end is not None else max((row.at for row in log.rows), default=header.started)
    model = f"shuntyard/{made.model or 'none'}"
    usage = sum((row.output.usage for row in log.rows), Usage())
    spec = EvalSpec(
        run_id=header.run,
        created=header.started.isoformat(),
        task=header.suite,
        task_id=header.run,
        task_version=header.version,
        solver=made.solver,
        dataset=EvalDataset(name=header.suite, samples=len({row.digest for row in log.rows})),
        model=model,
        config=EvalConfig(epochs=max((row.epoch for row in log.rows), default=0) + 1),
        packages={"shuntyard": made.shuntyard},
        metadata={
            "configuration": made.model_dump(mode="json"),
            "data": [use.model_dump(mode="json") for use in header.data],
            "machine": header.machine,
            "notes": header.notes,
        },
    )
    return EvalLog(
        status="success" if log.finished else "cancelled",
        eval=spec,
        plan=EvalPlan(steps=[EvalPlanStep(solver=made.solver)]),
        results=_results(log),
        stats=EvalStats(
            started_at=header.started.isoformat(), completed_at=ended.isoformat(), model_usage={model: _usage(usage)}
        ),
        samples=[_sample(row, model, header.suite) for row in log.rows],
    )


def _results(log: RunLog) -> EvalResults:
    """Our figures: ``accuracy`` with its interval, and one metric for each category."""
    metrics = {}
    for figure in reversed(figures(log.rows)):
        name = figure.category or "accuracy"
        told = {"low": figure.mean.low, "high": figure.mean.high, "cases": figure.cases}
        metrics[name] = EvalMetric(name=name, value=figure.mean.value, metadata=told)
    score = EvalScore(name=log.header.suite, scorer=log.header.suite, metrics=metrics)
    return EvalResults(total_samples=len(log.rows), completed_samples=len(log.rows), scores=[score])


def _sample(row: RunRow, model: str, suite: str) -> EvalSample:
    output, score = row.output, row.score
    why = row.error or output.error or score.explanation
    return EvalSample(
        id=row.id,
        epoch=row.epoch + 1,
        input=text_of(row.input),
        target=text_of(row.target),
        messages=chat(output.transcript),
        output=ModelOutput.from_content(model=model, content=output.text or output.error),
        scores={
            suite: InspectScore(value=value_of(score), answer=score.answer, explanation=why, metadata=dict(score.parts))
        },
        metadata={"category": row.category, "split": row.split, "digest": row.digest},
        store={"value": output.value} if output.value is not None else {},
        model_usage={model: _usage(output.usage)},
        total_time=output.seconds,
        completed_at=row.at.isoformat(),
    )


def value_of(score: Score) -> str | float:
    """Return inspect_ai's letter, or the share itself where a score is partly right."""
    return score.value if score.letter == "P" else score.letter


def text_of(value: Any) -> str:
    """Return an input or target as text: inspect_ai takes nothing else."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def chat(transcript: Iterable[Mapping[str, Any]]) -> list[Any]:
    """Return a transcript as chat messages; a call and what came of it become a tool's message."""
    kinds = {"system": ChatMessageSystem, "user": ChatMessageUser}
    messages: list[Any] = []
    for part in transcript:
        if "role" in part:
            kind = kinds.get(str(part["role"]), ChatMessageAssistant)
            messages.append(kind(content=text_of(part.get("content", ""))))
        if "call" in part:
            call = text_of(part["call"])
            messages.append(ChatMessageTool(content=f"{call}\n\n{text_of(part.get('result'))}", function=call[:60]))
    return messages


def _usage(usage: Usage) -> ModelUsage:
    return ModelUsage(
        input_tokens=usage.prompt - usage.cached,
        input_tokens_cache_read=usage.cached,
        output_tokens=usage.completion,
        total_tokens=usage.total,
    )
