"""The calls, kept in a file as they come, and what they say."""

from __future__ import annotations

import heapq
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ...evals.models import candidate
from ...messages import ModelInfo
from ...planner.chunks import Chunking, choose_chunk
from ...protocols import Model
from ...settings import home, load
from .fit import Fitted, Pace, Row, fitted, pace_of
from .tasks import KINDS

_HELD_OUT = 10_000
"""Seeds from here on are for measuring, those before for fitting."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is measured."""

    tasks: Sequence[str]
    items: int
    """Of a whole task."""
    grid: Sequence[int]
    """Sizes of parts, in items; each twice the one before."""
    parts: int
    """Calls for each size."""
    concurrency: int

    @property
    def fitting(self) -> Sequence[int]:
        """The sizes that are fitted to: both ends and the middle."""
        return sorted({self.grid[0], self.grid[len(self.grid) // 2], self.grid[-1]})

    def calls(self, task: str) -> Iterable[tuple[int, int]]:
        """Size and seed of every call of a task: those to fit first."""
        yield from ((size, seed) for size in self.fitting for seed in range(self.parts))
        yield from ((size, _HELD_OUT + seed) for size in self.grid for seed in range(self.parts))


async def run(
    *,
    model: str = "qwen2.5-coder-0.5b",
    tasks: str = "counting,sorting,retrieval",
    items: int = 32,
    parts: int = 12,
    concurrency: int = 4,
    minutes: float = 10.0,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Return for each task the size that was predicted best and the one that was, and what each size came to.

    The whole has ``items`` items; parts have 2, 4, 8 … of them. ``parts`` calls are made for each size, and again
    for the three that are fitted to. ``concurrency`` calls run at once in the seconds that are counted, not in
    fact. After ``minutes`` no call is made; what is there is kept, and the same command goes on with it. ``say``
    receives a line after each size. Raises UsageError for what cannot be measured.
    """
    setting = _setting(tasks, items, parts, concurrency)
    settings = load({"model": model})
    chosen = candidate(settings)
    place = home(settings) / "bench" / f"granularity-{chosen.info.name}-{chosen.sha256[:12] or 'remote'}.jsonl"
    log = Log(place)
    opened = await chosen.open()
    ended = await fill(opened, setting, log, until=time.monotonic() + minutes * 60, say=say)
    rows = log.rows()
    results = {task: judged(rows[task], setting, opened.info, task) for task in setting.tasks if task in ended}
    return {
        "model": chosen.info.name,
        "items": items,
        "concurrency": concurrency,
        "tasks": results,
        "unmeasured": [task for task in setting.tasks if task not in ended],
        "log": str(place),
    }


class Log:
    """Calls that were made, one a line; written as they come."""

    def __init__(self, place: Path) -> None:
        """Keep them in ``place``; what a stopped run left of a line is dropped."""
        self._place = place
        place.parent.mkdir(parents=True, exist_ok=True)
        self._rows = [Row.model_validate_json(line) for line in self._lines() if line.endswith("}")]

    def add(self, row: Row) -> None:
        """Keep one more."""
        self._rows.append(row)
        with self._place.open("a") as file:
            file.write(f"\n{row.model_dump_json()}")

    def rows(self) -> dict[str, list[Row]]:
        """By task."""
        found: dict[str, list[Row]] = {}
        for row in self._rows:
            found.setdefault(row.task, []).append(row)
        return found

    def _lines(self) -> list[str]:
        return self._place.read_text().splitlines() if self._place.exists() else []


async def fill(
    model: Model, setting: Setting, log: Log, *, until: float, say: Callable[[str], None] | None = None
) -> list[str]:
    """Make the calls that the log does not have, while there is time; return the tasks that are complete."""
    ended: list[str] = []
    for task in setting.tasks:
        done = {(row.size, row.seed) for row in log.rows().get(task, ())}
        for size, seed in setting.calls(task):
            if (size, seed) in done:
                continue
            if time.monotonic() > until:
                return ended
            part = KINDS[task].make(size, seed)
            answer = await model.complete(part.request)
            used = answer.usage
            log.add(
                Row(
                    task=task, size=size, seed=seed, prompt=used.prompt, cached=used.cached, written=used.completion,
                    seconds=answer.seconds, loss=part.loss(answer.text),
                )
            )  # fmt: skip
            if say is not None and seed % _HELD_OUT == setting.parts - 1:
                say(f"{task}: {'measured' if seed >= _HELD_OUT else 'fitted to'} parts of {size}")
        ended.append(task)
    return ended


def judged(rows: Sequence[Row], setting: Setting, info: ModelInfo, task: str) -> dict[str, Any]:
    """Fit to the first seeds, predict, and compare with the other seeds."""
    known = [row for row in rows if row.seed < _HELD_OUT and row.size in setting.fitting]
    held = {size: [row for row in rows if row.seed >= _HELD_OUT and row.size == size] for size in setting.grid}
    pace = pace_of(known)
    model = fitted(known, info, pace)
    predicted = {size: _predicted(model, setting, [size]) for size in setting.grid}
    best = _predicted(model, setting, setting.grid).size // model.unit
    measured = {size: _measured(held[size], setting, pace) for size in setting.grid}
    found = min(setting.grid, key=lambda size: (measured[size]["seconds_per_right"], -size))
    steps = abs(setting.grid.index(best) - setting.grid.index(found))
    return {
        "error_is": KINDS[task].means,
        "predicted_best": best,
        "measured_best": found,
        "grid_steps": steps,
        "loss_of_prediction": measured[best]["seconds_per_right"] / measured[found]["seconds_per_right"] - 1,
        "seconds_per_token": {"reading": pace.reading, "writing": pace.writing},
        "sizes": [
            {"size": size, "predicted": _plain(predicted[size]), "measured": measured[size]} for size in setting.grid
        ],
    }


def _predicted(model: Fitted, setting: Setting, sizes: Sequence[int]) -> Chunking:
    return choose_chunk(
        setting.items * model.unit,
        model.cut,
        model.model,
        concurrency=setting.concurrency,
        least="seconds_per_right",
        sizes=[size * model.unit for size in sizes],
    )


def _plain(found: Chunking) -> dict[str, float]:
    return {"seconds": found.seconds, "error": found.error, "seconds_per_right": found.seconds_per_right}


def _measured(rows: Sequence[Row], setting: Setting, pace: Pace) -> dict[str, float]:
    """A whole out of the parts that were measured: laid out over the calls at once, wrong as they are on average."""
    each = [pace.seconds(row) for row in rows]
    count = setting.items // rows[0].size
    free = [0.0] * setting.concurrency
    for at in range(count):
        heapq.heapreplace(free, free[0] + each[at % len(each)])
    seconds, error = max(free), statistics.mean(row.loss for row in rows)
    # All wrong counts as half a call right: with more calls one might have been.
    right = max(1 - error, 0.5 / len(rows))
    return {"seconds": seconds, "error": error, "seconds_per_right": seconds / right}


def _setting(tasks: str, items: int, parts: int, concurrency: int) -> Setting:
    names = [name.strip() for name in tasks.split(",") if name.strip()]
    for name in names:
        if name not in KINDS:
            raise UsageError(f"tasks={tasks!r}: {name!r} is not known; write some of {', '.join(KINDS)}.")
    if items < 8 or items & (items - 1):
        raise UsageError(f"items={items!r} is no power of two from 8 on; write items=32.")
    if parts < 2 or concurrency < 1:
        raise UsageError(f"parts={parts!r} concurrency={concurrency!r} are too few; write parts=12 concurrency=4.")
    grid = [size for size in (2**power for power in range(1, 20)) if size <= items]
    return Setting(names, items, grid, parts, concurrency)


def within_one(result: Mapping[str, Any]) -> bool:
    """Whether every task was measured and predicted within one step of the grid."""
    return not result["unmeasured"] and all(each["grid_steps"] <= 1 for each in result["tasks"].values())
