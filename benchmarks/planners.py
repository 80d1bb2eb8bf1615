"""A whole plan against one call at a time, with the same model on the same tasks.

Runs the suite ``examples`` twice, with the planner ``dag`` (LLMCompiler's way: "An LLM Compiler for Parallel Function
Calling") and with ``react`` ("ReAct: Synergizing Reasoning and Acting in Language Models"), case for case beside each
other, and compares what a task that was done right took: model calls, tokens, seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..evals import harness
from ..evals.log import RunRow
from ..evals.stats import interval, paired
from ..evals.suites.examples import SUITE
from ..settings import load
from .examples import chosen, setup

NAME = "planners"
WAYS = {"dag": "agent", "react": "react"}
"""Solver of the suite by planner."""


async def run(
    *,
    model: str = "qwen2.5-coder-1.5b",
    only: str = "",
    limit: int = 0,
    concurrency: int = 1,
    resume: bool = False,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Run the tasks with both planners on ``model``; parameters as in ``examples``.

    Seconds compare only when nothing else runs and both go through in one sitting; calls and tokens always do.
    """
    suite = replace(SUITE, cases=lambda data: chosen(list(SUITE.cases(data)), only, limit))
    rows: dict[str, dict[str, RunRow]] = {}
    logs = []
    for way, solver in WAYS.items():

        def watch(progress: harness.Progress, way: str = way) -> None:
            if say is not None and (row := progress.row) is not None:
                mark = "right" if row.score.value == 1 else "WRONG"
                say(f"{mark} {way} {row.id} {_calls(row)} calls {row.output.seconds:.0f} s"[:200])

        made = setup(load({"model": model}), concurrency, resume=resume, solver=solver)
        result = await harness.run(suite, made, watch=watch)
        rows[way] = {row.id: row for row in result.rows}
        logs.append(str(result.log.path))
    return {"model": model, **compared(rows["dag"], rows["react"]), "logs": logs}


def compared(dag: Mapping[str, RunRow], react: Mapping[str, RunRow]) -> dict[str, Any]:
    """Figures of both over the cases that both have, and the ratios where both were right."""
    ids = [id for id in dag if id in react]
    both = [id for id in ids if dag[id].score.value == react[id].score.value == 1]
    better = paired({id: react[id].score.value for id in ids}, {id: dag[id].score.value for id in ids})
    ratios = [dag[id].output.seconds / max(react[id].output.seconds, 1e-9) for id in both]
    return {
        "cases": len(ids),
        "both_right": len(both),
        "dag": _figures([dag[id] for id in ids]),
        "react": _figures([react[id] for id in ids]),
        "right_dag_minus_react": better.model_dump(),
        "seconds_dag_to_react": interval(ratios).model_dump() if ratios else None,
    }


def _figures(rows: Sequence[RunRow]) -> dict[str, Any]:
    right = max(sum(row.score.value == 1 for row in rows), 1)
    return {
        "right": sum(row.score.value == 1 for row in rows),
        "calls_per_solved": round(sum(map(_calls, rows)) / right, 2),
        "tokens_per_solved": round(sum(row.output.usage.total for row in rows) / right),
        "fresh_tokens_per_solved": round(sum(row.output.usage.total - row.output.usage.cached for row in rows) / right),
        "seconds_per_solved": round(sum(row.output.seconds for row in rows) / right, 1),
    }


def _calls(row: RunRow) -> int:
    told = row.output.value
    count = told.get("model_calls", 0) if isinstance(told, dict) else 0
    return count if isinstance(count, int) else 0


def describe(result: Mapping[str, Any]) -> str:
    """Return the figures as a table and what they say."""
    names = {
        "right": "right",
        "calls_per_solved": "model calls per solved task",
        "tokens_per_solved": "tokens per solved task",
        "fresh_tokens_per_solved": "of them not from a cache",
        "seconds_per_solved": "seconds per solved task",
    }
    lines = [f"{result['model']}, {result['cases']} wordings{'':8}{'dag':>10}{'react':>10}"]
    lines += [f"{text:40}{result['dag'][key]:>10,}{result['react'][key]:>10,}" for key, text in names.items()]
    gain = result["right_dag_minus_react"]
    lines.append(
        f"right, dag - react: {gain['value']:+.1%} ({gain['low']:+.1%} to {gain['high']:+.1%}), "
        f"{gain['better']} better, {gain['worse']} worse"
    )
    if ratio := result["seconds_dag_to_react"]:
        lines.append(
            f"seconds, dag / react where both are right ({result['both_right']}): "
            f"{ratio['value']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"
        )
    return "\n".join(lines)
