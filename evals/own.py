"""A person's own evaluation: a JSON Lines file of cases, and a scorer that is built in or a Python function.

A line is ``{"input": ..., "target": ..., "id": ..., "category": ..., "meta": {...}}``; only ``input`` is needed.
The input is the model's prompt (text, or a list of messages with role and content), or the agent's task.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ..errors import DataInvalid, UsageError
from ..messages import Message, ModelRequest
from .case import Case, Output, Score
from .data import Data
from .registry import TABLE
from .runs import apart, said, told
from .scorers import BUILT_IN, Judge, load_scorer, scorer_file
from .suite import Means, Scorer, Solver, SolverInfo, Suite

MAX_TOKENS = 512
"""Of an answer, unless ``meta.max_tokens`` says another number."""
KEPT_BYTES = 100_000
"""A file that the agent wrote is shown to the scorer up to this size."""
_FIELDS = ("id", "category", "input", "target", "meta")
_MESSAGES: TypeAdapter[tuple[Message, ...]] = TypeAdapter(tuple[Message, ...])


def own_suite(path: Path, *, scorer: str = "exact", workspace: Path | None = None) -> Suite:
    """Return the suite that a JSON Lines file and a scorer make; nothing of the file is read yet.

    ``scorer`` is ``exact``, ``number``, ``contains``, ``regex``, or ``FILE.py[:function]``. Solvers are ``model``
    (one call) and ``agent`` (a run with the built-in tools in a fresh copy of ``workspace``). Raises UsageError
    for a scorer that cannot be used, DataMissing when the file is not there.
    """
    Data(()).own(path)
    judge = BUILT_IN.get(scorer)
    made: Scorer = _Built(judge) if judge is not None else load_scorer(scorer)

    def cases(data: Data) -> Iterator[Case]:
        return read_cases(data.own(path), judge=judge)

    return Suite(
        name=_name(path),
        about=f"the cases of {path.name}",
        cases=cases,
        scorer=made,
        solvers={
            "model": SolverInfo(_open_model, "one call of the model: the input is the prompt"),
            "agent": SolverInfo(_Agents(workspace).open, "a run of the agent: the input is the task"),
        },
        solver="model",
        baselines={"majority": _Majority(judge)} if judge is not None else {},
        version=_version(scorer, workspace),
    )


def read_cases(path: Path, *, judge: Judge | None = None) -> Iterator[Case]:
    """Yield the cases of a JSON Lines file. Raises DataInvalid naming the line that is wrong and its mend."""
    seen: dict[str, int] = {}
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, 1):
                if not line.strip():
                    continue
                case = _case(path, number, line)
                if case.id in seen:
                    raise _wrong(path, number, f"has the id {case.id!r} of line {seen[case.id]}; give it its own id")
                seen[case.id] = number
                if judge is not None and (mend := judge.needs(case.target)):
                    raise _wrong(path, number, f"has the target {case.target!r:.80}; {mend}")
                yield case
    except (OSError, UnicodeDecodeError) as error:
        raise DataInvalid(f"{str(path)!r} cannot be read: {error}; save it as UTF-8 text.") from None


def _case(path: Path, number: int, line: str) -> Case:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise _wrong(path, number, f"is not JSON ({error.msg} at character {error.pos + 1}); mend it") from None
    if not isinstance(row, dict):
        raise _wrong(path, number, f'is {line.strip()!r:.60}, not an object; write {{"input": ..., "target": ...}}')
    if unknown := [key for key in row if key not in _FIELDS]:
        raise _wrong(
            path, number, f"has the field {unknown[0]!r}; the fields are {', '.join(_FIELDS)}, others go into meta"
        )
    if "input" not in row:
        raise _wrong(path, number, "has no input; say what is asked")
    text = json.dumps([row.get("category", ""), row["input"], row.get("target")], sort_keys=True)
    # By content, so that a line put in between does not make other cases of those after it.
    id = row.pop("id", None) or f"r{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    try:
        return Case.model_validate({"id": id if isinstance(id, str) else json.dumps(id), **row})
    except ValidationError as error:
        item: Any = error.errors()[0]
        where = ".".join(str(part) for part in item["loc"])
        raise _wrong(path, number, f"has {where} = {item['input']!r:.60}: {item['msg']}; correct it") from None


def _wrong(path: Path, number: int, why: str) -> DataInvalid:
    return DataInvalid(f"{str(path)!r} line {number} {why}.", ids={"file": str(path), "line": str(number)})


class _Built:
    """A built-in scorer as suites want it."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    async def __call__(self, case: Case, output: Output) -> Score:
        return self._judge.score(case.target, output.text)


class _Majority:
    """Answers every case with the commonest target."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def __call__(self, cases: Sequence[Case]) -> Mapping[str, Score]:
        targets = [case.target if isinstance(case.target, list) else [case.target] for case in cases]
        common = Counter(str(each) for target in targets for each in target).most_common(1)[0][0]
        return {case.id: self._judge.score(case.target, common) for case in cases}


@asynccontextmanager
async def _open_model(means: Means) -> AsyncIterator[Solver]:
    model = means.model
    if model is None:
        raise UsageError("the solver 'model' needs a model; name one with --model NAME.")

    async def solve(case: Case, *, seed: int) -> Output:
        tokens = case.meta.get("max_tokens", MAX_TOKENS)
        request = ModelRequest.model_validate(
            {"messages": messages(case), "temperature": means.temperature, "seed": seed, "max_tokens": tokens}
        )
        return said(request, await model.complete(request), model.info)

    yield solve


def messages(case: Case) -> tuple[Message, ...]:
    """Return the conversation that a case's input is: messages as they stand, else one of the user."""
    if isinstance(case.input, list):
        return _MESSAGES.validate_python(case.input)
    text = case.input if isinstance(case.input, str) else json.dumps(case.input, ensure_ascii=False)
    return (Message(role="user", content=text),)


class _Agents:
    """Runs the agent on each case in a home of its own and a copy of the workspace."""

    def __init__(self, workspace: Path | None) -> None:
        self._workspace = workspace

    @asynccontextmanager
    async def open(self, means: Means) -> AsyncIterator[Solver]:
        from ..agents.agent import Agent

        async def solve(case: Case, *, seed: int) -> Output:
            with apart(means.settings, sample=self._workspace) as settings:
                before = _stamps(settings.workspace)
                async with Agent(settings=settings, model=means.model) as agent:
                    result = await agent.run("\n".join(message.content for message in messages(case)))
                value: dict[str, Any] = {"status": result.status, "files": _written(settings.workspace, before)}
                return told(result, value=value)

        yield solve


def _stamps(folder: Path) -> dict[Path, tuple[int, int]]:
    found = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
    return {path: (state.st_mtime_ns, state.st_size) for path, state in found.items()}


def _written(folder: Path, before: Mapping[Path, tuple[int, int]]) -> dict[str, Any]:
    """Text of every file that is new or changed, by its path in the workspace."""
    changed = [path for path, stamp in _stamps(folder).items() if before.get(path) != stamp]
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()[:KEPT_BYTES].decode(errors="replace")
        for path in sorted(changed)
    }


def _name(path: Path) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-") or "own"
    return f"own-{name}" if name in TABLE else name


def _version(scorer: str, workspace: Path | None) -> int:
    """A number made of what judges and of what agents find: when they change, old results no longer count."""
    digest = hashlib.sha256(scorer.encode() if scorer in BUILT_IN else scorer_file(scorer).read_bytes())
    if workspace is not None:
        for path in sorted(item for item in workspace.rglob("*") if item.is_file()):
            digest.update(path.relative_to(workspace).as_posix().encode() + path.read_bytes())
    return int.from_bytes(digest.digest()[:3])
