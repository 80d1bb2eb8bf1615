"""What a large DAG costs: CPU per node and the growth of memory, each size in a process of its own."""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import anyio

from ...planner.schedule import Scheduler
from ...protocols import Ctx
from ...steps import Limits, Step, StepResult, ToolSpec
from .dags import large

SPEC = ToolSpec(
    name="sleep",
    description="Does nothing.",
    parameters={"type": "object", "properties": {"seconds": {"type": "number"}, "inputs": {"type": "array"}}},
)


def sizes(largest: int) -> list[int]:
    """1,000 and its tenfolds up to ``largest``."""
    return [size for size in (1_000, 10_000, 100_000, 1_000_000) if size < largest] + [largest]


def measure(wanted: Sequence[int], *, repeat: int) -> list[dict[str, Any]]:
    """Return size, µs per node (the least of ``repeat``) and MB of growth, plan and results included."""
    spawn = multiprocessing.get_context("spawn")
    found = []
    for size in wanted:
        rows = []
        for _ in range(repeat):
            with ProcessPoolExecutor(1, mp_context=spawn) as pool:
                rows.append(pool.submit(_once, size).result())
        cpu = min(row[0] for row in rows)
        found.append({"nodes": size, "cpu_us_per_node": round(cpu, 1), "rss_mb": round(max(row[1] for row in rows), 1)})
    return found


def _once(size: int) -> tuple[float, float]:
    before = _peak()
    plan = large(size)

    async def handle(step: Step, ctx: Ctx) -> StepResult:
        return StepResult(value="done")

    async def go() -> float:
        ctx = Ctx(run="r", workspace=Path.cwd(), emit=lambda event: None, limits=Limits(concurrency=16))
        began = time.process_time()
        results = await Scheduler(handle, ctx, [SPEC]).run(plan)
        took = time.process_time() - began
        assert len(results) == size and all(result.ok for result in results.values())
        return took

    return anyio.run(go) / size * 1e6, _peak() - before


def _peak() -> float:
    """The most memory that this process has had, in MB."""
    status = Path("/proc/self/status")
    if status.exists():
        # Linux hands the parent's peak on to a new process as if it were its own, but not in this file.
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
