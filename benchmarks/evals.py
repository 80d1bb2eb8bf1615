"""What the evaluation harness costs per case: with a solver that does nothing, against a bare loop over the same cases.

The log is written as in any run, on the disk of the temporary folder.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ..evals.case import Case, Output, Score
from ..evals.data import Data
from ..evals.harness import Setup
from ..evals.harness import run as run_suite
from ..evals.log import Configuration
from ..evals.suite import Means, Solver, SolverInfo, Suite
from ..settings import Settings

NAME = "evals"


async def run(*, cases: int = 2000, concurrency: int = 4, repeat: int = 3) -> dict[str, Any]:
    """Return microseconds per case (the least of ``repeat``): bare loop, harness, and a log that has it all."""
    given = [
        Case(id=f"c{at}", category=f"k{at % 8}", input={"text": f"question {at}"}, target=at) for at in range(cases)
    ]
    suite = _suite(given)
    least = {"bare": float("inf"), "harness": float("inf"), "resumed": float("inf")}
    size = 0
    for _ in range(repeat):
        with tempfile.TemporaryDirectory(prefix="shuntyard-bench-") as place:
            setup = Setup(
                settings=Settings(home=Path(place)),
                configuration=Configuration(solver="nothing"),
                concurrency=concurrency,
            )
            least["bare"] = min(least["bare"], await _bare(given))
            for name in ("harness", "resumed"):
                began = time.perf_counter()
                result = await run_suite(suite, setup)
                least[name] = min(least[name], time.perf_counter() - began)
            size = result.log.path.stat().st_size
    return {
        "cases": cases,
        "us_per_case": {name: round(seconds / cases * 1e6, 1) for name, seconds in least.items()},
        "ratio": round(least["harness"] / least["bare"], 1),
        "log_bytes_per_case": round(size / cases),
    }


def describe(result: Mapping[str, Any]) -> str:
    """Return the measurements as a table."""
    lines = [f"{'':10}{'µs per case':>14}"]
    lines += [f"{name:10}{value:>14.1f}" for name, value in result["us_per_case"].items()]
    lines.append(f"{result['cases']} cases; {result['log_bytes_per_case']} bytes of log per case")
    return "\n".join(lines)


async def _nothing(case: Case, *, seed: int) -> Output:
    return Output(text="1")


async def _score(case: Case, output: Output) -> Score:
    return Score(value=1.0)


async def _bare(given: Iterable[Case]) -> float:
    began = time.perf_counter()
    for case in given:
        await _score(case, await _nothing(case, seed=0))
    return time.perf_counter() - began


def _suite(given: Iterable[Case]) -> Suite:
    @asynccontextmanager
    async def opened(means: Means) -> AsyncIterator[Solver]:
        yield _nothing

    def cases(data: Data) -> Iterable[Case]:
        return given

    return Suite(
        name="nothing",
        about="cases that ask for nothing",
        cases=cases,
        scorer=_score,
        solvers={"nothing": SolverInfo(opened, "does nothing", needs_model=False)},
        solver="nothing",
    )
