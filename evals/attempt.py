"""One case solved and judged: within its time, and whatever goes wrong is told in the row."""

from __future__ import annotations

import time
from math import isfinite
from typing import TypeVar

import anyio

from ..errors import ShuntyardError
from ..messages import ModelInfo
from .case import Case, Output, Score
from .runs import price
from .suite import Scorer, Solver

T = TypeVar("T")


async def solve(solver: Solver, case: Case, *, seed: int, timeout: float, info: ModelInfo | None) -> Output:
    """Return the solver's output; a failure or the end of ``timeout`` seconds becomes an output with ``error``.

    Seconds and cost are filled in where the solver has not said them.
    """
    began = time.perf_counter()
    try:
        with anyio.move_on_after(timeout) as scope:
            output = checked(await solver(case, seed=seed), Output)
        if scope.cancelled_caught:
            output = Output(error=f"timeout: no answer within {timeout:g} s.")
        Output.model_validate_json(output.model_dump_json())  # what cannot be read back must not reach the log
    except Exception as error:
        output = Output(error=told(error, "solver_failed"))
    missing: dict[str, object] = {}
    if "seconds" not in output.model_fields_set:
        missing["seconds"] = time.perf_counter() - began
    if "cost" not in output.model_fields_set and info is not None:
        missing["cost"] = price(info, output.usage)
    return output.model_copy(update=missing)


async def judge(scorer: Scorer, case: Case, output: Output, *, timeout: float) -> tuple[Score, str]:
    """Return the score of an output, and ``code: message`` when the scorer failed (the score is 0 then)."""
    if output.error:
        return Score(value=0, answered=False, explanation=output.error), ""
    why = f"scorer_failed: no score within {timeout:g} s."
    try:
        with anyio.move_on_after(timeout):
            score = checked(await scorer(case, output), Score)
            if not all(map(isfinite, score.parts.values())):
                raise ValueError(f"parts {score.parts!r} are not all numbers.")
            return score, ""
    except Exception as error:
        why = told(error, "scorer_failed", whole=True)
    return Score(value=0, answered=False, explanation=why), why


def checked(value: object, kind: type[T]) -> T:
    """Return ``value``; TypeError unless it is of ``kind``: solvers and scorers are other people's code."""
    if not isinstance(value, kind):
        raise TypeError(f"it returned {value!r:.80}, not {kind.__name__}.")
    return value


def told(error: BaseException, code: str, *, whole: bool = False) -> str:
    """Return ``code: message`` in one line: our errors have a code of their own, unless ``whole`` keeps ``code``."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = " ".join(str(error).split())[:1000]
    if isinstance(error, ShuntyardError):
        return f"{code}: {error.code}: {text}" if whole else f"{error.code}: {text}"
    return f"{code}: {type(error).__name__}{': ' + text if text else ''}"
