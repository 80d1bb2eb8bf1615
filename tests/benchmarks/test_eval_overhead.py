import pytest

from shuntyard.benchmarks import evals

pytestmark = pytest.mark.anyio


async def test_the_harness_costs_less_than_five_milliseconds_a_case() -> None:
    result = await evals.run(cases=200, repeat=1)
    assert result["cases"] == 200 and result["ratio"] > 1
    assert 0 < result["us_per_case"]["bare"] < result["us_per_case"]["harness"] < 5000
    assert 0 < result["us_per_case"]["resumed"] < 5000
    assert "harness" in evals.describe(result)
