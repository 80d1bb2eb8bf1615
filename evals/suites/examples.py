"""The tasks of ``examples/tasks.toml``: a case for each wording, each in its own copy of the sample files."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import anyio
from pydantic import TypeAdapter

from ...steps import Limits
from ..case import Case, Output, Score
from ..data import Data, DataSource
from ..runs import ModelCalls, apart, told
from ..suite import Means, Solver, SolverInfo, Suite
from .example_checks import Check, Told, problems, read_tasks, tell, wanted_files

SECONDS = 300.0
"""Time of a wording."""
SOURCE = DataSource(
    name="examples",
    licence="Apache-2.0",
    folder="examples",
    package="shuntyard",
    package_folder="examples",
    install="pip install -e FOLDER with a checkout of shuntyard",
)

_CHECKS = TypeAdapter(tuple[Check, ...])


def cases(data: Data) -> Iterator[Case]:
    """Every wording of every task, ``ID/1`` to ``ID/3``; changed sample files make other cases."""
    place = data.path(SOURCE.name, "tasks.toml")
    tasks = read_tasks(data.text(SOURCE.name, place.name), place=str(place))
    sample = _record(data, place.parent)
    for task in tasks:
        for number, wording in enumerate(task.wordings, 1):
            yield Case(
                id=f"{task.id}/{number}",
                category=task.kind,
                input=wording,
                target=[check.model_dump(mode="json", exclude_defaults=True) for check in task.check],
                meta={"files": list(wanted_files(task.check)), "sample": sample},
            )


async def score(case: Case, output: Output) -> Score:
    """Right when every check of the task holds of what was answered, written or refused."""
    return judge(case, Told.model_validate(output.value))


def judge(case: Case, told: Told) -> Score:
    """Hold what a run told against the checks of its case."""
    found = problems(_CHECKS.validate_python(case.target), told)
    return Score(value=float(not found), answer=told.answer[:200], explanation="; ".join(found))


def always_refuse(cases: Sequence[Case]) -> Mapping[str, Score]:
    """What refusing everything would score."""
    refusal = Told(status="refused", refusal="No tool can do this.")
    return {case.id: judge(case, refusal) for case in cases}


def agent_with(planner: str) -> Callable[[Means], AbstractAsyncContextManager[Solver]]:
    """Return the opener of an agent that may write files, new for each wording: an own workspace, no memory."""

    @asynccontextmanager
    async def open_agent(means: Means) -> AsyncIterator[Solver]:
        from ...agents.agent import Agent

        sample = Data((SOURCE,)).path(SOURCE.name, "tasks.toml").parent / "data"

        async def solve(case: Case, *, seed: int) -> Output:
            calls = ModelCalls()
            with apart(means.settings, sample=sample) as own:
                settings = own.model_copy(update={"approve": ("write_file",), "planner": planner})
                async with Agent(settings=settings, model=means.model, sinks=[calls]) as agent:
                    with anyio.fail_after(SECONDS + 60):
                        result = await agent.run(str(case.input), limits=Limits(deadline=SECONDS))
                files = TypeAdapter(list[str]).validate_python(case.meta.get("files", []))
                found = tell(result, settings.workspace, files).model_copy(update={"model_calls": calls.count})
                return told(result, value=found.model_dump(mode="json"))

        yield solve

    return open_agent


def _record(data: Data, folder: Path) -> str:
    """Have every sample file counted as used, and return a hash of them all."""
    files = sorted(path for path in (folder / "data").rglob("*") if path.is_file())
    for path in files:
        data.path(SOURCE.name, path.relative_to(folder).as_posix())
    listed = "\n".join(f"{use.file} {use.sha256}" for use in data.used if use.file.startswith("data/"))
    return hashlib.sha256(listed.encode()).hexdigest()[:16]


SUITE = Suite(
    name="examples",
    about="the tasks of examples/tasks.toml in three wordings: chains, joins, files to write, tasks to refuse",
    sources=(SOURCE,),
    cases=cases,
    scorer=score,
    solvers={
        "agent": SolverInfo(agent_with("dag"), "the agent with the built-in tools; it may write files"),
        "react": SolverInfo(agent_with("react"), "the same, deciding on one call at a time"),
        "fill": SolverInfo(
            agent_with("fill"), "the same, choosing the tools first and filling in one call after another"
        ),
        "program": SolverInfo(agent_with("program"), "the same, planning as a small program"),
        "outline": SolverInfo(
            agent_with("outline"), "the same, finding out what must be known before planning the rest"
        ),
    },
    solver="agent",
    timeout=SECONDS + 90,
    baselines={"always refuse": always_refuse},
    notes=(
        "Wheels do not carry the tasks: run it from a checkout. "
        "The tasks were written beside the product; no wording, file or answer of theirs stands in a prompt."
    ),
)
