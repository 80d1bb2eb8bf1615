"""The supervised engine behind its queue: what the server's clients share.

Every call waits for a slot in the order of its application, on the slot or saved state that knows most of its prompt,
and equal calls of a determined answer are generated once.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import httpx

from ..errors import ModelUnavailable
from .desk import ANSWERS, Desk
from .engines import Call, Capabilities, Chunk, Straight
from .flight import Flight
from .native import PUT_OFF, Reader, client_of
from .prompt import Prompt, call_of, prefix_of, short
from .schedule import dispatch
from .schedule.kept import Kept
from .schedule.warmth import WORTH, packed
from .supervise import Running
from .upstream import BROKEN, Address, HttpEngine, Reply

_ENTRY = 600
"""Bytes of an answer that is kept, besides its key and its chunks."""


class DeskEngine:
    """An ``Engine`` whose calls go through ``desk``.

    ``http`` is the same engine without it. ``connect`` finds the process for every call; True distrusts what was known.
    ``reuse`` lets equal calls at temperature 0 share an answer, whose whole prompt then counts as cached.
    """

    def __init__(
        self,
        http: HttpEngine,
        connect: Callable[[bool], Awaitable[Running]],
        desk: Desk,
        *,
        reuse: bool = True,
    ) -> None:
        """Nothing is called yet."""
        self._http = http
        self._connect = connect
        self._desk = desk
        self._reuse = reuse
        self._flights: dict[str, Flight] = {}
        self._answers: Kept[tuple[Chunk, ...]] = Kept(ANSWERS)
        self._ending: set[asyncio.Task[None]] = set()
        self._client: tuple[str, httpx.AsyncClient] | None = None

    @property
    def name(self) -> str:
        """What clients call its model."""
        return self._http.name

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return self._http.capabilities

    async def stream(self, call: Call) -> AsyncGenerator[Sequence[Chunk], None]:
        """Yield the chunks of ``call``, usage included; closing the generator stops it when nobody else reads it."""
        key = _key(call) if self._reuse and call.body.get("temperature") == 0 else ""
        kept = self._answers.get(key)
        if kept is not None:
            # Copies, so that what is read of them is not kept.
            yield [_warm(chunk.unread()) for chunk in kept]
            return
        flight = self._flights.get(key)
        late = flight is not None
        if flight is None:
            flight = Flight(partial(self._generating, call), keep=bool(key), ended=partial(self._landed, key))
            self._ending.add(flight.task)
            flight.task.add_done_callback(self._ending.discard)
            if key:
                self._flights[key] = flight
        async with aclosing(flight.read(call.straight)) as batches:
            async for batch in batches:
                yield [_warm(chunk) for chunk in batch] if late else batch

    async def render(self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]]) -> str:
        """Return the prompt that the model's template makes."""
        return await self._http.render(messages, tools)

    async def tokens(self, prompt: str) -> int:
        """Return how many tokens ``prompt`` has."""
        return await self._http.tokens(prompt)

    async def pieces(self, text: str) -> list[str]:
        """Return ``text`` as the texts of its tokens."""
        return await self._http.pieces(text)

    async def close(self) -> None:
        """Let go of connections, once the states that are being saved are."""
        if self._ending:
            await asyncio.wait(self._ending)
        if self._client is not None:
            await self._client[1].aclose()
        await self._http.close()

    def _landed(self, key: str, flight: Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
            if flight.whole:
                merged = _merged(flight.chunks)
                self._answers.put(key, merged, _ENTRY + len(key) + sum(len(chunk) for chunk in merged))

    @asynccontextmanager
    async def _generating(self, call: Call) -> AsyncIterator[_Led]:
        """Hold what ``call`` needs while its answer is read."""
        with self._desk.scheduler.coming(call.place.run if call.place else ""):
            prompt = await self.prompt_of(call)
        waiting = call_of(call.place, prompt)
        count = min(int(call.body.get("n", 1)), self.capabilities.slots)
        for put_off in range(PUT_OFF + 1):
            async with self._desk.slots(waiting, count) as (slot, *others):
                stays = put_off == PUT_OFF or bool(others)
                reply = await self._begin(call, waiting, prompt, slot, stays=stays)
                if reply is not None:
                    try:
                        yield reply
                    finally:
                        reply.reply.close()
                        self._desk.warmth.note(slot, prompt.mark)
                    await self._ended(slot, prompt)
                    return
            waiting = replace(waiting)

    async def _begin(
        self, call: Call, waiting: dispatch.Call, prompt: Prompt, slot: int, *, stays: bool
    ) -> _Led | None:
        """Have ``slot`` read the prompt and generate; None when another call goes first.

        An engine that is gone before its first chunk is started again once.
        """
        ahead = 0

        def told(computed: int, upto: int) -> None:
            nonlocal ahead
            ahead += computed

        for known in (True, False):
            engine = await self._connect(not known)
            ahead = 0
            try:
                # One that does not fit is refused by the engine, in its own words.
                if 0 < prompt.count < engine.context:
                    reader = Reader(self._desk, waiting, prompt, self.name, told)
                    if not await reader.onto(await self._client_for(engine), engine, slot, stays=stays):
                        return None
                address = Address(engine.url, engine.token)
                with self._desk.entering():
                    # It is there with the first token.
                    reply = await self._http.begin(address, call, {"id_slot": slot})
                return _Led(reply, ahead)
            except (*BROKEN, ModelUnavailable) as error:
                if not known:
                    raise self._http.gone(error) from None
        raise AssertionError

    async def _ended(self, slot: int, prompt: Prompt) -> None:
        # Also notes that the engine was used until now.
        engine = await self._connect(False)
        if prompt.count:
            await self._desk.finished(await self._client_for(engine), slot, prompt.tokens)

    async def _client_for(self, engine: Running) -> httpx.AsyncClient:
        if self._client is None or self._client[0] != engine.url:
            old, self._client = self._client, (engine.url, client_of(engine))
            if old is not None:
                await old[1].aclose()
        return self._client[1]

    async def prompt_of(self, call: Call) -> Prompt:
        """Return the tokens of a prompt, none where it is too short to share much."""
        body = call.body
        if call.path == "/completions":
            text = body["prompt"]
            if isinstance(text, list):
                return Prompt(packed(text), 0)
            if len(text.encode("utf-8", "replace")) < WORTH:
                return short(text)
            return Prompt(packed(await self._http.tokenize(text)), 0)
        said, tools = body["messages"], body.get("tools", ())
        size = sum(len(message["content"].encode("utf-8", "replace")) for message in said)
        if size + len(json.dumps(tools)) < WORTH:
            return short(json.dumps([tools, said]))

        async def tokenize(messages: Sequence[dict[str, Any]]) -> bytes:
            return packed(await self._http.tokenize(await self._http.render(messages, tools)))

        tokens = await tokenize(said)
        leading = call.place.prefix if call.place else None
        return Prompt(tokens, await prefix_of(said, tokens, leading, self._desk, tokenize))


@dataclass(frozen=True, slots=True)
class _Led:
    """An answer of which ``ahead`` tokens of the prompt were computed before, in pieces: they were not cached."""

    reply: Reply
    ahead: int

    async def more(self, straight: Straight | None = None) -> list[Chunk]:
        found = await self.reply.more(straight)
        return (
            [_with_cached(chunk, lambda usage: _cached(usage) - self.ahead) for chunk in found] if self.ahead else found
        )


def _key(call: Call) -> str:
    """What calls with the same answer have in common."""
    return hashlib.sha256(f"{call.path}{json.dumps(call.body, sort_keys=True)}".encode()).hexdigest()


def _warm(chunk: Chunk) -> Chunk:
    """The chunk of an answer that was generated for somebody else: nothing of its prompt was computed."""
    return _with_cached(chunk, lambda usage: int(usage.get("prompt_tokens") or 0))


def _with_cached(chunk: Chunk, count: Callable[[dict[str, Any]], int]) -> Chunk:
    if chunk.plain is not None or not (usage := chunk.value.get("usage")):
        return chunk
    details = {**(usage.get("prompt_tokens_details") or {}), "cached_tokens": max(0, count(usage))}
    return Chunk.of({**chunk.value, "usage": {**usage, "prompt_tokens_details": details}})


def _cached(usage: dict[str, Any]) -> int:
    return int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0)


def _merged(chunks: Sequence[Chunk]) -> tuple[Chunk, ...]:
    """Return ``chunks`` unread, with runs of plain ones joined to one."""
    found: list[Chunk] = []
    run: list[bytes] = []
    for chunk in chunks:
        if chunk.plain is not None:
            run.append(chunk.plain)
            continue
        if run:
            found.append(Chunk.said(b"".join(run)))
            run = []
        found.append(chunk.unread())
    return (*found, *([Chunk.said(b"".join(run))] if run else ()))
