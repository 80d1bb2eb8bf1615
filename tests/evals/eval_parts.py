"""What the tests of the harness share: a suite whose solver and scorer do what a test wants."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from shuntyard.evals.case import Case, Output, Score
from shuntyard.evals.data import Data
from shuntyard.evals.harness import Setup
from shuntyard.evals.log import Configuration, Selection
from shuntyard.evals.suite import Means, Solver, SolverInfo, Suite
from shuntyard.settings import Settings

Solve = Callable[[Case, int], Awaitable[Output]]


def cases(count: int, *, categories: Sequence[str] = ("",)) -> list[Case]:
    """Cases that ask for twice a number; the categories take turns."""
    return [
        Case(id=f"c{at}", category=categories[at % len(categories)], input=at, target=2 * at) for at in range(count)
    ]


async def double(case: Case, seed: int) -> Output:
    """A solver that is right."""
    assert isinstance(case.input, int)
    return Output(text=str(2 * case.input))


async def exact(case: Case, output: Output) -> Score:
    """A scorer that wants the target's text."""
    right = output.text == str(case.target)
    return Score(value=float(right), answer=output.text, explanation="" if right else f"not {case.target}")


def suite(given: Iterable[Case], solve: Solve = double, *, needs_model: bool = False, **more: Any) -> Suite:
    """A suite of one solver, ``only``."""

    @asynccontextmanager
    async def opened(means: Means) -> AsyncIterator[Solver]:
        async def solver(case: Case, *, seed: int) -> Output:
            return await solve(case, seed)

        yield solver

    def read(data: Data) -> Iterable[Case]:
        return given

    info = SolverInfo(open=opened, about="does what the test wants", needs_model=needs_model)
    options = {"scorer": exact, "solvers": {"only": info}, "solver": "only", **more}
    return Suite(name="scripted", about="for tests", cases=read, **options)


def setup(home: Path, *, seed: int = 0, **more: Any) -> Setup:
    """Conditions with a home of their own; selection fields may be given beside those of Setup."""
    fields = {key: more.pop(key) for key in list(more) if key in Selection.model_fields}
    return Setup(
        settings=Settings(home=home),
        configuration=Configuration(solver="only", seed=seed, shuntyard="test"),
        selection=Selection(seed=seed, **fields),
        **more,
    )
