import pytest

from shuntyard.benchmarks import scheduler
from shuntyard.planner.dag import critical_path, width
from shuntyard.planner.values import parents

pytestmark = pytest.mark.anyio


def test_the_same_seed_makes_the_same_layered_dag() -> None:
    plan = scheduler.layered(3, 10, 10, "uniform")
    assert plan == scheduler.layered(3, 10, 10, "uniform") != scheduler.layered(4, 10, 10, "uniform")
    assert len(plan.nodes) == 100 and width(plan) == 10
    path, seconds = critical_path(plan, {node.id: 0.05 for node in plan.nodes})
    assert len(path) == 10 and seconds == pytest.approx(0.5)
    assert all(1 <= len(parents(node)) <= 3 for node in plan.nodes[10:])


async def test_every_way_of_running_is_measured_and_near_the_critical_path() -> None:
    result = await scheduler.run(seeds=1, layers=4, wide=4, repeat=1)
    assert set(result["ratio"]) == set(result["cpu_us_per_task"]) == {"plain", "memory", "journal", "pipeline"}
    for ratio in result["ratio"].values():
        assert 1.0 <= ratio["mean"] <= ratio["worst"] < 1.5
    table = scheduler.describe(result)
    assert len(table.splitlines()) == 6 and "pipeline" in table


async def test_heavy_tails_and_no_journal() -> None:
    result = await scheduler.run(seeds=1, layers=2, wide=3, repeat=1, shape="heavy", journal=False)
    assert set(result["ratio"]) == {"plain", "memory"}
