"""The measurements, and the bars that they are held to."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ...steps import Plan
from . import large
from .dags import SHAPES, chain, fan, layered, path_seconds
from .ways import Go, Way, ways


async def run(
    *,
    shape: str = "both",
    seeds: int = 5,
    tries: int = 3,
    repeat: int = 7,
    nodes: int = 100_000,
    journal: bool = True,
    peer: bool = True,
) -> dict[str, Any]:
    """Return makespan / critical path by shape and way, CPU µs per task, the large DAG, and the bars.

    ``shape`` is ``uniform``, ``heavy`` or ``both``; the least of ``tries`` counts for every seed, the least
    of ``repeat`` for CPU. ``nodes`` is the size of the largest DAG (0 leaves it out), ``journal`` and
    ``peer`` include the durable ways and LangGraph.
    """
    if shape not in (*SHAPES, "both"):
        raise UsageError(f"shape={shape!r} is not known; write one of shape=uniform, shape=heavy, shape=both.")
    shapes = SHAPES if shape == "both" else (shape,)
    load = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory(prefix="shuntyard-bench-", ignore_cleanup_errors=True) as place:
        async with ways(Path(place), journal=journal, peer=peer) as found:
            timed = {name: way for name, way in found.items() if name != "durable_full"}
            makespan = {one: await _makespans(timed, one, seeds, tries) for one in shapes}
            cpu = {
                "chain_100": await _cpu(found, chain(100), repeat),
                "fan_out_1000": await _cpu(found, fan(1000), repeat),
            }
    load.append(os.getloadavg()[0])
    sizes = large.measure(large.sizes(nodes), repeat=2) if nodes else []
    load.append(os.getloadavg()[0])
    result = {"makespan": makespan, "cpu_us_per_task": cpu, "large": sizes, "load": [round(one, 1) for one in load]}
    return {**result, "bars": bars(result)}


async def _makespans(found: Mapping[str, Way], shape: str, seeds: int, tries: int) -> dict[str, Any]:
    ratios: dict[str, list[float]] = {name: [] for name in found}
    for seed in range(seeds):
        plan = layered(seed, 10, 10, shape)
        path = path_seconds(plan)
        prepared = {name: way(plan) for name, way in found.items()}
        least = dict.fromkeys(found, float("inf"))
        for _ in range(tries):
            for name, go in prepared.items():
                began = time.perf_counter()
                await go()
                least[name] = min(least[name], time.perf_counter() - began)
        for name, took in least.items():
            ratios[name].append(took / path)
    return {
        name: {"mean": round(statistics.mean(each), 4), "worst": round(max(each), 4)} for name, each in ratios.items()
    }


async def _cpu(found: Mapping[str, Way], plan: Plan, repeat: int) -> dict[str, float]:
    prepared: dict[str, Go] = {name: way(plan) for name, way in found.items()}
    least = dict.fromkeys(found, float("inf"))
    for _ in range(repeat):
        for name, go in prepared.items():
            began = time.process_time()
            await go()
            least[name] = min(least[name], time.process_time() - began)
    return {name: round(took / len(plan.nodes) * 1e6, 1) for name, took in least.items()}


def bars(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was measured against what is promised; ``ok`` where it is kept."""
    rows: list[tuple[str, float, float]] = []
    for shape, each in result["makespan"].items():
        for way, room in (("memory", 0.01), ("durable", 0.02 if shape == "uniform" else 0.03)):
            if way in each:
                bar = each["asyncio"]["mean"] + room
                rows.append((f"makespan, {shape}, {way}", each[way]["mean"], bar))
    for case, cpu in result["cpu_us_per_task"].items():
        for way, most in (("memory", 100), ("durable", 200), *((("durable_full", 400),) if "chain" in case else ())):
            if way in cpu:
                rows.append((f"CPU µs, {case}, {way}", cpu[way], most))
    if sizes := result["large"]:
        each = [row["cpu_us_per_node"] for row in sizes]
        rows.append((f"MB, {sizes[-1]['nodes']:,} nodes", sizes[-1]["rss_mb"], 600 * sizes[-1]["nodes"] / 100_000))
        rows.append((f"CPU per node, {sizes[-1]['nodes']:,} / {sizes[0]['nodes']:,} nodes", each[-1] / each[0], 2.0))
    return [
        {"what": what, "measured": round(value, 4), "bar": round(bar, 4), "ok": value <= bar}
        for what, value, bar in rows
    ]
