"""What the harness costs a case, counted: how long it takes is measured by ``shuntyard bench evals``."""

import sys
from typing import Any

import pytest

from shuntyard.benchmarks import evals

pytestmark = pytest.mark.anyio


async def counted(cases: int) -> tuple[int, dict[str, Any]]:
    """Calls of functions, bare loop and resumption included, and what the benchmark says."""
    calls = 0

    def count(frame: object, event: str, arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        result = await evals.run(cases=cases, repeat=1)
    finally:
        sys.setprofile(None)
    return calls, result


async def test_a_case_costs_the_harness_no_more_where_there_are_many() -> None:
    await evals.run(cases=1, repeat=1)  # what is imported on first use counts for no case
    few, small = await counted(100)
    more, _ = await counted(200)
    many, large = await counted(400)
    first, later = (more - few) / 100, (many - more) / 200
    assert 0 < later < 1.2 * first < 1000, (few, more, many)
    assert large["log_bytes_per_case"] <= small["log_bytes_per_case"]
    assert large["cases"] == 400 and set(large["us_per_case"]) == {"bare", "harness", "resumed"}
    assert "harness" in evals.describe(large)
