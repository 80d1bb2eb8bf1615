"""Our suites as tasks of inspect_ai (extra ``inspect``): its models, its limits, its logs and its viewer.

    inspect eval shuntyard/gsm8k --model openai/gpt-4o-mini -T limit=40
    inspect eval shuntyard/bfcl --model mockllm/model -T own=qwen2.5-coder-0.5b -T way=planner

Cases, solvers and scorers are the suite's own. ``way`` names the solver, ``own`` a model of Shuntyard that is used
instead of inspect's, ``limit`` draws as ``shuntyard eval run --limit`` does.
"""
# Where inspect_ai is not installed its names are untyped.
# mypy: disable-error-code="import-not-found, untyped-decorator"

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    ModelOutput,
    get_model,
)
from inspect_ai.scorer import Score, accuracy, grouped, scorer, stderr
from inspect_ai.solver import solver

from ..messages import Completion, Message, ModelInfo, ModelRequest, Usage
from ..settings import Settings, load
from .attempt import judge, solve
from .case import Case, Output
from .data import Data
from .harness import solver_of
from .inspect_log import chat, text_of, value_of
from .log import Selection
from .models import candidate
from .registry import find
from .sample import draw
from .suite import Means, Suite

KEY = "shuntyard"
"""Where a sample's store keeps the whole output."""
_SAID = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}


class InspectModel:
    """A model of inspect_ai as our solvers use one. What it does not know is left out: grammars and schemas."""

    def __init__(self, model: Any) -> None:
        """Keep ``model``. The temperature is inspect_ai's (``--temperature``; the tasks begin with 0)."""
        self._model = model
        self.info = ModelInfo(
            name=str(model), kind="openai", tier="large", context=32768, input_price=None, output_price=None
        )

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> Completion:
        """Answer; text comes in one piece. Raises what inspect_ai raises."""
        config = GenerateConfig(
            max_tokens=request.max_tokens,
            seed=request.seed,
            stop_seqs=list(request.stop) or None,
        )
        said = [_SAID[message.role](content=message.content) for message in request.messages]
        output = await self._model.generate(said, config=config)
        if on_text is not None:
            on_text(output.completion)
        return Completion(
            text=output.completion,
            model=self.info.name,
            usage=_usage(output.usage),
            finish="length" if output.stop_reason == "max_tokens" else "stop",
            seconds=output.time or 0.0,
        )

    async def count(self, messages: Sequence[Message]) -> int:
        """At most so many tokens: one for each byte, and some around each message."""
        return sum(len(message.content.encode()) + 16 for message in messages)


def _usage(told: Any) -> Usage:
    """Usage as inspect_ai tells it, where cached tokens stand beside the prompt's."""
    if told is None:
        return Usage()
    cached = told.input_tokens_cache_read or 0
    prompt = told.input_tokens + cached + (told.input_tokens_cache_write or 0)
    return Usage(prompt=prompt, cached=cached, completion=told.output_tokens)


def suite_task(name: str, *, way: str = "", own: str = "", limit: int = 0, seed: int = 0) -> Task:
    """Return the suite called ``name`` as a task. Raises UnknownName, DataMissing and DataInvalid."""
    suite = find(name)
    settings = load({"model": own or None})
    drawn = draw(suite.cases(Data(suite.sources, settings=settings)), Selection(limit=limit, seed=seed))
    cases = {each.case.id: each.case for each in drawn.picked}
    categories = {case.category for case in cases.values()}
    metrics = [accuracy(), stderr()] + ([grouped(accuracy(), "category")] if len(categories) > 1 else [])
    return Task(
        dataset=MemoryDataset([_sample(case) for case in cases.values()], name=suite.name),
        solver=_solver(suite, cases, way or suite.solver, own=settings if own else None, seed=seed),
        scorer=_scorer(suite, cases),
        config=GenerateConfig(temperature=0.0),
        metrics=metrics,
        name=suite.name,
        version=suite.version,
        metadata={"about": suite.about, "notes": suite.notes, "way": way or suite.solver, "own": own},
    )


def _sample(case: Case) -> Sample:
    return Sample(
        id=case.id,
        input=text_of(case.input),
        target=text_of(case.target),
        metadata={"category": case.category, "split": case.split, "digest": case.digest},
    )


@solver(name="shuntyard")
def _solver(suite: Suite, cases: Mapping[str, Case], way: str, *, own: Settings | None, seed: int) -> Any:
    """Solves with one of the suite's solvers."""
    info = solver_of(suite, way)

    async def solved(state: Any, generate: Any) -> Any:
        case = cases[str(state.sample_id)]
        async with _means(own, needed=info.needs_model) as means, info.open(means) as solver:
            model = means.model.info if means.model is not None else None
            output = await solve(solver, case, seed=seed + state.epoch - 1, timeout=suite.timeout, info=model)
        state.store.set(KEY, output.model_dump(mode="json"))
        state.messages = chat(output.transcript) or state.messages
        state.output = ModelOutput.from_content(model=str(state.model), content=output.text or output.error)
        return state

    return solved


@asynccontextmanager
async def _means(own: Settings | None, *, needed: bool) -> AsyncIterator[Means]:
    """What a solver may use: our own model where one is named, else the one that inspect_ai was given."""
    if not needed:
        yield Means(settings=load(), model=None)
    elif own is not None:
        yield Means(settings=own, model=await candidate(own).open())
    else:
        yield Means(settings=load(), model=InspectModel(get_model()))


@scorer(metrics=[accuracy(), stderr()], name="shuntyard")
def _scorer(suite: Suite, cases: Mapping[str, Case]) -> Any:
    """Scores as the suite does."""

    async def scored(state: Any, target: Any) -> Score:
        output = Output.model_validate(state.store.get(KEY))
        found, error = await judge(suite.scorer, cases[str(state.sample_id)], output, timeout=suite.timeout)
        if error:
            raise RuntimeError(error)
        return Score(
            value=value_of(found), answer=found.answer, explanation=found.explanation, metadata=dict(found.parts)
        )

    return scored


@task
def bfcl(way: str = "", own: str = "", limit: int = 0, seed: int = 0) -> Task:
    """BFCL, single turn."""
    return suite_task("bfcl", way=way, own=own, limit=limit, seed=seed)


@task
def parallelqa(way: str = "", own: str = "", limit: int = 0, seed: int = 0) -> Task:
    """ParallelQA without the web."""
    return suite_task("parallelqa", way=way, own=own, limit=limit, seed=seed)


@task
def examples(way: str = "", own: str = "", limit: int = 0, seed: int = 0) -> Task:
    """The tasks of examples/tasks.toml."""
    return suite_task("examples", way=way, own=own, limit=limit, seed=seed)


@task
def gsm8k(way: str = "", own: str = "", limit: int = 0, seed: int = 0) -> Task:
    """GSM8K."""
    return suite_task("gsm8k", way=way, own=own, limit=limit, seed=seed)


@task
def humaneval(way: str = "", own: str = "", limit: int = 0, seed: int = 0) -> Task:
    """HumanEval."""
    return suite_task("humaneval", way=way, own=own, limit=limit, seed=seed)
