"""Who may answer: the planner (a plan, not run), the agent, and the model alone with one call at a time."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, Self

from ....errors import PlanInvalid, ToolError, UsageError
from ....messages import Frozen, Message, ModelRequest
from ....planner.compile import LineCompiler
from ....planner.lines import write
from ....protocols import Ctx
from ....steps import Limits, Plan
from ....tools.registry import Registry
from ...case import Case, Output
from ...recorder import Recorder
from ...runs import ModelCalls, apart, told
from ...suite import Means, OpenSolver, Solver
from .plans import SPECS, TOOLS
from .search import latency, total, waiting

SECONDS = 300.0
TURNS = 16
"""Lines that the sequential solver may write: nine searches are the most that a question needs."""

_SYSTEM = """\
You answer a question with the help of an encyclopaedia and a calculator. Write one line, read its result, then write \
the next:
search: one subject and one quantity
calculator: an arithmetic expression of plain numbers
answer: the answer alone, a number or a name"""
_SHOTS = (
    ("user", "If the Eiffel Tower were 10% taller, how much taller than Big Ben would it be in meters?"),
    ("assistant", "search: height of the Eiffel Tower"),
    ("user", '{"title": "Eiffel Tower", "text": "It is 330 m (1,083 ft) high.", "number": 330, "unit": "m"}'),
    ("assistant", "search: height of Big Ben"),
    ("user", '{"title": "Big Ben", "text": "The tower is 96 m (316 ft) high.", "number": 96, "unit": "m"}'),
    ("assistant", "calculator: 330 * 1.1 - 96"),
    ("user", "267"),
    ("assistant", "answer: 267"),
)
_GRAMMAR = 'root ::= ( "search: " | "calculator: " | "answer: " ) [^\\n\\r]{1,300}\n'
_LINE = re.compile(r"^\s*(search|calculator|answer)\s*:\s*(\S.*)$", re.IGNORECASE | re.MULTILINE)


class Work(Frozen):
    """What a solver hands in as ``Output.value``."""

    kind: Literal["plan", "run", "answer"]
    """A plan to be judged, a run whose answer is to be judged (and its plan beside it), or an answer alone."""
    plan: Plan | None = None
    sequential: float = 0.0
    """Seconds that its searches would take one after the other."""
    critical: float = 0.0
    """Seconds that they would take when each begins as soon as it can."""
    model_calls: int = 0
    """Calls of the model that an agent made."""

    @classmethod
    def of(cls, plan: Plan | None, *, kind: Literal["plan", "run"]) -> Self:
        """Account for the searches of ``plan``; None when there is none."""
        if plan is None:
            return cls(kind=kind)
        waits = waiting(plan)
        return cls(kind=kind, plan=plan, sequential=waits["sequential"], critical=waits["critical"])


def _recorder(means: Means, seed: int) -> Recorder:
    if means.model is None:
        raise UsageError("this solver of 'parallelqa' needs a model; name one with --model.")
    return Recorder(means.model, seed=seed, temperature=means.temperature)


@asynccontextmanager
async def open_planner(means: Means) -> AsyncIterator[Solver]:
    """Compile each question to a plan over ``TOOLS``, with the product's own checks and repairs; nothing is run."""
    registry = Registry(TOOLS.values())
    ctx = Ctx(run="", workspace=Path(), emit=lambda event: None)

    async def check(tool: str, args: Mapping[str, Any]) -> list[str]:
        return await registry.check(tool, args, ctx)

    async def solve(case: Case, *, seed: int) -> Output:
        recorder = _recorder(means, seed)
        plan = None
        try:
            plan = await LineCompiler(recorder, SPECS, check=check).compile(str(case.input))
            said = plan.refusal or "\n".join(map(write, plan.nodes))
        except PlanInvalid as error:
            said = str(error)
        return Output(
            text=said,
            value=Work.of(plan, kind="plan").model_dump(mode="json"),
            usage=recorder.usage,
            transcript=tuple(recorder.transcript),
        )

    yield solve


def agent_with(planner: str) -> OpenSolver:
    """Return the opener of an agent with ``TOOLS`` and nothing else that plans by ``planner``.

    What one question taught does not help with the next.
    """

    @asynccontextmanager
    async def open_agent(means: Means) -> AsyncIterator[Solver]:
        from ....agents.agent import Agent

        async def solve(case: Case, *, seed: int) -> Output:
            model, calls = _recorder(means, seed), ModelCalls()
            with apart(means.settings.model_copy(update={"tools": (), "planner": planner})) as settings:
                tools = list(TOOLS.values())
                async with Agent(tools, settings=settings, model=model, sinks=[calls], builtin=False) as agent:
                    result = await agent.run(str(case.input), limits=Limits(deadline=SECONDS))
            work = Work.of(result.plan, kind="run").model_copy(update={"model_calls": calls.count})
            return told(result, value=work.model_dump(mode="json"))

        yield solve

    return open_agent


@asynccontextmanager
async def open_sequential(means: Means) -> AsyncIterator[Solver]:
    """The model alone: a line, its result, the next line (Yao et al., "ReAct") until it answers or its turns are up."""

    async def solve(case: Case, *, seed: int) -> Output:
        recorder = _recorder(means, seed)
        said = [Message(role="system", content=_SYSTEM)]
        said += [Message.model_validate({"role": role, "content": content}) for role, content in _SHOTS]
        start = len(said)
        said.append(Message(role="user", content=str(case.input)))
        waits: list[float] = []
        answer = ""
        for _ in range(TURNS):
            request = ModelRequest(messages=tuple(said), max_tokens=120, grammar=_GRAMMAR, stop=("\n",))
            line = (await recorder.complete(request)).text.strip()
            said.append(Message(role="assistant", content=line or "-"))
            head, text = _read(line)
            if head == "answer":
                answer = text
                break
            if head == "search":
                waits.append(latency(text))
            said.append(Message(role="user", content=_result(head, text)))
        work = Work(kind="answer", sequential=total(waits), critical=total(waits))
        return Output(
            text=answer,
            value=work.model_dump(mode="json"),
            usage=recorder.usage,
            transcript=tuple(message.model_dump() for message in said[start:]),
        )

    yield solve


def _read(line: str) -> tuple[str, str]:
    """The verb of a line and what follows it; no verb when the line is not of the form."""
    match = _LINE.search(line)
    return (match[1].lower(), match[2].strip().strip('"')) if match else ("", line)


def _result(head: str, text: str) -> str:
    if head not in TOOLS:
        return "Write a line that begins with search:, calculator: or answer:"
    try:
        return json.dumps(TOOLS[head].function(text), ensure_ascii=False)
    except ToolError as error:
        return f"error: {error.message}"
