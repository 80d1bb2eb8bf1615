"""Makespan of random DAGs of sleeping tools against their critical path, and CPU per task.

Every seed is run by plain tasks (one per node, waiting for its parents: the floor of what Python can
do), by the scheduler in memory, by the scheduler with the journal on disk, and through the whole
pipeline (journal, guard, budget, dispatch, as in ``shuntyard run``), one after the other, so that a
busy machine treats them alike.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from ..planner.dag import critical_path
from ..planner.schedule import Scheduler
from ..planner.values import parents
from ..protocols import Ctx, Handler
from ..steps import Limits, Node, Plan, Step, StepResult, ToolSpec

NAME = "scheduler"

SLEEP = ToolSpec(
    name="sleep",
    description="Waits.",
    parameters={"type": "object", "properties": {"seconds": {"type": "number"}, "inputs": {"type": "array"}}},
)
Runner = Callable[[Plan], Awaitable[None]]


async def run(
    *, seeds: int = 5, layers: int = 10, wide: int = 10, shape: str = "uniform", repeat: int = 5, journal: bool = True
) -> dict[str, Any]:
    """Return makespan ratios (makespan / critical path; ``to_plain``: / plain tasks) and CPU µs per task.

    ``shape`` is ``uniform`` (20 to 100 ms) or ``heavy`` (85 % 10 to 40 ms, 15 % 200 to 400 ms). ``repeat``
    is how often the CPU measurements are made; the least counts. Without ``journal`` nothing is written.
    """
    with tempfile.TemporaryDirectory(prefix="shuntyard-bench-", ignore_cleanup_errors=True) as place:
        async with _runners(Path(place), journal=journal) as runners:
            ratios: dict[str, list[float]] = {name: [] for name in runners}
            paths = []
            for seed in range(seeds):
                plan = layered(seed, layers, wide, shape)
                path = critical_path(plan, {node.id: _seconds(node) for node in plan.nodes})[1]
                paths.append(round(path, 4))
                for name, runner in runners.items():
                    began = time.perf_counter()
                    await runner(plan)
                    ratios[name].append((time.perf_counter() - began) / path)
            cpu = {
                name: {
                    "chain_100": await _cpu(runner, chain(100), repeat),
                    "fan_out_1000": await _cpu(runner, fan(1000), repeat),
                }
                for name, runner in runners.items()
            }
    return {
        "shape": shape,
        "nodes": layers * wide,
        "critical_path_seconds": paths,
        "ratio": {
            name: {
                "mean": round(statistics.mean(each), 4),
                "worst": round(max(each), 4),
                "to_plain": round(statistics.mean(each) / statistics.mean(ratios["plain"]), 4),
            }
            for name, each in ratios.items()
            if each
        },
        "cpu_us_per_task": cpu,
    }


def describe(result: Mapping[str, Any]) -> str:
    """Return the measurements as a table."""
    lines = [f"{'':10}{'makespan / critical path':>26}{'/ plain':>10}{'CPU per task, µs':>28}"]
    lines.append(f"{'':10}{'mean':>15}{'worst':>11}{'mean':>10}{'chain of 100':>16}{'fan-out of 1000':>17}")
    for name, cpu in result["cpu_us_per_task"].items():
        ratio = result["ratio"].get(name, {"mean": 0.0, "worst": 0.0, "to_plain": 0.0})
        lines.append(
            f"{name:10}{ratio['mean']:>15.3f}{ratio['worst']:>11.3f}{ratio['to_plain']:>10.3f}"
            f"{cpu['chain_100']:>16.1f}{cpu['fan_out_1000']:>17.1f}"
        )
    return "\n".join(lines)


def layered(seed: int, layers: int, wide: int, shape: str) -> Plan:
    """A random DAG: each node waits for one to three nodes of the layer before."""
    chance = random.Random(seed)
    nodes: list[Node] = []
    for layer in range(layers):
        for _ in range(wide):
            before = [node.id for node in nodes[(layer - 1) * wide : layer * wide]] if layer else []
            used = chance.sample(before, k=min(len(before), chance.randint(1, 3)))
            nodes.append(_node(len(nodes) + 1, used, _duration(chance, shape)))
    return Plan(task="layered", nodes=tuple(nodes))


def chain(size: int) -> Plan:
    """Nodes that each wait for the one before and take no time."""
    return Plan(task="chain", nodes=tuple(_node(at + 1, [f"n{at}"] if at else [], 0) for at in range(size)))


def fan(size: int) -> Plan:
    """One node and ``size`` that wait for it."""
    return Plan(task="fan", nodes=tuple(_node(at + 1, ["n1"] if at else [], 0) for at in range(size + 1)))


def _node(number: int, used: list[str], seconds: float) -> Node:
    inputs = [{"$ref": id} for id in used]
    return Node.model_validate({"id": f"n{number}", "tool": "sleep", "args": {"seconds": seconds, "inputs": inputs}})


def _duration(chance: random.Random, shape: str) -> float:
    if shape == "heavy" and chance.random() < 0.15:
        return chance.uniform(0.2, 0.4)
    return chance.uniform(0.01, 0.04) if shape == "heavy" else chance.uniform(0.02, 0.1)


def _seconds(node: Node) -> float:
    seconds = node.args["seconds"]
    assert isinstance(seconds, (int, float))
    return float(seconds)


async def _sleep(step: Step, ctx: Ctx) -> StepResult:
    if step.args["seconds"]:
        await anyio.sleep(step.args["seconds"])
    return StepResult(value=step.key.path)


async def _cpu(runner: Runner, plan: Plan, repeat: int) -> float:
    least = float("inf")
    for _ in range(repeat):
        began = time.process_time()
        await runner(plan)
        least = min(least, time.process_time() - began)
    return round(least / len(plan.nodes) * 1e6, 1)


@asynccontextmanager
async def _runners(place: Path, *, journal: bool) -> AsyncIterator[dict[str, Runner]]:
    async def memory(plan: Plan) -> None:
        await _schedule(_sleep, plan, "memory", place)

    runners: dict[str, Runner] = {"plain": _plain, "memory": memory}
    if not journal:
        yield runners
        return
    from ..agents.pipeline import pipeline
    from ..agents.rooms import open_rooms
    from ..memory.journal import recorded
    from ..settings import Settings
    from ..tools.spec import tool

    @tool(effect="read")
    async def sleep(seconds: float, inputs: list[str]) -> str:
        """Waits."""
        if seconds:
            await anyio.sleep(seconds)
        return "done"

    rooms = open_rooms(Settings(home=place / "home", workspace=place, memory=False), tools=[sleep])

    async def journaled(plan: Plan) -> None:
        run = rooms.runs.start(plan.task)
        await _schedule(recorded(rooms.journal, run)(_sleep), plan, run, place)

    async def whole(plan: Plan) -> None:
        run = rooms.runs.start(plan.task)
        await _schedule(pipeline(rooms, run), plan, run, place)

    try:
        yield {**runners, "journal": journaled, "pipeline": whole}
    finally:
        rooms.close()


async def _schedule(handle: Handler, plan: Plan, run: str, place: Path) -> None:
    ctx = Ctx(run=run, workspace=place, emit=lambda event: None, limits=Limits(concurrency=16))
    results = await Scheduler(handle, ctx, [SLEEP]).run(plan)
    failed = [result.failure for result in results.values() if not result.ok]
    assert not failed, failed[0]


async def _plain(plan: Plan) -> None:
    """The floor: a task per node that waits for its parents' events and sleeps."""
    done = {node.id: anyio.Event() for node in plan.nodes}

    async def one(node: Node) -> None:
        for id in parents(node):
            await done[id].wait()
        if seconds := _seconds(node):
            await anyio.sleep(seconds)
        done[node.id].set()

    async with anyio.create_task_group() as group:
        for node in plan.nodes:
            group.start_soon(one, node)
