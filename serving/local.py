"""A local model: prompts, answers, token counts and log-probabilities over the engine's own HTTP.

Answers always come as a stream, because closing the socket of a stream is the only thing that stops a
generation at once.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import anyio
import httpx

from ..errors import ContextTooLong, ModelUnavailable
from ..events import Progress
from ..messages import Completion, Message, ModelInfo, ModelRequest
from ..protocols import Emit
from .answer import Answer
from .desk import Desk
from .native import PUT_OFF, Reader, client_of, generate, gone, read
from .prompt import Prompt, call_of, key_of, prefix_of
from .schedule.dispatch import Call
from .schedule.warmth import packed, unpacked
from .schema import begins, compact, conforms
from .supervise import Running

SILENCE = 1.0
"""Seconds between signs of life while a prompt is being read."""


class LocalModel:
    """One open model. ``connect`` returns the engine, warm or started anew; it is called for every request.

    Calls wait for a slot in the order of their applications (``request.place``). A prompt beginning that is known,
    to a slot or from a saved state, is reused: ``usage.cached`` says how much of it. At temperature 0 equal requests
    are computed once and share the answer; computed twice they give equal tokens on one machine and configuration,
    but for rare ties, since what else is in the engine's batch moves its floats a little.
    """

    def __init__(
        self,
        info: ModelInfo,
        connect: Callable[[bool], Awaitable[Running]],
        *,
        emit: Emit | None = None,
        desk: Desk | None = None,
        reuse: bool = True,
        heard: Callable[[ModelRequest, Mapping[str, Any]], None] | None = None,
        long: Literal["", "segments", "pages"] = "",
    ) -> None:
        """Keep how to reach the engine; ``connect(True)`` distrusts what was known of it.

        Models of one engine share a ``desk``; ``reuse`` lets equal deterministic calls share an answer. ``heard`` is
        told of every request that was generated, with the engine's timings. ``long`` is how prompts beyond the context
        are read whose request does not say it.
        """
        self._info = info
        self._connect = connect
        self._emit = emit
        self._desk = desk or Desk()
        self._reuse = reuse
        self._heard = heard
        self._long = long

    @property
    def info(self) -> ModelInfo:
        """What it is; its context is the one that the engine really has."""
        return self._info

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> Completion:
        """Answer; text goes to ``on_text`` as it comes. Cancelling frees the engine within a tenth of a second.

        Raises ContextTooLong before anything is generated, ModelUnavailable when the engine dies meanwhile (the
        next call starts it again), UsageError for a grammar it cannot read, OutputMalformed when a finished
        answer breaks the JSON schema.
        """
        begin = time.monotonic()
        with self._desk.scheduler.coming(request.place.run if request.place else ""):
            prompt = await self._prompt(request.messages, request.place.prefix if request.place else None)
        if prompt.count + request.max_tokens > self._info.context:
            long = request.long or self._long
            if long and long != "no":
                from .long.read import read_long

                return await read_long(self, request.model_copy(update={"long": long}), on_text=on_text)
            raise ContextTooLong(
                f"the prompt of {prompt.count} tokens and max_tokens={request.max_tokens} do not fit the context of "
                f"{self._info.name!r} ({self._info.context}); shorten the prompt or choose a model with more context.",
                ids={"model": self._info.name},
            )
        if request.temperature > 0 or not self._reuse:
            return await self._computed(request, prompt, Answer(begin, on_text))
        key, once = key_of(request, prompt), self._desk.once
        answer, late = once.kept(key), True
        if answer is None:
            answer, late = await once.share(
                key, lambda hear: self._computed(request, prompt, Answer(begin, hear)), on_text
            )
        elif on_text is not None and answer.text:
            on_text(answer.text)
        if not late:
            return answer
        seconds = time.monotonic() - begin
        usage = answer.usage.model_copy(update={"cached": answer.usage.prompt})
        took = {"ttft": min(answer.ttft, seconds), "seconds": seconds}
        return answer.model_copy(update={"cached": True, "usage": usage, **took})

    async def count(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt as the engine will read it: exact."""
        return (await self._prompt(messages)).count

    async def pieces(self, text: str) -> list[str]:
        """Return ``text`` as the texts of its tokens; tokens that are parts of one character come together."""
        from .long.cut import joined

        engine = await self._connect(False)
        async with client_of(engine) as client:
            asked = {"content": text, "with_pieces": True}
            found = read(await client.post("/tokenize", json=asked), self._info.name)["tokens"]
        return joined(item["piece"] for item in found)

    async def properties(self) -> dict[str, Any]:
        """What the engine says of itself and its model."""
        async with client_of(await self._connect(False)) as client:
            return read(await client.get("/props"), self._info.name)

    async def _computed(self, request: ModelRequest, prompt: Prompt, answer: Answer) -> Completion:
        """Wait for a slot and generate on it."""
        failure: Exception | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._show, answer, prompt.count)
            try:
                await self._queued(request, prompt, answer)
            except Exception as error:
                # Kept out of the task group, which would wrap it.
                failure = error
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure
        completion = answer.completion(self._info.name, prompt.count)
        if self._heard is not None and answer.last is not None:
            self._heard(request, answer.last.get("timings", {}))
        if request.json_schema is not None and request.grammar is None:
            if completion.finish == "stop":
                conforms(completion.text, request.json_schema, self._info.name)
            else:
                begins(completion.text, self._info.name)
        return completion

    async def _queued(self, request: ModelRequest, prompt: Prompt, answer: Answer) -> None:
        """Wait for a slot and generate on it; a call that gives its slot up waits again."""
        call = call_of(request.place, prompt)
        for put_off in range(PUT_OFF + 1):
            work = partial(self._on, call, request, prompt, answer, stays=put_off == PUT_OFF)
            if await self._desk.scheduler.run(call, work):
                return
            answer.waiting = True
            call = replace(call)

    async def _on(
        self, call: Call, request: ModelRequest, prompt: Prompt, answer: Answer, slot: int, *, stays: bool
    ) -> bool:
        """Generate on ``slot``; False when its prompt was read in part only, because another call goes before it."""
        answer.waiting = False
        # A wait can be long, and the engine may be another one since.
        engine = await self._connect(False)

        def told(computed: int, upto: int) -> None:
            answer.ahead += computed
            answer.read = upto

        async with client_of(engine) as client:
            reader = Reader(self._desk, call, prompt, self._info.name, told)
            if not await reader.onto(client, engine, slot, stays=stays):
                return False
            body = _body(request, prompt.tokens) | {"id_slot": slot}
            with self._desk.entering() as answer.begins:
                await self._generate(client, body, answer)
            await self._desk.finished(client, slot, prompt.tokens)
        engine.touch()
        return True

    async def _generate(self, client: httpx.AsyncClient, body: dict[str, Any], answer: Answer) -> None:
        await generate(client, body, answer, model=self._info.name, watch=self._desk.watch)

    async def _prompt(self, messages: Sequence[Message], leading: int | None = None) -> Prompt:
        """Apply the chat template and tokenise; an engine that has gone is started again first."""
        said = [message.model_dump() for message in messages]
        for known in (True, False):
            engine = await self._connect(not known)
            try:
                async with client_of(engine) as client:
                    tokens = await self._tokens(client, said)
                    tokenize = partial(self._tokens, client)
                    return Prompt(tokens, await prefix_of(said, tokens, leading, self._desk, tokenize))
            except (httpx.TransportError, ModelUnavailable) as error:
                if not known:
                    raise gone(self._info.name, error) from None
        raise AssertionError

    async def _tokens(self, client: httpx.AsyncClient, said: Sequence[dict[str, Any]]) -> bytes:
        applied = await client.post("/apply-template", json={"messages": list(said)})
        asked = {
            "content": read(applied, self._info.name)["prompt"],
            "add_special": True,
            "parse_special": True,
        }
        return packed(read(await client.post("/tokenize", json=asked), self._info.name)["tokens"])

    async def _show(self, answer: Answer, total: int) -> None:
        if self._emit is None:
            return
        while not answer.ttft:
            await anyio.sleep(SILENCE)
            if not answer.ttft:
                doing = "waits its turn" if answer.waiting else "reads the prompt"
                what = f"{self._info.name} {doing}"
                self._emit(Progress(run="", at=time.time(), what=what, done=answer.read, total=total))


def _body(request: ModelRequest, tokens: bytes) -> dict[str, Any]:
    body: dict[str, Any] = {
        "prompt": unpacked(tokens),
        "n_predict": request.max_tokens,
        "temperature": request.temperature,
        "seed": request.seed,
        "stop": list(request.stop),
        "n_probs": request.logprobs,
        "cache_prompt": True,
    }
    if request.grammar is not None:
        body["grammar"] = request.grammar
    elif request.json_schema is not None:
        body["grammar"] = compact(request.json_schema)
    return body
