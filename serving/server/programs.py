"""A program while it runs: calls that feed each other, made as soon as what they need is there."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from ...errors import RequestRefused, ServerBusy, ShuntyardError
from ...messages import Place
from ..engines import Engine
from ..program import ProgramBody, ProgramRequest, ProgramStep, StepDone
from .answers import Fault, PromptDetails, Usage
from .asked import ChatMessage, ChatRequest
from .chat import Gathered, chat_chunks, new_id
from .dataflow import PROMPT_BYTES, filled, flow_of
from .events import fault_of, named
from .generate import Meter

BACKLOG = 256
"""Events that wait for a slow reader before its program does."""
PATIENCE = 60.0
"""Seconds that a step waits for memory which other requests' models hold."""
_PASSED = ("max_tokens", "temperature", "top_p", "seed", "stop", "response_format", "grammar")

Lend: TypeAlias = Callable[[str], AbstractAsyncContextManager[Engine]]
"""Lends the engine of a model."""


@dataclass(slots=True)
class _Step:
    """A step while the program runs."""

    step: ProgramStep
    model: str
    over: anyio.Event = field(default_factory=anyio.Event)
    begun: bool = False
    done: StepDone | None = None
    value: str | None = None

    @property
    def row(self) -> StepDone:
        """How far it is."""
        return self.done or StepDone(
            output=self.step.output, model=self.model, status="running" if self.begun else "waiting"
        )


class Run:
    """One run of a program; it is one application of the queue, its critical path first.

    Engines are borrowed step by step, so models that have no room beside each other take turns.
    """

    endpoint = "programs"

    def __init__(
        self,
        asked: ProgramRequest,
        lend: Lend,
        *,
        place: Place | None = None,
        long: str = "",
        prefetch: Callable[[str], None] = lambda name: None,
    ) -> None:
        """Raises RequestRefused for a program that cannot run. Its models are to be named (``models``) before it does.

        ``prefetch`` is told of the models that the steps after a step need.
        """
        self.id = new_id("prog")
        self.model = asked.model
        self.stream = asked.stream
        self.background = asked.background
        self.meter = Meter(place=place, long=long)
        self.over = anyio.Event()
        self.failure: Exception | None = None
        self._created = int(time.time())
        self._asked = asked
        self._flow = flow_of(asked)
        self._lend = lend
        self._prefetch = prefetch
        self._steps = {name: _Step(step, step.model or asked.model) for name, step in self._flow.steps.items()}
        self._begun = anyio.Event()
        self._borrowed = 0
        self._returned = anyio.Event()
        self._told: MemoryObjectSendStream[dict[str, Any]] | None = None
        self._heard: MemoryObjectReceiveStream[dict[str, Any]] | None = None

    def models(self, named: Callable[[str, str], str]) -> None:
        """Give every step the model that ``named`` makes of what was asked for, and of the field that asks."""
        self.model = named(self.model, "model")
        for number, item in enumerate(self._steps.values()):
            item.model = named(item.step.model, f"steps.{number}.model") if item.step.model else self.model

    async def carry(self, place: AbstractAsyncContextManager[None]) -> None:
        """Run to the end, once it holds ``place``; ``failure`` says why it could not. Cancelling stops every step."""
        if self.stream:
            self._told, self._heard = anyio.create_memory_object_stream(BACKLOG)
        try:
            async with place:
                self._begun.set()
                async with anyio.create_task_group() as group:
                    for name in self._steps:
                        group.start_soon(self._step, name)
        except ShuntyardError as error:
            self.failure = error
        except Exception as error:
            sys.stderr.write("".join(traceback.format_exception(error)))
            self.failure = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
        finally:
            self.end()

    def end(self) -> None:
        """Note that nothing more happens: what is not over is cancelled."""
        for item in self._steps.values():
            if item.done is None:
                item.done = StepDone(output=item.step.output, model=item.model, status="cancelled")
        self.over.set()
        self._begun.set()
        if self._told is not None:
            self._told.close()

    def leave(self) -> None:
        """Note that nobody hears of it any more; only once it is over."""
        if self._heard is not None:
            self._heard.close()

    async def events(self) -> AsyncGenerator[bytes, None]:
        """Yield named events: pieces of variables, variables, failures, the whole at the end. Raises ``failure``."""
        await self._begun.wait()
        if self.failure is None:
            yield named("program.created", {"type": "program.created", "id": self.id, "model": self.model})
        if self._heard is not None:
            async for event in self._heard:
                yield named(event["type"], event)
        done = (await self.whole()).model_dump(exclude_none=True)
        yield named("program.done", {"type": "program.done", "program": done})

    async def whole(self) -> ProgramBody:
        """Return the answer, once all is over. Raises ``failure``."""
        await self.over.wait()
        if self.failure is not None:
            raise self.failure
        return self.body()

    def body(self) -> ProgramBody:
        """How far it is."""
        rows = tuple(item.row for item in self._steps.values())
        values = {name: item.value for name, item in self._steps.items() if item.value is not None}
        shown = self._asked.outputs if self._asked.outputs is not None else tuple(values)
        known = {**self._asked.inputs, **values}
        return ProgramBody(
            id=self.id,
            created=self._created,
            model=self.model,
            status=self._status(rows),
            variables={name: known[name] for name in shown if name in known},
            steps=rows,
            usage=_sum(row.usage for row in rows),
            error=_told_of(self.failure) if self.failure is not None else None,
        )

    def _status(self, rows: tuple[StepDone, ...]) -> Any:
        if not self._begun.is_set():
            return "queued"
        if not self.over.is_set():
            return "running"
        found = [row.status for row in rows]
        if self.failure is None and "cancelled" in found:
            return "cancelled"
        done = found.count("done")
        return "completed" if done == len(rows) else "partial" if done else "failed"

    async def _step(self, name: str) -> None:
        mine = self._steps[name]
        for want in self._flow.needs[name]:
            await self._steps[want].over.wait()
        missing = [want for want in self._flow.needs[name] if self._steps[want].value is None]
        meter = self._metered(name)
        row = StepDone(output=name, model=mine.model, status="skipped")
        try:
            if not missing:
                mine.begun = True
                answer = await self._answer(mine, meter)
                mine.value = answer.text
                row = row.model_copy(
                    update={"status": "done", "finish_reason": answer.finish, "usage": meter.usage, "read": meter.read}
                )
        except ShuntyardError as error:
            row = row.model_copy(update={"status": "failed", "error": _told_of(error), "usage": _counted(meter)})
        finally:
            self.meter.first = self.meter.first or meter.first
            self.meter.tallies += [tally for tally in meter.tallies if tally.reported]
        mine.done = row
        mine.over.set()
        kind = "variable.done" if mine.value is not None else "step.failed"
        told = {"type": kind, "name": name, "value": mine.value, "step": row.model_dump(exclude_none=True)}
        await self._tell({key: value for key, value in told.items() if value is not None})

    async def _tell(self, event: dict[str, Any]) -> None:
        if self._told is not None:
            await self._told.send(event)

    @asynccontextmanager
    async def _engine(self, model: str) -> AsyncIterator[Engine]:
        """Borrow the engine of ``model``. Where there is no room for it, first other steps give theirs back."""
        end = time.monotonic() + PATIENCE
        try:
            async with AsyncExitStack() as stack:
                while True:
                    try:
                        engine = await stack.enter_async_context(self._lend(model))
                        break
                    except ServerBusy as error:
                        if not self._borrowed and time.monotonic() > end:
                            raise
                        with anyio.move_on_after(error.after):
                            await self._returned.wait()
                self._borrowed += 1
                try:
                    yield engine
                finally:
                    self._borrowed -= 1
        finally:
            self._returned.set()
            self._returned = anyio.Event()

    async def _answer(self, mine: _Step, meter: Meter) -> Gathered:
        answer, asked = Gathered(), self._chat(mine.step)
        async with self._engine(mine.model) as engine:
            for name in self._flow.fed(mine.step.output):
                self._prefetch(self._steps[name].model)
            async with aclosing(chat_chunks(engine, asked, meter)) as chunks:
                async for choices in chunks:
                    for choice in choices:
                        answer.take(choice)
                        text = choice["delta"].get("content")
                        if text:
                            await self._tell({"type": "variable.delta", "name": mine.step.output, "text": text})
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
        place = self.meter.place or Place()
        return Meter(
            long=self.meter.long,
            place=Place(
                run=place.run or self.id,
                node=name,
                arrived=place.arrived or self.meter.arrived,
                priority=place.priority + self._flow.ahead[name],
                follows=name in self._flow.feeds or place.follows,
            ),
        )


def _filled(message: ChatMessage, values: dict[str, str]) -> ChatMessage:
    content = message.content
    if isinstance(content, str):
        return message.model_copy(update={"content": filled(content, values)})
    parts = tuple(part.model_copy(update={"text": filled(part.text, values)}) for part in content or ())
    return message.model_copy(update={"content": parts})


def _told_of(error: Exception) -> Fault:
    return fault_of(error).error


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
