"""``POST /v1/programs``: calls that feed each other, run here as soon as what they need is there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import anyio

from ...errors import RequestRefused, ShuntyardError
from ...messages import Place
from ..engines import Engine
from ..program import ProgramBody, ProgramRequest, ProgramStep, StepDone
from .answers import PromptDetails, Usage
from .asked import ChatMessage, ChatRequest
from .chat import Gathered, chat_chunks, new_id
from .dataflow import PROMPT_BYTES, Flow, filled, flow_of
from .events import fault_of, named
from .generate import Meter

BACKLOG = 256
"""Events that wait for a slow reader before its program does."""
_PASSED = ("max_tokens", "temperature", "top_p", "seed", "stop", "response_format", "grammar")


class ProgramJob:
    """Runs a program; it is one application of the queue, its critical path first, and ends with its client."""

    endpoint = "programs"

    def __init__(self, asked: ProgramRequest) -> None:
        """Raises RequestRefused for a program that cannot run."""
        self._asked = asked
        self._flow = flow_of(asked)
        self.model = asked.model
        self.stream = asked.stream

    async def events(self, engine: Engine, meter: Meter) -> AsyncGenerator[bytes, None]:
        """Yield named events: pieces of variables, variables, failures, and the whole at the end."""
        run = _Run(self._asked, self._flow, engine, meter)
        yield named("program.created", {"type": "program.created", "id": run.id, "model": engine.name})
        async with aclosing(run.events()) as found:
            async for event in found:
                yield named(event["type"], event)
        done = run.body().model_dump(exclude_none=True)
        yield named("program.done", {"type": "program.done", "program": done})

    async def whole(self, engine: Engine, meter: Meter) -> ProgramBody:
        """Return the whole of it."""
        run = _Run(self._asked, self._flow, engine, meter)
        async with aclosing(run.events()) as found:
            async for _ in found:
                pass
        return run.body()

    @staticmethod
    def fault(error: Exception) -> bytes:
        """The event that ends a stream which failed."""
        return named("error", fault_of(error).model_dump())


@dataclass(slots=True)
class _Step:
    """A step while the program runs."""

    step: ProgramStep
    over: anyio.Event = field(default_factory=anyio.Event)
    done: StepDone | None = None
    value: str | None = None


class _Run:
    """One run of a program."""

    def __init__(self, asked: ProgramRequest, flow: Flow, engine: Engine, meter: Meter) -> None:
        self.id = new_id("prog")
        self._created = int(time.time())
        self._asked = asked
        self._flow = flow
        self._engine = engine
        self._meter = meter
        self._steps = {name: _Step(step) for name, step in flow.steps.items()}
        self._told, self._heard = anyio.create_memory_object_stream[dict[str, Any]](BACKLOG)

    async def events(self) -> AsyncGenerator[dict[str, Any], None]:
        """Run, and yield what happens; closing it stops every step."""
        whole = asyncio.ensure_future(self._all())
        try:
            async for event in self._heard:
                yield event
            await whole
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            self._heard.close()
            whole.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait({whole})

    def body(self) -> ProgramBody:
        """The answer, once all is over."""
        rows = tuple(step.done for step in self._steps.values() if step.done is not None)
        values = {name: step.value for name, step in self._steps.items() if step.value is not None}
        shown = self._asked.outputs if self._asked.outputs is not None else tuple(values)
        known = {**self._asked.inputs, **values}
        done = sum(row.status == "done" for row in rows)
        return ProgramBody(
            id=self.id,
            created=self._created,
            model=self._engine.name,
            status="completed" if done == len(rows) else "partial" if done else "failed",
            variables={name: known[name] for name in shown if name in known},
            steps=rows,
            usage=_sum(row.usage for row in rows),
        )

    async def _all(self) -> None:
        with self._told:
            async with anyio.create_task_group() as group:
                for name in self._steps:
                    group.start_soon(self._step, name)

    async def _step(self, name: str) -> None:
        mine = self._steps[name]
        for want in self._flow.needs[name]:
            await self._steps[want].over.wait()
        missing = [want for want in self._flow.needs[name] if self._steps[want].value is None]
        meter = self._metered(name)
        try:
            if missing:
                mine.done = StepDone(output=name, status="skipped")
            else:
                answer = await self._answer(mine.step, meter)
                mine.value = answer.text
                mine.done = StepDone(output=name, status="done", finish_reason=answer.finish, usage=meter.usage)
        except ShuntyardError as error:
            mine.done = StepDone(output=name, status="failed", error=fault_of(error).error, usage=_counted(meter))
        finally:
            self._meter.first = self._meter.first or meter.first
            self._meter.tallies += [tally for tally in meter.tallies if tally.reported]
        mine.over.set()
        kind = "variable.done" if mine.value is not None else "step.failed"
        told = {"type": kind, "name": name, "value": mine.value, "step": mine.done.model_dump(exclude_none=True)}
        await self._told.send({key: value for key, value in told.items() if value is not None})

    async def _answer(self, step: ProgramStep, meter: Meter) -> Gathered:
        answer = Gathered()
        async with aclosing(chat_chunks(self._engine, self._chat(step), meter)) as chunks:
            async for choices in chunks:
                for choice in choices:
                    answer.take(choice)
                    text = choice["delta"].get("content")
                    if text:
                        await self._told.send({"type": "variable.delta", "name": step.output, "text": text})
        return answer

    def _chat(self, step: ProgramStep) -> ChatRequest:
        values = dict(self._asked.inputs)
        values |= {name: found.value for name, found in self._steps.items() if found.value is not None}
        messages = step.messages or (ChatMessage(role="user", content=step.prompt),)
        said = tuple(_filled(message, values) for message in messages)
        size = sum(len(str(message.content).encode("utf-8", "replace")) for message in said)
        if size > PROMPT_BYTES:
            raise RequestRefused(
                f"the prompt of step {step.output!r} has {size} bytes with its variables, and may have {PROMPT_BYTES}; "
                "make less of them."
            )
        passed = {name: value for name in _PASSED if (value := getattr(step, name)) is not None}
        return ChatRequest(messages=said, **passed)

    def _metered(self, name: str) -> Meter:
        place = self._meter.place or Place()
        return Meter(
            place=Place(
                run=place.run or self.id,
                node=name,
                arrived=place.arrived or self._meter.arrived,
                priority=place.priority + self._flow.ahead[name],
                follows=name in self._flow.feeds or place.follows,
            )
        )


def _filled(message: ChatMessage, values: dict[str, str]) -> ChatMessage:
    content = message.content
    if isinstance(content, str):
        return message.model_copy(update={"content": filled(content, values)})
    parts = tuple(part.model_copy(update={"text": filled(part.text, values)}) for part in content or ())
    return message.model_copy(update={"content": parts})


def _counted(meter: Meter) -> Usage | None:
    return meter.usage if meter.tallies else None


def _sum(found: Iterable[Usage | None]) -> Usage:
    counted = [usage for usage in found if usage is not None]
    return Usage(
        prompt_tokens=sum(usage.prompt_tokens for usage in counted),
        completion_tokens=sum(usage.completion_tokens for usage in counted),
        total_tokens=sum(usage.total_tokens for usage in counted),
        prompt_tokens_details=PromptDetails(
            cached_tokens=sum(usage.prompt_tokens_details.cached_tokens for usage in counted)
        ),
    )
