"""A fleet as the server's engine: every call goes to the instance with most room, and what can move does.

A greedy chat without tools or a grammar goes through ``Fleet``: it moves while it waits and while it is written, is
read by one instance for another where roles say so, and goes on elsewhere when its engine dies. Any other call stays on
the instance that it was given, behind that instance's queue; when its engine dies before the first piece it is given to
another one, after it the caller is told.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import anyio

from ...errors import ContextTooLong, ModelUnavailable
from ...messages import Completion, Message, ModelRequest
from ..engines import Call, Capabilities, Chunk
from ..joined import DeskEngine
from ..prompt import call_of
from .fleet import Fleet
from .policy import Load

_MOVES = frozenset({"messages", "max_tokens", "temperature", "seed", "stop", "top_p", "top_k", "min_p", "n"})
"""Fields of a body that a moving answer may have; at temperature 0 most of them change nothing."""


class FleetEngine:
    """An ``Engine`` over ``fleet``; ``engines`` are its members, each behind its own queue, in the same order."""

    def __init__(self, fleet: Fleet, engines: Sequence[DeskEngine]) -> None:
        """Nothing is called yet."""
        self.fleet = fleet
        self._engines = tuple(engines)
        self._thinks: bool | None = None

    @property
    def name(self) -> str:
        """What clients call its model."""
        return self._engines[0].name

    @property
    def capabilities(self) -> Capabilities:
        """What each of its engines can do."""
        return self._engines[0].capabilities

    def loads(self) -> list[Load]:
        """What every instance holds."""
        return self.fleet.loads()

    async def stream(self, call: Call) -> AsyncGenerator[Sequence[Chunk], None]:
        """Yield the chunks of ``call``, usage included; closing the generator stops it. Raises as ``Engine.stream``."""
        source = self._moving(call) if _moves(call) and not await self._thinking() else self._staying(call)
        async with aclosing(source) as batches:
            async for batch in batches:
                yield batch

    async def render(self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]]) -> str:
        """Return the prompt that the model's template makes."""
        return await self._first().render(messages, tools)

    async def tokens(self, prompt: str) -> int:
        """Return how many tokens ``prompt`` has."""
        return await self._first().tokens(prompt)

    async def pieces(self, text: str) -> list[str]:
        """Return ``text`` as the texts of its tokens."""
        return await self._first().pieces(text)

    async def close(self) -> None:
        """Let go of connections, once the states that are being saved are."""
        for engine in self._engines:
            await engine.close()

    def _first(self) -> DeskEngine:
        return self._engines[0]

    async def _moving(self, call: Call) -> AsyncGenerator[Sequence[Chunk], None]:
        """The answer of the fleet itself, as chunks."""
        body, room = call.body, self.fleet.info.context
        said = tuple(Message(role=item["role"], content=item["content"]) for item in body["messages"])
        count = await self.fleet.count(said)
        if count >= room:
            raise ContextTooLong(
                f"the prompt of {count} tokens does not fit {self.name!r} ({room}); shorten it.",
                ids={"model": self.name},
            )
        stop = body.get("stop", ())
        request = ModelRequest(
            messages=said,
            max_tokens=min(int(body.get("max_tokens") or room), room - count),
            seed=int(body.get("seed", 0)),
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            long="no",
            place=call.place,
        )
        heard: asyncio.Queue[str | None] = asyncio.Queue()
        task = asyncio.ensure_future(self.fleet.complete(request, on_text=heard.put_nowait))
        task.add_done_callback(lambda _: heard.put_nowait(None))
        try:
            while (text := await heard.get()) is not None:
                yield [Chunk.said(json.dumps(text)[1:-1].encode())]
            yield _ends(await task)
        finally:
            task.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait({task})

    async def _staying(self, call: Call) -> AsyncGenerator[Sequence[Chunk], None]:
        """The answer of one instance; another one is asked when its engine dies before it says anything."""
        prompt = await self._first().prompt_of(call)
        waiting = call_of(call.place, prompt)
        lost: set[int] = set()
        while True:
            with self.fleet.holding(waiting, prompt, without=lost) as held:
                begun = False
                try:
                    async with aclosing(self._engines[held.at].stream(call)) as batches:
                        async for batch in batches:
                            begun = True
                            held.answer.waiting = False
                            yield batch
                    return
                except ModelUnavailable:
                    lost.add(held.at)
                    self.fleet.deaths += 1
                    if begun or len(lost) == len(self._engines):
                        raise

    async def _thinking(self) -> bool:
        """Whether the model's template knows thoughts, which only the engine's own chat tells from the answer."""
        if self._thinks is None:
            props = await self.fleet.properties()
            self._thinks = "think" in str(props.get("chat_template", ""))
        return self._thinks


def _moves(call: Call) -> bool:
    """Whether the rest of an answer follows from its tokens alone, and the answer is nothing but text."""
    body = call.body
    if call.path != "/chat/completions" or body.get("temperature") != 0 or body.get("n", 1) != 1:
        return False
    plain = all(
        set(item) == {"role", "content"} and item["role"] in ("system", "user", "assistant")
        for item in body["messages"]
    )
    return plain and set(body) <= _MOVES


def _ends(answer: Completion) -> list[Chunk]:
    usage = {
        "prompt_tokens": answer.usage.prompt,
        "completion_tokens": answer.usage.completion,
        "total_tokens": answer.usage.total,
        "prompt_tokens_details": {"cached_tokens": answer.usage.cached},
    }
    end = {"index": 0, "delta": {}, "finish_reason": answer.finish}
    return [Chunk.of({"choices": [end]}), Chunk.of({"choices": [], "usage": usage})]
