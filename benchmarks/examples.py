"""Share of the example tasks that local models get right, in every wording.

Runs the suite ``examples`` of ``shuntyard eval`` on two models and shows the scores side by side; the runs
are kept as any other's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from ..evals import harness
from ..evals.case import Case
from ..evals.log import Configuration, RunRow
from ..evals.models import candidate
from ..evals.suites.examples import SUITE
from ..settings import Settings, load

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
    is how many wordings run at once. ``resume`` keeps what the last run on the same model had ended. ``say``
    receives a line after each wording.
    """
    suite = replace(SUITE, cases=lambda data: chosen(list(SUITE.cases(data)), only, limit))
    scores, logs = {}, []
    for name in dict.fromkeys(item for item in (model, beside) if item):
        made = setup(load({"model": name}), concurrency, resume=resume)

        def watch(progress: harness.Progress, name: str = name) -> None:
            if say is not None and progress.row is not None:
                say(_line(row(name, progress.row)))

        result = await harness.run(suite, made, watch=watch)
        scores[name] = score([row(name, each) for each in result.rows])
        logs.append(str(result.log.path))
    return {"models": scores, "logs": logs}


def setup(settings: Settings, concurrency: int, *, resume: bool, solver: str = SUITE.solver) -> harness.Setup:
    """Return how the suite is run with the model that ``settings`` name; ``resume`` keeps what an earlier run has."""
    chosen = candidate(settings)
    made = Configuration(
        solver=solver,
        model=chosen.info.name,
        model_sha256=chosen.sha256,
        engine=chosen.engine,
        shuntyard=version("shuntyard"),
    )
    return harness.Setup(
        settings=settings,
        configuration=made,
        open_model=chosen.open,
        concurrency=max(concurrency, 1),
        fresh=not resume,
    )


def chosen(cases: Sequence[Case], only: str, limit: int) -> list[Case]:
    """The cases of the kinds or task ids in ``only`` (all when empty), of at most ``limit`` tasks (0: all)."""
    names = {name.strip() for name in only.split(",") if name.strip()}
    found = [case for case in cases if not names or {case.category, _task(case.id)} & names]
    tasks = list(dict.fromkeys(_task(case.id) for case in found))[: limit or None]
    return [case for case in found if _task(case.id) in tasks]


def _task(id: str) -> str:
    return id.rpartition("/")[0]


def row(model: str, found: RunRow) -> Row:
    """Return what is shown of a wording."""
    output = found.output
    told: Mapping[str, Any] = output.value if isinstance(output.value, dict) else {}
    return {
        "model": model,
        "task": _task(found.id),
        "kind": found.category,
        "wording": int(found.id.rpartition("/")[2]),
        "right": found.score.value == 1,
        "problems": [found.score.explanation] if found.score.explanation else [],
        "status": told.get("status", "error"),
        "answer": output.text[:2000],
        "failure": next(iter(told.get("failures", [])), "")[:500],
        "plan": list(told.get("plan", [])),
        "tokens": output.usage.total,
        "seconds": round(output.seconds, 2),
    }


def _line(row: Row) -> str:
    mark = "right" if row["right"] else "WRONG"
    parts = [*row["problems"], *filter(None, [row["failure"]])] if row["problems"] else []
    why = "  " + "; ".join(parts)
    return f"{mark} {row['model']} {row['task']}/{row['wording']} {row['seconds']:.0f} s{why}"[:200]


def score(rows: Sequence[Row]) -> dict[str, Any]:
    """Scores of one model, in all and per kind, and every wrong row."""
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
