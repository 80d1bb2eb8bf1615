"""Who may answer: the planner (a plan, not run), the agent, and the model alone with one call at a time."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, Self

from ....errors import PlanInvalid, ToolError, UsageError
from ....messages import Completion, Frozen, Message, ModelInfo, ModelRequest, Usage
from ....planner.compile import LineCompiler
from ....planner.lines import write
from ....protocols import Ctx, Model
from ....steps import Limits, Plan
from ....tools.registry import Registry
from ...case import Case, Output
from ...runs import apart, price, told
from ...suite import Means, Solver
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

    judged: Literal["plan", "answer"]
    """What the solver is for."""
    plan: Plan | None = None
    sequential: float = 0.0
    """Seconds that its searches would take one after the other."""
    critical: float = 0.0
    """Seconds that they would take when each begins as soon as it can."""

    @classmethod
    def of(cls, plan: Plan | None, *, judged: Literal["plan", "answer"]) -> Self:
        """Account for the searches of ``plan``."""
        return cls(judged=judged, plan=plan, **(waiting(plan) if plan is not None else {}))


class Metered:
    """A model that adds up what it is asked, and gives every request the seed of the case."""

    def __init__(self, means: Means, *, seed: int) -> None:
        """Ask the model of ``means``; UsageError when there is none."""
        if means.model is None:
            raise UsageError("this solver of 'parallelqa' needs a model; name one with --model.")
        self._model: Model = means.model
        self._means = means
        self._seed = seed
        self._begin = time.perf_counter()
        self.usage = Usage()

    @property
    def info(self) -> ModelInfo:
        """That of the model."""
        return self._model.info

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> Completion:
        """Ask, at the temperature of the evaluation or the request's own when that is higher."""
        warm = max(request.temperature, self._means.temperature)
        asked = request.model_copy(update={"seed": self._seed, "temperature": warm})
        completion = await self._model.complete(asked, on_text=on_text)
        self.usage += completion.usage
        return completion

    async def count(self, messages: Sequence[Message]) -> int:
        """As the model counts."""
        return await self._model.count(messages)

    def output(self, **made: Any) -> Output:
        """Return an output with what it took so far."""
        seconds = time.perf_counter() - self._begin
        return Output(usage=self.usage, cost=price(self.info, self.usage), seconds=seconds, **made)


@asynccontextmanager
async def open_planner(means: Means) -> AsyncIterator[Solver]:
    """Compile each question to a plan over ``TOOLS``, with the product's own checks and repairs; nothing is run."""
    registry = Registry(TOOLS.values())
    ctx = Ctx(run="", workspace=Path(), emit=lambda event: None)

    async def check(tool: str, args: Mapping[str, Any]) -> list[str]:
        return await registry.check(tool, args, ctx)

    async def solve(case: Case, *, seed: int) -> Output:
        model = Metered(means, seed=seed)
        try:
            plan = await LineCompiler(model, SPECS, check=check).compile(str(case.input))
        except PlanInvalid as error:
            return model.output(error=f"{error.code}: {error.message}")
        lines = plan.refusal or "\n".join(map(write, plan.nodes))
        return model.output(
            text=lines,
            value=Work.of(plan, judged="plan").model_dump(mode="json"),
            transcript=({"role": "user", "content": str(case.input)}, {"role": "assistant", "content": lines}),
        )

    yield solve


@asynccontextmanager
async def open_agent(means: Means) -> AsyncIterator[Solver]:
    """The agent with ``TOOLS`` and nothing else; what one question taught does not help with the next."""
    from ....agents.agent import Agent

    async def solve(case: Case, *, seed: int) -> Output:
        model = Metered(means, seed=seed)
        with apart(means.settings.model_copy(update={"tools": ()})) as settings:
            async with Agent(list(TOOLS.values()), settings=settings, model=model, builtin=False) as agent:
                result = await agent.run(str(case.input), limits=Limits(deadline=SECONDS))
        return told(result, value=Work.of(result.plan, judged="answer").model_dump(mode="json"))

    yield solve


@asynccontextmanager
async def open_sequential(means: Means) -> AsyncIterator[Solver]:
    """The model alone: a line, its result, the next line (Yao et al., "ReAct") until it answers or its turns are up."""

    async def solve(case: Case, *, seed: int) -> Output:
        model = Metered(means, seed=seed)
        said = [Message(role="system", content=_SYSTEM)]
        said += [Message.model_validate({"role": role, "content": content}) for role, content in _SHOTS]
        start = len(said)
        said.append(Message(role="user", content=str(case.input)))
        waits: list[float] = []
        answer = ""
        for _ in range(TURNS):
            request = ModelRequest(messages=tuple(said), max_tokens=120, grammar=_GRAMMAR, stop=("\n",))
            line = (await model.complete(request)).text.strip()
            said.append(Message(role="assistant", content=line or "-"))
            head, text = _read(line)
            if head == "answer":
                answer = text
                break
            if head == "search":
                waits.append(latency(text))
            said.append(Message(role="user", content=_result(head, text)))
        work = Work(judged="answer", sequential=total(waits), critical=total(waits))
        return model.output(
            text=answer,
            value=work.model_dump(mode="json"),
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
