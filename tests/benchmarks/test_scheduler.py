import pytest

from shuntyard.benchmarks import scheduler
from shuntyard.benchmarks.scheduler import large, measure
from shuntyard.benchmarks.scheduler.dags import large as large_dag
from shuntyard.errors import UsageError
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


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fan of 50 instead of 1,000: that of LangGraph takes seconds to build."""
    monkeypatch.setattr(measure, "fan", lambda size: scheduler.fan(50))


@pytest.mark.usefixtures("small")
async def test_every_way_of_running_is_measured_and_near_the_critical_path() -> None:
    result = await scheduler.run(shape="heavy", seeds=1, tries=1, repeat=1, nodes=0)
    ways = {"asyncio", "memory", "durable", "langgraph"}
    assert set(result["makespan"]) == {"heavy"} and set(result["makespan"]["heavy"]) == ways
    assert all(1.0 <= ratio["mean"] <= ratio["worst"] for ratio in result["makespan"]["heavy"].values())
    for cpu in result["cpu_us_per_task"].values():
        assert set(cpu) == {*ways, "durable_full"} and all(cpu.values())
    assert [bar["what"] for bar in result["bars"]][:2] == ["makespan, heavy, memory", "makespan, heavy, durable"]
    table = scheduler.describe(result)
    assert "durable_full" in table and "load average" in table


@pytest.mark.usefixtures("small")
async def test_what_is_left_out_is_not_measured() -> None:
    result = await scheduler.run(shape="uniform", seeds=1, tries=1, repeat=1, nodes=0, journal=False, peer=False)
    assert set(result["cpu_us_per_task"]["chain_100"]) == {"asyncio", "memory"} and result["large"] == []


async def test_an_unknown_shape_is_refused_before_anything_runs() -> None:
    with pytest.raises(UsageError, match="shape='tall' is not known"):
        await scheduler.run(shape="tall")


def test_a_large_dag_is_measured_in_a_process_of_its_own() -> None:
    (row,) = large.measure([300], repeat=1)
    assert row["nodes"] == 300 and row["cpu_us_per_node"] > 0 and row["rss_mb"] > 0
    assert large.sizes(100_000) == [1_000, 10_000, 100_000] and large.sizes(500) == [500]
    plan = large_dag(300)
    assert len(plan.nodes) == 300 and all(parents(node) for node in plan.nodes[1:])


def test_a_bar_that_is_missed_is_told() -> None:
    result = {
        "makespan": {"uniform": {"asyncio": {"mean": 1.01}, "memory": {"mean": 1.03}, "durable": {"mean": 1.02}}},
        "cpu_us_per_task": {"chain_100": {"memory": 50.0, "durable": 250.0, "durable_full": 399.0}},
        "large": [
            {"nodes": 1_000, "cpu_us_per_node": 50.0, "rss_mb": 6.0},
            {"nodes": 100_000, "cpu_us_per_node": 75.0, "rss_mb": 700.0},
        ],
    }
    missed = [bar["what"] for bar in measure.bars(result) if not bar["ok"]]
    assert missed == ["makespan, uniform, memory", "CPU µs, chain_100, durable", "MB, 100,000 nodes"]
