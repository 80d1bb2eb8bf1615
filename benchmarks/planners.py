"""A whole plan against one call at a time, or other ways to plan, with the same model on the same tasks.

Runs a suite once with each planner, case for case beside each other, and compares what a task that was done right took:
model calls, tokens, seconds. By default ``dag`` (LLMCompiler's way: "An LLM Compiler for Parallel Function Calling")
against ``react`` ("ReAct: Synergizing Reasoning and Acting in Language Models").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import UnknownName, UsageError
from ..evals import harness
from ..evals.log import RunRow, Selection
from ..evals.stats import interval, paired
from ..evals.suite import Suite
from ..evals.suites import examples, parallelqa
from ..settings import load
from .examples import chosen, setup

NAME = "planners"
SUITES: Mapping[str, Suite] = {"examples": examples.SUITE, "parallelqa": parallelqa.SUITE}
PLANNERS = {"dag": "agent", "react": "react", "fill": "fill", "program": "program", "outline": "outline"}
"""Solver by planner; a suite has some of them."""


async def run(
    *,
    model: str = "qwen2.5-coder-1.5b",
    suite: str = "examples",
    ways: str = "dag,react",
    only: str = "",
    limit: int = 0,
    resume: bool = False,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Run a suite with each of the planners in ``ways`` on ``model``; each is compared with the first.

    ``limit`` takes that many tasks of ``examples`` (0: all), of which ``only`` names kinds or ids, or that many
    cases of ``parallelqa``, drawn evenly from its kinds (0: 40). ``resume`` keeps what the last run had ended.
    Seconds compare only when nothing else runs and all go through in one sitting; calls and tokens always do.
    """
    planners = planners_of(ways, suite)
    given, selection = _selected(SUITES[suite], only, limit)
    rows: dict[str, dict[str, RunRow]] = {}
    logs = []
    for way in planners:

        def watch(progress: harness.Progress, way: str = way) -> None:
            if say is not None and (row := progress.row) is not None:
                mark = "right" if row.score.value == 1 else "WRONG"
                say(f"{mark} {way} {row.id} {_calls(row)} calls {row.output.seconds:.0f} s"[:200])

        made = setup(load({"model": model}), 1, resume=resume, solver=PLANNERS[way])
        result = await harness.run(given, replace(made, selection=selection), watch=watch)
        rows[way] = {row.id: row for row in result.rows}
        logs.append(str(result.log.path))
    return {"model": model, "suite": suite, **compared(rows), "logs": logs}


def planners_of(ways: str, suite: str) -> list[str]:
    """Return the planners that ``ways`` names, in its order. Raises UnknownName, and UsageError for fewer than two."""
    if suite not in SUITES:
        raise UnknownName("suite", suite, list(SUITES))
    known = [way for way, solver in PLANNERS.items() if solver in SUITES[suite].solvers]
    planners = list(dict.fromkeys(way.strip() for way in ways.split(",") if way.strip()))
    for way in planners:
        if way not in known:
            raise UnknownName("planner", way, known, mend=f"The suite {suite!r} has {', '.join(known)}.")
    if len(planners) < 2:
        raise UsageError(f"ways={ways!r} names {len(planners)} planner; name two or more, as in ways=dag,react.")
    return planners


def _selected(suite: Suite, only: str, limit: int) -> tuple[Suite, Selection]:
    if suite is examples.SUITE:
        return replace(suite, cases=lambda data: chosen(list(suite.cases(data)), only, limit)), Selection()
    if only:
        raise UsageError(f"only={only!r} fits suite=examples; leave it out.")
    return suite, Selection(limit=limit or suite.sample)


def compared(rows: Mapping[str, Mapping[str, RunRow]]) -> dict[str, Any]:
    """Figures of every planner over the cases that all have, and the first against each other one, case by case."""
    first, *others = rows
    ids = [id for id in rows[first] if all(id in rows[other] for other in others)]
    return {
        "cases": len(ids),
        "planners": {way: _figures([found[id] for id in ids]) for way, found in rows.items()},
        "first": first,
        "against": {other: _against(rows[first], rows[other], ids) for other in others},
    }


def _against(first: Mapping[str, RunRow], other: Mapping[str, RunRow], ids: Sequence[str]) -> dict[str, Any]:
    """How many more the first got right, and its seconds over the other's where both were right."""
    both = [id for id in ids if first[id].score.value == other[id].score.value == 1]
    better = paired({id: other[id].score.value for id in ids}, {id: first[id].score.value for id in ids})
    ratios = [first[id].output.seconds / max(other[id].output.seconds, 1e-9) for id in both]
    return {
        "both_right": len(both),
        "right": better.model_dump(),
        "seconds": interval(ratios).model_dump() if ratios else None,
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
    planners = result["planners"]
    head = f"{result['model']}, {result['cases']} cases of {result['suite']}"
    lines = [f"{head:40}" + "".join(f"{way:>10}" for way in planners)]
    lines += [f"{text:40}" + "".join(f"{each[key]:>10,}" for each in planners.values()) for key, text in names.items()]
    first = result["first"]
    for other, found in result["against"].items():
        gain = found["right"]
        lines.append(
            f"right, {first} - {other}: {gain['value']:+.1%} ({gain['low']:+.1%} to {gain['high']:+.1%}), "
            f"{gain['better']} better, {gain['worse']} worse"
        )
        if ratio := found["seconds"]:
            lines.append(
                f"seconds, {first} / {other} where both are right ({found['both_right']}): "
                f"{ratio['value']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"
            )
    return "\n".join(lines)
