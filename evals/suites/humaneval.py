"""HumanEval: functions written from their docstring, judged by running the published tests in a sandbox.

Chen et al., "Evaluating Large Language Models Trained on Code".
"""

from __future__ import annotations

import ast
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio

from ...errors import DataInvalid, ToolError, UsageError
from ...messages import Frozen, Message, ModelRequest
from ..case import Case, Output, Score
from ..data import Data, DataSource
from ..runs import said
from ..suite import Means, Solver, SolverInfo, Suite

SOURCE = DataSource(
    name="humaneval",
    licence="MIT",
    folder="humaneval",
    url="https://raw.githubusercontent.com/openai/human-eval/6d43fb980f9fee3c892a914eda09951f772ad10d/data",
)
FILE = "HumanEval.jsonl.gz"
SECONDS = 15.0
"""Time for the tests of one solution; the published ones take under a second."""
MAX_TOKENS = 700

_SYSTEM = (
    "Complete the Python function. Answer with one ```python block that holds the whole function and the imports "
    "that it needs. No examples, no tests, no explanation."
)
_BLOCK = re.compile(r"^[ \t]*```[ \t]*(?:python3?|py)?[ \t]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE | re.I)
_BEGINS = re.compile(r"^(?:def |from |import |class |@|async def )", re.MULTILINE)

_JUDGE = """
import os, posix, sys, traceback, types
import _posixsubprocess

def refuse(*args, **more):
    raise PermissionError("a solution may not start processes")

for name in ("fork", "forkpty", "posix_spawn", "posix_spawnp", "system", "execv", "execve"):
    for place in (os, posix):
        setattr(place, name, refuse)
_posixsubprocess.fork_exec = refuse

module = types.ModuleType("solution")
sys.modules["solution"] = module
names = module.__dict__
try:
    exec(compile(inputs["solution"], "solution", "exec"), names)
    exec(compile(inputs["test"], "test", "exec"), names)
    names["check"](names[inputs["entry"]])
    told = {"passed": inputs["token"], "why": ""}
except BaseException as problem:
    lines = inputs["test"].splitlines()
    at = [frame.lineno for frame in traceback.extract_tb(problem.__traceback__) if frame.filename == "test"]
    where = lines[at[-1] - 1].strip() if at else ""
    told = {"passed": "", "why": ": ".join(filter(None, (type(problem).__name__, str(problem)[:300], where[:300])))}
told
"""
"""Runs inside the sandbox. Its limit on processes does not bind root, so that starting any is refused here too.
Only the judge knows the token: a solution that prints or leaves early does not say it."""


class Target(Frozen):
    """What judges a solution."""

    entry: str
    """Name of the function."""
    test: str
    """Defines ``check(candidate)``."""
    solution: str
    """The published one: what follows the prompt."""


def cases(data: Data) -> Iterator[Case]:
    """The 164 functions."""
    for number, row in enumerate(data.lines(SOURCE.name, FILE), 1):
        try:
            target = Target(entry=row["entry_point"], test=row["test"], solution=row["canonical_solution"])
            yield Case(id=str(row["task_id"]), input=str(row["prompt"]), target=target.model_dump())
        except (KeyError, TypeError, ValueError) as error:
            raise DataInvalid(
                f"{FILE!r} line {number} is no task of HumanEval ({error}): {row!r:.200}; put the published file there."
            ) from None


async def score(case: Case, output: Output) -> Score:
    """Right when the published tests pass within 15 s and 1 GiB, in a process without network and files."""
    target = Target.model_validate(case.target)
    code = read_code(output.text, prompt=str(case.input), entry=target.entry)
    if not code:
        return Score(value=0, answered=False, explanation="there is no code in the answer")
    why = await failing(code, target)
    return Score(value=float(not why), answer=code, explanation=why)


async def failing(code: str, target: Target) -> str:
    """Run the tests on ``code`` and return why they fail; empty when they pass. Leaves nothing behind."""
    from ...tools.python import run_snippet

    token = secrets.token_hex(16)
    job = {"solution": code, "test": target.test, "entry": target.entry, "token": token}
    answer: dict[str, Any] = {}
    try:
        with anyio.move_on_after(SECONDS) as time:
            answer = await run_snippet(_JUDGE, job)
    except ToolError as error:
        return f"ended before the tests did: {error}"
    if time.cancelled_caught:
        return f"ran longer than {SECONDS:.0f} s"
    told = answer["value"]
    if isinstance(told, dict):
        return "" if told.get("passed") == token else str(told.get("why") or "did not run the tests")
    return str(answer["error"]) or "did not run the tests"


def read_code(text: str, *, prompt: str, entry: str) -> str:
    """Return the program that an answer makes of the prompt; empty when it has no code.

    It is the first fenced block that defines the function, behind the prompt's imports and helpers; or, without
    fences, the text from where it begins to be code; or, without the function's head, the function's body.
    """
    head = re.compile(rf"^(?:async )?def {re.escape(entry)}\b", re.MULTILINE)
    start = head.search(prompt)
    before = prompt[: start.start()] if start is not None else ""
    blocks = [match[1] for match in _BLOCK.finditer(text)]
    whole = next((block for block in blocks if head.search(block)), "")
    if whole:
        return _joined(before, whole)
    if not blocks and head.search(text):
        begin = _BEGINS.search(text)
        return _joined(before, _readable(text[begin.start() :] if begin is not None else text))
    return _continued(prompt, blocks[0] if blocks else text)


def _joined(before: str, code: str) -> str:
    """Imports that must stand first in a file stay first."""
    first = re.match(r"\s*from __future__ import .*\n", code)
    return code if first is not None else f"{before}\n{code}"


def _continued(prompt: str, body: str) -> str:
    """Put a body behind its prompt: as it is, or else indented, as a whole or in its first line alone."""
    lines = body.strip("\n").splitlines()
    indented = [f"    {line}" for line in lines]
    flush = lines and not lines[0][:1].isspace()
    ways = (indented, [*indented[:1], *lines[1:]]) if flush else (lines,)
    found = ["\n".join((prompt.rstrip(), *way, "")) for way in ways]
    return next(filter(_reads, found), found[0]) if body.strip() else ""


def _readable(code: str) -> str:
    """Leave out trailing lines that are no Python (words of explanation)."""
    lines = code.splitlines()
    shorter = ("\n".join(lines[:end]) for end in range(len(lines), 0, -1))
    return next(filter(_reads, shorter), code)


def _reads(code: str) -> bool:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return True


@asynccontextmanager
async def open_model(means: Means) -> AsyncIterator[Solver]:
    """The model alone. Raises UsageError where programs cannot be shut off: nothing of theirs runs unguarded."""
    from ...tools.python import isolation

    model = means.model
    if model is None:
        raise UsageError("the solver 'model' has no model; name one with --model.")
    doors = [name for name, closed in (await isolation()).items() if not closed]
    if doors:
        raise UsageError(
            f"this system cannot shut off {' and '.join(doors)} for programs that a model wrote; "
            "run this suite on Linux with user namespaces and Landlock (5.13 or newer)."
        )

    async def solve(case: Case, *, seed: int) -> Output:
        request = ModelRequest(
            messages=(
                Message(role="system", content=_SYSTEM),
                Message(role="user", content=f"```python\n{str(case.input).strip()}\n```"),
            ),
            max_tokens=MAX_TOKENS,
            temperature=means.temperature,
            seed=seed,
        )
        return said(request, await model.complete(request), model.info)

    yield solve


SUITE = Suite(
    name="humaneval",
    about="164 Python functions from their docstrings; the published tests must pass in a sandbox",
    sources=(SOURCE,),
    cases=cases,
    scorer=score,
    solvers={"model": SolverInfo(open_model, "the model alone; with several epochs pass@k")},
    solver="model",
    sample=40,
    notes="The set is from 2021 and stands in the training data of most models. Only Python's own library is there.",
)
