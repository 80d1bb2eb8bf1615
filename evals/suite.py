"""A suite: where its cases come from, who may solve them, and who judges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from ..protocols import Model
from ..settings import Settings
from .case import Case, Output, Score
from .data import Data, DataSource


@dataclass(frozen=True, slots=True)
class Means:
    """What a solver may use."""

    settings: Settings
    model: Model | None
    """The model under test, open; None for solvers that need none."""
    temperature: float = 0.0


class Solver(Protocol):
    """Answers cases. Called for many at once; an exception becomes an output with ``error``."""

    async def __call__(self, case: Case, *, seed: int) -> Output:
        """Answer ``case``; equal seeds give equal answers where the model allows it."""


class Scorer(Protocol):
    """Judges an output. Never sees an output with an error: those score 0 by themselves."""

    async def __call__(self, case: Case, output: Output) -> Score:
        """Judge; must not change anything outside."""


OpenSolver = Callable[[Means], AbstractAsyncContextManager[Solver]]
"""Opens a solver for one evaluation and closes it after."""
Baseline = Callable[[Sequence[Case]], Mapping[str, Score]]
"""Scores by case id that need no model: random, majority, oracle."""


@dataclass(frozen=True, slots=True)
class SolverInfo:
    """One way to solve a suite."""

    open: OpenSolver
    about: str
    needs_model: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A named set of cases with its scorer and the solvers that fit it."""

    name: str
    about: str
    """One line for ``eval list``."""
    sources: tuple[DataSource, ...] = ()
    cases: Callable[[Data], Iterable[Case]]
    """Streams the cases in a fixed order. Raises DataInvalid for a file that is cut or broken."""
    scorer: Scorer
    solvers: Mapping[str, SolverInfo]
    solver: str
    """Name of the solver that is used when none is named."""
    sample: int = 0
    """Cases that a local model gets when no limit is given; 0: all."""
    timeout: float = 300.0
    """Seconds a case may take."""
    baselines: Mapping[str, Baseline] = field(default_factory=dict)
    version: int = 1
    """Raised when cases or scorer change so that old results no longer compare."""
    notes: str = ""
    """What the figures do not say."""
