"""Scorers for a person's own cases: a few that are built in, and Python functions from a file."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import re
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import isclose, isfinite
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
from pydantic import JsonValue

from ..errors import UnknownName, UsageError
from .case import Case, Output, Score
from .suite import Scorer

_NUMBER = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?")
NAME = "score"
"""Function that is taken from a scorer file when none is named."""


@dataclass(frozen=True, slots=True)
class Judge:
    """One built-in scorer: what a target must be, and when a text is right."""

    about: str
    needs: Callable[[JsonValue], str]
    """Returns how to mend a target that it cannot work with; empty when it can."""
    score: Callable[[JsonValue, str], Score]


def load_scorer(place: str) -> Scorer:
    """Return the function of ``FILE.py[:function]`` as a scorer.

    It is called as ``function(case, output)`` and returns a Score, a number of 0 to 1 or a bool; it may be
    async; one that is not runs in a thread. Runs the file: name only code you trust. Raises UsageError.
    """
    path, name = _split(place)
    module = _module(path)
    function = getattr(module, name, None)
    if not callable(function):
        known = [key for key, item in vars(module).items() if inspect.isfunction(item) and not key.startswith("_")]
        raise UnknownName("scorer function", name, known, mend=f"Name it: --scorer {path}:FUNCTION")
    return _Function(function)


class _Function:
    def __init__(self, function: Callable[[Case, Output], Any]) -> None:
        self._function = function

    async def __call__(self, case: Case, output: Output) -> Score:
        if inspect.iscoroutinefunction(self._function):
            found = await self._function(case, output)
        else:
            found = await _in_thread(partial(self._function, case, output))
        if isinstance(found, Score):
            return found
        if not isinstance(found, int | float):
            raise TypeError(f"it returned {found!r:.80}; return a Score, a number of 0 to 1 or a bool.")
        return Score(value=float(found), answer=output.text[:200])


async def _in_thread(call: Callable[[], Any]) -> Any:
    """Run ``call`` in a thread that dies with the process: one that hangs must not keep it from ending."""
    done, token = anyio.Event(), anyio.lowlevel.current_token()
    outcome: list[Any] = []
    failure: list[Exception] = []

    def work() -> None:
        try:
            outcome.append(call())
        except Exception as error:
            failure.append(error)
        # Nobody waits any more when the time was over and the run has ended.
        with suppress(RuntimeError):
            anyio.from_thread.run_sync(done.set, token=token)

    threading.Thread(target=work, name="shuntyard-scorer", daemon=True).start()
    await done.wait()
    if failure:
        raise failure[0]
    return outcome[0]


def _split(place: str) -> tuple[Path, str]:
    file, _, name = place.partition(".py:")
    path = Path(f"{file}.py" if name else place).expanduser()
    if path.suffix != ".py" or not path.is_file():
        raise UsageError(
            f"--scorer {place!r} is neither a file FILE.py[:function] nor one of {', '.join(BUILT_IN)}; check the path."
        )
    return path, name or NAME


def scorer_file(place: str) -> Path:
    """Return the file of ``FILE.py[:function]``. Raises UsageError when it is not there."""
    return _split(place)[0]


def _module(path: Path) -> ModuleType:
    name = f"shuntyard_scorer_{hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{str(path)!r} is not a Python file; name a .py file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        where = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise UsageError(
            f"{str(path)!r}{where} cannot be loaded: {type(error).__name__}: {error}; mend the file."
        ) from error
    return module


def _verdict(right: bool, answer: str, why: str) -> Score:
    return Score(value=float(right), answer=answer[:200], explanation="" if right else why[:500])


def _options(target: JsonValue) -> list[str]:
    return [str(each) for each in (target if isinstance(target, list) else [target])]


def _exact(target: JsonValue, text: str) -> Score:
    return _verdict(text.strip() in _options(target), text.strip(), f"not {target!r}")


def _contains(target: JsonValue, text: str) -> Score:
    found = any(each.casefold() in text.casefold() for each in _options(target))
    return _verdict(found, text, f"has not {target!r}")


def _regex(target: JsonValue, text: str) -> Score:
    match = re.search(str(target), text)
    return _verdict(match is not None, match.group() if match else text, f"nothing matches {target!r}")


def _number(target: JsonValue, text: str) -> Score:
    """The last number of the text counts; commas between thousands are read over."""
    numbers = _NUMBER.findall(text)
    if not numbers:
        return Score(value=0, answered=False, answer=text[:200], explanation="no number in the answer")
    found = float(numbers[-1].replace(",", ""))
    right = isclose(found, float(str(target)), rel_tol=1e-6, abs_tol=1e-9)
    return _verdict(right, numbers[-1], f"{numbers[-1]} is not {target}")


def _needs_text(target: JsonValue) -> str:
    options = target if isinstance(target, list) else [target]
    well = options and all(isinstance(each, str | int | float) and str(each).strip() for each in options)
    return "" if well else "write text, or a list of texts of which each is right"


def _needs_number(target: JsonValue) -> str:
    try:
        well = isfinite(float(str(target)))
    except ValueError:
        well = False
    return "" if well else "write a number"


def _needs_pattern(target: JsonValue) -> str:
    if not isinstance(target, str):
        return "write a regular expression"
    try:
        re.compile(target)
    except re.error as error:
        return f"it is no regular expression ({error}), mend it"
    return ""


BUILT_IN: Mapping[str, Judge] = {
    "exact": Judge("the answer is the target, but for space around it", _needs_text, _exact),
    "number": Judge("the last number of the answer is the target", _needs_number, _number),
    "contains": Judge("the target stands in the answer, in small or capital letters", _needs_text, _contains),
    "regex": Judge("the target, a regular expression, matches somewhere", _needs_pattern, _regex),
}
