"""Share of the example tasks that local models get right, in every wording.

Runs the suite ``examples`` of ``shuntyard eval`` on two models and shows the scores side by side. A row is
logged as soon as its run ends, so that a stopped benchmark can go on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio

from ..errors import ShuntyardError
from ..evals.case import Case, Output, Score
from ..evals.data import Data
from ..evals.suite import Means, Solver
from ..evals.suites.examples import SUITE
from ..settings import cache, load

NAME = "examples"

Row = dict[str, Any]


async def run(
    *,
    model: str = "qwen2.5-coder-1.5b",
    beside: str = "qwen2.5-coder-0.5b",
    only: str = "",
    limit: int = 0,
    concurrency: int = 1,
    resume: bool = False,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Run the tasks on ``model`` and then on ``beside`` (empty: none), and return the scores.

    ``only`` takes kinds or task ids, separated by commas; ``limit`` takes that many tasks; ``concurrency``
    is how many wordings run at once. ``resume`` keeps the rows that an earlier run logged. ``say`` receives
    a line after each wording.
    """
    settings = load()
    log = cache(settings) / "bench" / "examples.jsonl"
    cases = chosen(list(SUITE.cases(Data(SUITE.sources, settings=settings))), only, limit)
    rows = _logged(log) if resume else []
    known = {(row["model"], row["task"], row["wording"]) for row in rows}
    models = list(dict.fromkeys(item for item in (model, beside) if item))
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a" if resume else "w", encoding="utf-8") as sink:

        def keep(row: Row) -> None:
            rows.append(row)
            sink.write(json.dumps(row) + "\n")
            sink.flush()
            if say is not None:
                say(_line(row))

        for name in models:
            left = [case for case in cases if (name, *_place(case)) not in known]
            await _all(name, left, concurrency, keep)
    return summed(rows, {_place(case)[0] for case in cases}, models) | {"log": str(log)}


def chosen(cases: Sequence[Case], only: str, limit: int) -> list[Case]:
    """The cases of the kinds or task ids in ``only`` (all when empty), of at most ``limit`` tasks (0: all)."""
    names = {name.strip() for name in only.split(",") if name.strip()}
    found = [case for case in cases if not names or {case.category, _place(case)[0]} & names]
    tasks = list(dict.fromkeys(_place(case)[0] for case in found))[: limit or None]
    return [case for case in found if _place(case)[0] in tasks]


def _place(case: Case) -> tuple[str, int]:
    task, _, number = case.id.rpartition("/")
    return task, int(number) - 1


async def _all(model: str, cases: Sequence[Case], concurrency: int, keep: Callable[[Row], None]) -> None:
    limiter = anyio.CapacityLimiter(max(concurrency, 1))
    means = Means(settings=load({"model": model}), model=None)

    async def one(solve: Solver, case: Case) -> None:
        async with limiter:
            keep(await _row(model, solve, case))

    async with SUITE.solvers[SUITE.solver].open(means) as solve, anyio.create_task_group() as group:
        for case in cases:
            group.start_soon(one, solve, case)


async def _row(model: str, solve: Solver, case: Case) -> Row:
    start = time.monotonic()
    try:
        output = await solve(case, seed=0)
        score = await SUITE.scorer(case, output)
    except (ShuntyardError, TimeoutError) as error:
        output = Output(error=f"{type(error).__name__}: {error}", seconds=time.monotonic() - start)
        score = Score(value=0, answered=False, explanation=output.error)
    return row(model, case, output, score)


def row(model: str, case: Case, output: Output, score: Score) -> Row:
    """Return a line of the log."""
    task, wording = _place(case)
    told: Mapping[str, Any] = output.value if isinstance(output.value, dict) else {}
    return {
        "model": model,
        "task": task,
        "kind": case.category,
        "wording": wording,
        "right": score.value == 1,
        "problems": [score.explanation] if score.explanation else [],
        "status": told.get("status", "error"),
        "answer": output.text[:2000],
        "failure": next(iter(told.get("failures", [])), "")[:500],
        "plan": list(told.get("plan", [])),
        "tokens": output.usage.total,
        "seconds": round(output.seconds, 2),
    }


def _line(row: Mapping[str, Any]) -> str:
    mark = "right" if row["right"] else "WRONG"
    parts = [*row["problems"], *filter(None, [row["failure"]])] if row["problems"] else []
    why = "  " + "; ".join(parts)
    return f"{mark} {row['model']} {row['task']}/{row['wording'] + 1} {row['seconds']:.0f} s{why}"[:200]


def _logged(log: Path) -> list[Row]:
    if not log.is_file():
        return []
    return list(_rows(log.read_text(encoding="utf-8").splitlines()))


def _rows(lines: Sequence[str]) -> Iterator[Row]:
    for line in lines:
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue  # the last line of a killed run


def summed(rows: Sequence[Row], tasks: set[str], models: Sequence[str]) -> dict[str, Any]:
    """Scores per model and kind over the rows of ``tasks``, and every wrong row."""
    return {
        "models": {
            model: _score([row for row in rows if row["model"] == model and row["task"] in tasks]) for model in models
        }
    }


def _score(rows: Sequence[Row]) -> dict[str, Any]:
    kinds = dict.fromkeys(str(row["kind"]) for row in rows)
    refusals: dict[str, int] = {}
    for row in rows:
        if row["kind"] == "impossible":
            refusals[row["task"]] = refusals.get(row["task"], 0) + bool(row["right"])
    total = _sums(rows)
    return {
        "share": round(total["right"] / max(len(rows), 1), 4),
        **total,
        "impossible_tasks": len(refusals),
        "refused_tasks": sum(count >= 2 for count in refusals.values()),
        "possible_refused": sum(
            row["status"] == "refused" and row["kind"] != "impossible" and not row["right"] for row in rows
        ),
        "kinds": {kind: _sums([row for row in rows if row["kind"] == kind]) for kind in kinds},
        "wrong": [row for row in rows if not row["right"]],
    }


def _sums(rows: Sequence[Row]) -> dict[str, Any]:
    count = max(len(rows), 1)
    return {
        "right": sum(bool(row["right"]) for row in rows),
        "wordings": len(rows),
        "tokens": round(sum(row["tokens"] for row in rows) / count),
        "seconds": round(sum(row["seconds"] for row in rows) / count, 1),
    }


def describe(result: Mapping[str, Any]) -> str:
    """Return the scores as a table: kinds down, models across; tokens and seconds are means of a wording."""
    models: Mapping[str, Any] = result["models"]
    kinds = dict.fromkeys(kind for score in models.values() for kind in score["kinds"])
    head = f"{'':12}" + "".join(f"  {model:>34}" for model in models)
    lines = [head, f"{'':12}" + f"  {'right':>12}{'tokens':>11}{'seconds':>11}" * len(models)]
    for kind in kinds:
        cells = [score["kinds"].get(kind, _sums(())) for score in models.values()]
        lines.append(f"{kind:12}" + "".join(map(_cell, cells)))
    lines.append(f"{'all':12}" + "".join(map(_cell, models.values())))
    for model, score in models.items():
        lines.append(
            f"{model}: {score['share']:.0%} of {score['wordings']} wordings right, "
            f"{score['refused_tasks']} of {score['impossible_tasks']} impossible tasks refused, "
            f"{score['possible_refused']} possible wordings refused"
        )
    return "\n".join(lines)


def _cell(score: Mapping[str, Any]) -> str:
    part = f"{score['right']}/{score['wordings']}"
    return f"  {part:>12}{score['tokens']:>11}{score['seconds']:>11}"
