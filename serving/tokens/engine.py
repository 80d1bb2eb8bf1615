"""The token-level engine as the server and an agent see it."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

import anyio
import anyio.to_thread

from ...errors import ModelUnavailable, UsageError
from ...messages import Completion, Message, ModelInfo, ModelRequest, Usage
from ...settings import TokenSettings
from ..engines import Call, Capabilities, Chunk
from .client import TokenChild
from .layout import unavailable

_READ = frozenset(("model", "messages", "prompt", "max_tokens", "temperature", "top_p", "seed", "stop", "stream"))
_EMPTY: dict[str, Any] = {
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "logit_bias": {},
    "echo": False,
    "n": 1,
    "logprobs": False,
}
"""Fields that change nothing at these values."""


def capabilities() -> Capabilities | None:
    """Return what the engine can do here; None where there is none (``layout.unavailable`` says why)."""
    if unavailable():
        return None
    return Capabilities(
        tools=False,
        tool_choice=False,
        json_schema=False,
        render=True,
        logprobs=False,
        logit_bias=False,
        n=1,
        slots=1,
    )


class TokenEngine:
    """An Engine on a child of ours. Calls wait for each other; a child that has ended is started again."""

    def __init__(self, name: str, start: Callable[[], TokenChild], options: TokenSettings) -> None:
        """Start nothing yet: ``start`` blocks, and is called at the first call. Raises ModelUnavailable."""
        can = capabilities()
        if can is None:
            raise ModelUnavailable(f"model {name!r} has no token-level engine: {unavailable()}", ids={"model": name})
        self._name = name
        self._capabilities = can
        self._start = start
        self._options = options
        self._child: TokenChild | None = None
        self._turn = anyio.Lock()
        self._starting = anyio.Lock()

    @property
    def name(self) -> str:
        """What clients call its model."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return self._capabilities

    @property
    def pid(self) -> int:
        """The child's process; 0 before the first call."""
        return self._child.pid if self._child is not None else 0

    async def stream(self, call: Call) -> AsyncGenerator[Sequence[Chunk], None]:
        """Yield the chunks of ``call`` one by one; closing the generator stops before the next pass of the model."""
        order = order_of(call, self._options)
        head = {"id": uuid.uuid4().hex, "created": int(time.time()), "model": self._name}
        chat = call.path == "/chat/completions"
        head["object"] = "chat.completion.chunk" if chat else "text_completion"
        async with self._turn:
            for last in (False, True):
                begun = False
                try:
                    async with aclosing(self._events(order)) as events:
                        async for event in events:
                            begun = True
                            said = _delta(event["text"], chat) if "text" in event else _end(event["done"], chat)
                            yield [Chunk.of(head | said)]
                    return
                except ModelUnavailable:
                    if begun or last or self._alive():
                        raise

    async def render(self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]]) -> str:
        """Return the prompt that the model's template makes."""
        if tools:
            raise UsageError(f"'tools' are not offered by the engine of {self._name!r}; leave them out.")
        return str((await self._result({"do": "render", "messages": list(messages)}))["prompt"])

    async def tokens(self, prompt: str) -> int:
        """Return how many tokens ``prompt`` has."""
        return int((await self._result({"do": "count", "prompt": prompt}))["tokens"])

    async def count(self, messages: Sequence[dict[str, Any]]) -> int:
        """Return how many tokens the prompt of ``messages`` has."""
        return int((await self._result({"do": "count", "messages": list(messages)}))["tokens"])

    async def close(self) -> None:
        """End the child: unlike the server's engine it belongs to this process alone."""
        if self._child is not None:
            await anyio.to_thread.run_sync(self._child.close)
            self._child = None

    async def _events(self, order: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        child = await self._ready()
        ticket = child.ask(order)
        try:
            while True:
                event = await anyio.to_thread.run_sync(ticket.next, abandon_on_cancel=True)
                yield event
                if "done" in event:
                    return
        finally:
            ticket.cancel()

    async def _result(self, order: dict[str, Any]) -> dict[str, Any]:
        child = await self._ready()
        return await anyio.to_thread.run_sync(partial(child.result, order), abandon_on_cancel=True)

    async def _ready(self) -> TokenChild:
        async with self._starting:
            if not self._alive():
                # One that has ended still holds its pipes.
                await self.close()
                self._child = await anyio.to_thread.run_sync(self._start)
            assert self._child is not None
            return self._child

    def _alive(self) -> bool:
        return self._child is not None and self._child.alive


class TokenModel:
    """The engine as a Model, for agents. Grammar and schema are not honoured, and its info says so."""

    def __init__(self, info: ModelInfo, engine: TokenEngine) -> None:
        """Share ``engine`` with others."""
        self._info = info
        self._engine = engine

    @property
    def info(self) -> ModelInfo:
        """What it is."""
        return self._info

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> Completion:
        """Answer; text goes to ``on_text`` as it comes. Raises as Engine.stream."""
        begin, first = time.monotonic(), 0.0
        body = {
            "messages": [message.model_dump() for message in request.messages],
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "seed": request.seed,
            "stop": list(request.stop),
        }
        texts: list[str] = []
        usage, finish = Usage(), "stop"
        async with aclosing(self._engine.stream(Call("/chat/completions", body))) as stream:
            async for (chunk,) in stream:
                first = first or time.monotonic() - begin
                choice = chunk.value["choices"][0]
                text = choice["delta"].get("content", "")
                if text:
                    texts.append(text)
                    if on_text is not None:
                        on_text(text)
                if choice["finish_reason"]:
                    finish = choice["finish_reason"]
                    told = chunk.value["usage"]
                    cached = told["prompt_tokens_details"]["cached_tokens"]
                    usage = Usage(prompt=told["prompt_tokens"], cached=cached, completion=told["completion_tokens"])
        return Completion(
            text="".join(texts),
            model=self._info.name,
            usage=usage,
            finish="length" if finish == "length" else "stop",
            ttft=first,
            seconds=time.monotonic() - begin,
        )

    async def count(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt: exact."""
        return await self._engine.count([message.model_dump() for message in messages])


def order_of(call: Call, options: TokenSettings) -> dict[str, Any]:
    """Return the child's order for a call. Raises UsageError for a field that the engine does not know."""
    body = call.body
    for field, value in body.items():
        if field not in _READ and value is not None and (field not in _EMPTY or value != _EMPTY[field]):
            raise UsageError(f"{field!r} is not offered by the token-level engine (got {value!r}); leave it out.")
    stop = body.get("stop") or []
    order: dict[str, Any] = {
        "do": "generate",
        "want": {
            "limit": body.get("max_tokens") or 0,
            "temperature": 1.0 if body.get("temperature") is None else body["temperature"],
            "top_p": 1.0 if body.get("top_p") is None else body["top_p"],
            "seed": body.get("seed") or 0,
        },
        "stop": [stop] if isinstance(stop, str) else stop,
        "options": options.model_dump(),
    }
    kind = "messages" if call.path == "/chat/completions" else "prompt"
    return order | {kind: body[kind]}


def _delta(text: str, chat: bool) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": 0, "finish_reason": None, "logprobs": None}
    return {"choices": [choice | ({"delta": {"content": text}} if chat else {"text": text})]}


def _end(done: dict[str, Any], chat: bool) -> dict[str, Any]:
    reason = "stop" if done["finish"] == "stop" else "length"
    choice: dict[str, Any] = {"index": 0, "finish_reason": reason, "logprobs": None}
    usage = {
        "prompt_tokens": done["prompt"],
        "completion_tokens": done["completion"],
        "total_tokens": done["prompt"] + done["completion"],
        "prompt_tokens_details": {"cached_tokens": done["cached"]},
    }
    last: dict[str, Any] = {"delta": {}} if chat else {"text": ""}
    return {"choices": [choice | last], "usage": usage}
