"""Share of the example tasks that local models get right, in every wording.

Each wording runs by itself: an own copy of the sample files as the workspace, an own empty database and
no memory of the others, writing allowed. A row is logged as soon as its run ends, so that a
stopped benchmark can go on.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio

from ..errors import ShuntyardError
from ..evals.cases import Case, problems, read_cases
from ..settings import Settings, cache, load
from ..steps import Limits, RunResult

NAME = "examples"
FOLDER = Path(__file__).parents[1] / "examples"
SECONDS = 300.0

Row = dict[str, Any]


async def run(
    *,
    model: str = "qwen2.5-coder-1.5b",
    beside: str = "qwen2.5-coder-0.5b",
    only: str = "",
    limit: int = 0,
    resume: bool = False,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Run the tasks on ``model`` and then on ``beside`` (empty: none), and return the scores.

    ``only`` takes kinds or task ids, separated by commas; ``limit`` takes that many tasks. ``resume`` keeps
    the rows that an earlier run logged. ``say`` receives a line after each wording.
    """
    settings = load()
    log = cache(settings) / "bench" / "examples.jsonl"
    tasks = chosen(read_cases(FOLDER / "tasks.toml"), only, limit)
    rows = _logged(log) if resume else []
    known = {(row["model"], row["task"], row["wording"]) for row in rows}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a" if resume else "w", encoding="utf-8") as sink:
        for name in dict.fromkeys(item for item in (model, beside) if item):
            for task in tasks:
                for number, wording in enumerate(task.wordings):
                    if (name, task.id, number) in known:
                        continue
                    row = await _one(name, task, number, wording)
                    rows.append(row)
                    sink.write(json.dumps(row) + "\n")
                    sink.flush()
                    if say is not None:
                        say(_line(row))
    return summed(rows, tasks, [item for item in (model, beside) if item]) | {"log": str(log)}


def chosen(tasks: Sequence[Case], only: str, limit: int) -> tuple[Case, ...]:
    """The tasks of the kinds or ids in ``only`` (all when empty), at most ``limit`` (0: all)."""
    names = {name.strip() for name in only.split(",") if name.strip()}
    found = [task for task in tasks if not names or {task.kind, task.id} & names]
    return tuple(found[: limit or None])


async def _one(model: str, task: Case, number: int, wording: str) -> Row:
    with tempfile.TemporaryDirectory(prefix="shuntyard-", ignore_cleanup_errors=True) as place:
        workspace = Path(place, "workspace")
        shutil.copytree(FOLDER / "data", workspace)
        overrides = {
            "home": Path(place, "home"),
            "workspace": workspace,
            "model": model,
            "memory": False,
            "approve": ("write_file",),
        }
        result, error = await _run(wording, load(overrides, folder=workspace))
        found = problems(task, result, workspace) if result is not None else [error]
    return {
        "model": model,
        "task": task.id,
        "kind": task.kind,
        "wording": number,
        "right": not found,
        "problems": found,
    } | _told(result)


async def _run(wording: str, settings: Settings) -> tuple[RunResult | None, str]:
    from ..agents.agent import Agent

    try:
        async with Agent(settings=settings) as agent:
            with anyio.fail_after(SECONDS + 60):
                return await agent.run(wording, limits=Limits(deadline=SECONDS)), ""
    except (ShuntyardError, TimeoutError) as error:
        return None, f"{type(error).__name__}: {error}"


def _told(result: RunResult | None) -> Row:
    if result is None:
        return {"status": "error", "answer": "", "failure": "", "plan": [], "tokens": 0, "seconds": 0.0}
    nodes = result.plan.nodes if result.plan is not None else ()
    return {
        "status": result.status,
        "answer": result.answer[:2000],
        "failure": result.failure.message[:500] if result.failure is not None else "",
        "plan": [f"{node.id} {node.tool}({json.dumps(node.args)})" for node in nodes],
        "tokens": result.usage.total,
        "seconds": round(result.seconds, 2),
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


def summed(rows: Sequence[Row], tasks: Sequence[Case], models: Sequence[str]) -> dict[str, Any]:
    """Scores per model and kind, and every wrong row."""
    ids = {task.id: task for task in tasks}
    return {
        "models": {
            model: _score([row for row in rows if row["model"] == model and row["task"] in ids]) for model in models
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
