"""Prompts beyond a model's context, where a request allows it (``places.Told.long``): read as local models read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

import anyio

from ...errors import ContextTooLong, RequestRefused
from ...messages import Completion, Message, ModelInfo, ModelRequest
from ...messages import Usage as Tokens
from ..engines import Chunk, Engine
from ..long.read import Tokenised, read_long
from .asked import ChatRequest
from .generate import Meter
from .offers import said, schema_of, tools

ANSWER = 512
"""Tokens of an answer whose request names no limit, or a quarter of the context where that is less."""
TIMES = 64
"""Contexts that a prompt may be long and still be read in segments: each is a call or more."""

Chats = Callable[[Engine, ChatRequest, Meter], AsyncGenerator[list[dict[str, Any]], None]]
Plainly = Callable[[Engine, ChatRequest, Meter], AsyncGenerator[Sequence[Chunk], None]]


def mended(error: ContextTooLong, engine: Engine, meter: Meter) -> ContextTooLong:
    """Return ``error`` with the mend that there is here."""
    if meter.long in ("segments", "pages") or not _offered(engine):
        return error
    mend = 'shorten it, or have it read in parts: send "shuntyard": {"long": "segments"} (or "pages").'
    return ContextTooLong(f"{error.message.removesuffix('shorten it.')}{mend}", ids=error.ids)


async def long_chunks(
    engine: Engine, asked: ChatRequest, meter: Meter, *, plainly: Plainly, ask: Chats
) -> AsyncGenerator[Sequence[Chunk], None]:
    """Yield the chunks of a chat that may be read as ``meter.long`` says; one that fits is answered ``plainly``.

    ``ask`` makes the calls that it takes; all of them are counted. Raises RequestRefused for what cannot be read so.
    """
    if not _offered(engine):
        raise RequestRefused(
            f"'long' is not offered by the engine of {engine.name!r}; leave it out and shorten the prompt.",
            param="long",
        )
    context = engine.capabilities.context
    count = await engine.tokens(await engine.render(said(asked), tools(asked)))
    limit = asked.max_completion_tokens or asked.max_tokens
    if count + (limit or 1) <= context:
        async with aclosing(plainly(engine, asked, meter)) as batches:
            async for batch in batches:
                yield batch
        return
    _check(asked, meter.long, count, context)
    reader = _Reader(engine, asked, meter, ask)
    async with aclosing(_told(reader, reader.request(limit or min(ANSWER, context // 4)), meter)) as chunks:
        async for chunk in chunks:
            yield [chunk]


async def _told(reader: _Reader, request: ModelRequest, meter: Meter) -> AsyncGenerator[Chunk, None]:
    heard: asyncio.Queue[str | None] = asyncio.Queue()

    def read(how: str) -> None:
        meter.read = how

    task = asyncio.ensure_future(read_long(reader, request, on_text=heard.put_nowait, on_read=read))
    task.add_done_callback(lambda _: heard.put_nowait(None))
    try:
        while (text := await heard.get()) is not None:
            yield _chunk({"content": text})
        yield _chunk({}, (await task).finish)
    finally:
        task.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait({task})


class _Reader:
    """The engine as a model that answers what fits; every call has the sampling that was asked for."""

    def __init__(self, engine: Engine, asked: ChatRequest, meter: Meter, ask: Chats) -> None:
        self.info = ModelInfo(name=engine.name, context=engine.capabilities.context)
        self._engine = engine
        self._asked = asked
        self._meter = meter
        self._ask = ask

    def request(self, limit: int) -> ModelRequest:
        """What was asked, as a model reads it."""
        return ModelRequest.model_validate(
            {
                "messages": [{"role": item["role"], "content": item["content"]} for item in said(self._asked)],
                "max_tokens": limit,
                "grammar": self._asked.grammar,
                "json_schema": schema_of(self._asked),
                "long": self._meter.long,
            }
        )

    async def count(self, messages: Sequence[Message]) -> int:
        return await self._engine.tokens(await self._engine.render([item.model_dump() for item in messages], ()))

    async def pieces(self, text: str) -> list[str]:
        assert isinstance(self._engine, Tokenised)
        return await self._engine.pieces(text)

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> Completion:
        form = self._asked.response_format if request.json_schema is not None else None
        chat = ChatRequest.model_validate(
            {
                **{name: getattr(self._asked, name) for name in self._asked.model_fields_set},
                "messages": [item.model_dump() for item in request.messages],
                "max_tokens": request.max_tokens,
                "max_completion_tokens": None,
                "grammar": request.grammar,
                "response_format": form,
            }
        )
        meter = Meter(place=self._meter.place)
        texts: list[str] = []
        finish = "stop"
        try:
            async with aclosing(self._ask(self._engine, chat, meter)) as chunks:
                async for choices in chunks:
                    for choice in choices:
                        text = choice["delta"].get("content") or ""
                        texts.append(text)
                        if text and on_text is not None:
                            on_text(text)
                        finish = choice.get("finish_reason") or finish
        finally:
            self._meter.tallies += meter.tallies
        prompt, completion, cached = meter.sums
        usage = Tokens(prompt=prompt, cached=cached, completion=completion)
        ends: Any = "length" if finish == "length" else "stop"
        return Completion(text="".join(texts), model=self.info.name, usage=usage, finish=ends)


def _offered(engine: Engine) -> bool:
    can = engine.capabilities
    return can.render and can.context > 0 and isinstance(engine, Tokenised)


def _check(asked: ChatRequest, long: str, count: int, context: int) -> None:
    lacks = {
        "tools": bool(asked.tools),
        "logprobs": bool(asked.logprobs),
        "n": asked.n > 1,
        "messages": any(item.role == "tool" or item.tool_calls for item in asked.messages),
    }
    for name, lacking in lacks.items():
        if lacking:
            raise RequestRefused(
                f"a prompt of {count} tokens is beyond the context ({context}), and {name!r} cannot be had when it is "
                "read in parts; leave it out, or shorten the prompt.",
                param=name,
            )
    if long == "segments" and count > TIMES * context:
        raise ContextTooLong(
            f"a prompt of {count} tokens is more than {TIMES} times the context ({context}), too much to be read in "
            'segments; shorten it, or send "long": "pages".'
        )


def _chunk(delta: dict[str, Any], finish: str | None = None) -> Chunk:
    return Chunk.of({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
