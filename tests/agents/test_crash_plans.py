"""kill -9 at 25, 55 and 85 of the 101 nodes of random plans, on every executor; then resume."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from executor_parts import ON_RAY

from shuntyard.benchmarks import crash
from shuntyard.benchmarks.crash import Case, cases, crash_plan, tools
from shuntyard.benchmarks.crash.driver import Drive, ExecutorName
from shuntyard.benchmarks.crash.plans import Wanted
from shuntyard.errors import ShuntyardError, UsageError
from shuntyard.planner.values import parents
from shuntyard.protocols import Recorded
from shuntyard.steps import Effect, StepKey, StepResult

pytestmark = pytest.mark.anyio
POINTS = (25, 55, 85)
# A cluster takes seconds for each: there every point has one seed of the three.
KILLS = [(executor, point, seed) for executor in ("inprocess", "processes") for point in POINTS for seed in range(3)]
KILLS_ON_RAY = [pytest.param("ray", point, seed, marks=ON_RAY) for seed, point in enumerate(POINTS)]


@pytest.mark.parametrize(("executor", "point", "seed"), [*KILLS, *KILLS_ON_RAY])
async def test_nothing_finished_runs_again_and_nothing_happens_twice(
    executor: ExecutorName, point: int, seed: int, tmp_path: Path, address: Callable[[str], str]
) -> None:
    given = Drive(tmp_path, executor, seed, kill_at=point, ray_address=address(executor), env=dict(os.environ))
    found = await crash.case(given)
    assert (found.rerun, found.wrong, found.twice, found.unknown) == (0, 0, 0, 0)
    assert point <= found.finished <= found.replayed < 101


@pytest.mark.parametrize("seed", range(20))
def test_every_plan_has_fan_in_maps_and_effects(seed: int) -> None:
    wanted = crash_plan(seed)
    plan = wanted.plan
    assert len(plan.nodes) == len(wanted.values) == 101
    assert wanted == crash_plan(seed) != crash_plan(seed + 1)
    assert max(len(parents(node)) for node in plan.nodes[:-1]) >= 3
    maps = [node for node in plan.nodes if node.over is not None]
    assert {node.tool for node in maps} >= {"mix", "record"} or len(maps) > 5
    called = {node.tool for node in plan.nodes}
    assert called == {"mix", "spread", "record", "deliver"} and len(wanted.effects) > 15


def test_a_driver_that_is_not_killed_proves_nothing(tmp_path: Path) -> None:
    import anyio

    with pytest.raises(ShuntyardError, match="before it was killed"):
        anyio.run(crash.case, Drive(tmp_path, "inprocess", 0, size=9))


def judged(tmp_path: Path, *, before: list[str], after: list[str], values: dict[str, object]) -> Case:
    """What the judge says of a plan of which ``before`` was on record, and ``after`` was called later."""
    wanted = crash_plan(1, size=30)
    record = {StepKey("r", 0, path): Recorded("", 1, StepResult(value=1), "", 0.0) for path in before}
    for path, value in wanted.effects.items():
        tools._append(tmp_path / tools.EFFECTS, f"r:0:{path} {value}")
    told = {**wanted.values, **values}
    seen = cases.Seen(record=record, again=set(after), unknown=0, values=told, replayed=0, said={})
    return cases.judge(Drive(tmp_path, "inprocess", 1, size=30, kill_at=5, run="r"), seen, wanted, 0.0)


def test_the_judge_sees_what_must_not_be(tmp_path: Path) -> None:
    wanted: Wanted = crash_plan(1, size=30)
    effect = next(iter(wanted.effects))
    ids = [node.id for node in wanted.plan.nodes if node.effect is Effect.READ and node.over is None]
    right = judged(tmp_path, before=ids[:5], after=ids[5:], values={})
    assert right.faults == 0 and right.finished == 5
    (tmp_path / tools.EFFECTS).unlink()
    again = judged(tmp_path, before=ids[:5], after=ids[4:], values={ids[7]: -1})
    assert (again.rerun, again.wrong, again.twice) == (1, 1, 0)
    tools._append(tmp_path / tools.EFFECTS, f"r:0:{effect} {wanted.effects[effect]}")
    twice = judged(tmp_path, before=[], after=[], values={})
    assert twice.twice >= 1


async def test_a_benchmark_says_what_it_cannot_do() -> None:
    with pytest.raises(UsageError, match="executor='threads' is not known"):
        await crash.run(executor="threads")
    with pytest.raises(UsageError, match="points='25,101'"):
        await crash.run(points="25,101")


async def test_a_benchmark_counts_and_shows_every_case() -> None:
    heard: list[str] = []
    result = await crash.run(executor="inprocess", seeds=1, points="3,6", nodes=9, say=heard.append)
    assert [(row["executor"], row["point"], row["runs"]) for row in result["rows"]] == [
        ("inprocess", 3, 1),
        ("inprocess", 6, 1),
    ]
    assert len(result["cases"]) == len(heard) == 2
    assert "run again" in crash.describe(result) and "plans of 9 nodes" in crash.describe(result)


def test_the_tools_of_the_plans_run_in_workers(tmp_path: Path) -> None:
    from shuntyard import Agent
    from shuntyard.serving.scripted import ScriptedModel
    from shuntyard.settings import Settings

    settings = Settings(home=tmp_path, tools=(tools.__name__,), executor="processes", memory=False)
    agent = Agent(settings=settings, model=ScriptedModel([]), builtin=False)
    assert {agent.where(name) for name in ("mix", "spread", "record", "deliver")} == {"in a worker process"}
