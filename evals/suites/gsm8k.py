"""GSM8K: word problems of primary school, answered with one number that must be exact.

Cobbe et al., "Training Verifiers to Solve Math Word Problems".
"""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from math import exp, fsum

from ...errors import DataInvalid, UsageError
from ...messages import Completion, Message, ModelRequest
from ..case import Case, Output, Score
from ..data import Data, DataSource
from ..runs import apart, said, told
from ..suite import Means, Solver, SolverInfo, Suite

SOURCE = DataSource(
    name="gsm8k",
    licence="MIT",
    folder="gsm8k",
    url="https://raw.githubusercontent.com/openai/grade-school-math/3101c7d5072418e28b9008a6636bde82a006892c"
    "/grade_school_math/data",
)
FILE = "test.jsonl"
MARK = "####"
"""What stands before the number in the published answers, and in what solvers are asked for."""
MAX_TOKENS = 400

_SYSTEM = (
    "Solve the problem. Work it out in a few short lines, one sum to a line. "
    f"The last line is {MARK} and the number alone."
)
_SHOTS = (
    (
        "A baker fills 4 trays with 12 rolls. 6 rolls burn, the rest sells at $0.50 each. How many dollars is that?",
        f"4 * 12 = 48 rolls\n48 - 6 = 42 rolls are sold\n42 * 0.50 = 21 dollars\n{MARK} 21",
    ),
    (
        "Rosa walks 3 km to work and back on 5 days. Her brother walks twice as far. How many km do both walk?",
        f"2 * 3 = 6 km a day\n6 * 5 = 30 km in 5 days\n30 * 2 = 60 km for her brother\n30 + 60 = 90 km\n{MARK} 90",
    ),
)
_NUMBER = re.compile(r"(?<![\w.])(-?)\s?\\?[$€£]?\s?(-?)((?:\d{1,3}(?:,\d{3})++|\d++)(?:\.\d++)?)")
_GOES_ON = re.compile(r"\s?[*/+×÷^-]+\s?[$€£]?\d|[,.]?\d")
"""After a number: it is part of an expression, a range or a malformed number."""


def cases(data: Data) -> Iterator[Case]:
    """The 1,319 problems of the test set."""
    for number, row in enumerate(data.lines(SOURCE.name, FILE), 1):
        try:
            question, answer = str(row["question"]), str(row["answer"])
            target = str(Decimal(answer.rpartition(MARK)[2].strip().replace(",", "")))
        except (KeyError, TypeError, ArithmeticError):
            raise DataInvalid(
                f"{FILE!r} line {number} has no question with an answer after {MARK!r}: {row!r:.200}; "
                "put the published file there."
            ) from None
        yield Case(id=f"gsm8k/{number}", input=question, target=target)


async def score(case: Case, output: Output) -> Score:
    """Right when the number of the answer is exactly the published one."""
    return judge(case, output.text)


def judge(case: Case, text: str) -> Score:
    """Hold the number in ``text`` against the published answer."""
    found = read_answer(text)
    if found is None:
        return Score(value=0, answered=False, explanation=f"no number after {MARK}, and not just one in the text")
    right = found == Decimal(str(case.target))
    return Score(
        value=float(right), answer=f"{found:f}", explanation="" if right else f"{found:f} is not {case.target}"
    )


def read_answer(text: str) -> Decimal | None:
    """Return the number that ``text`` gives as its answer, or None.

    It is the first number behind the last ``####`` (behind the last ``=`` there); a text without that mark
    must hold just one number. Currency signs, units and commas between thousands are read over; a number
    that is part of an expression or a range is none.
    """
    _, mark, after = text.rpartition(MARK)
    if not mark:
        found = set(_numbers(text))
        return found.pop() if len(found) == 1 else None
    line = next((line for line in after.splitlines() if line.strip()), "")
    return next(_numbers(line.rpartition("=")[2], strict=True), None)


def _numbers(text: str, *, strict: bool = False) -> Iterator[Decimal]:
    """Numbers in order; ``strict`` ends at one that goes on as something else."""
    text = text.replace("−", "-")
    for match in _NUMBER.finditer(text):
        if _GOES_ON.match(text, match.end()):
            if strict:
                return
            continue
        sign = -1 if "-" in match[1] + match[2] else 1
        yield sign * Decimal(match[3].replace(",", ""))


@asynccontextmanager
async def open_model(means: Means) -> AsyncIterator[Solver]:
    """The model alone, with two worked examples. Where it tells probabilities, that of the number is the confidence."""
    model = means.model
    if model is None:
        raise UsageError("the solver 'model' has no model; name one with --model.")
    shots = [(Message(role="user", content=ask), Message(role="assistant", content=say)) for ask, say in _SHOTS]
    head = (Message(role="system", content=_SYSTEM), *(message for shot in shots for message in shot))

    async def solve(case: Case, *, seed: int) -> Output:
        request = ModelRequest(
            messages=(*head, Message(role="user", content=str(case.input))),
            max_tokens=MAX_TOKENS,
            temperature=means.temperature,
            seed=seed,
            logprobs=int(model.info.logprobs),
        )
        completion = await model.complete(request)
        return said(request, completion, model.info, confidence=_confidence(completion))

    yield solve


def _confidence(completion: Completion) -> float | None:
    """Probability of the tokens behind the mark."""
    text = "".join(item.token for item in completion.logprobs)
    start = text.rfind(MARK)
    if start < 0:
        return None
    place, found = 0, []
    for item in completion.logprobs:
        if place >= start + len(MARK):
            found.append(item.logprob)
        place += len(item.token)
    return min(exp(fsum(found)), 1.0) if found else None


@asynccontextmanager
async def open_agent(means: Means) -> AsyncIterator[Solver]:
    """An agent that has the calculator (and what the settings name) and an empty workspace."""
    from ...agents.agent import Agent
    from ...tools.calculator import calculator

    async def solve(case: Case, *, seed: int) -> Output:
        with apart(means.settings) as settings:
            async with Agent([calculator], settings=settings, model=means.model, builtin=False) as agent:
                result = await agent.run(f"{case.input}\nEnd the answer with {MARK} and the number alone.")
            return told(result)

    yield solve


def last_number(cases: Sequence[Case]) -> Mapping[str, Score]:
    """Answers with the last number of the question."""
    return {case.id: judge(case, f"{MARK} {(_all(case) or [''])[-1]}") for case in cases}


def random_number(cases: Sequence[Case]) -> Mapping[str, Score]:
    """Answers with a number of the question, drawn by hash of the case."""
    return {case.id: judge(case, f"{MARK} {random.Random(case.digest).choice(_all(case) or [''])}") for case in cases}


def _all(case: Case) -> list[str]:
    return [f"{number:f}" for number in _numbers(str(case.input))]


SUITE = Suite(
    name="gsm8k",
    about="1,319 word problems of primary school; the number must be exact",
    sources=(SOURCE,),
    cases=cases,
    scorer=score,
    solvers={
        "model": SolverInfo(open_model, "the model alone: two worked examples, a short chain of thought"),
        "agent": SolverInfo(open_agent, "the agent with the calculator"),
    },
    solver="model",
    sample=40,
    baselines={"random number of the question": random_number, "last number of the question": last_number},
    notes="The set is from 2021 and stands in the training data of most models: figures compare runs, not the world.",
)
