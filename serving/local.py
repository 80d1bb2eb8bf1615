"""A local model: prompts, answers, token counts and log-probabilities over the engine's own HTTP.

Answers always come as a stream, because closing the socket of a stream is the only thing that stops a
generation at once.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
import httpx

from ..errors import ContextTooLong, ModelUnavailable, UsageError
from ..events import Progress
from ..messages import Completion, Message, ModelInfo, ModelRequest
from ..protocols import Emit
from .answer import Answer
from .desk import Desk
from .engine import BATCH
from .predict.watch import Watch
from .prompt import Prompt, call_of, key_of
from .schedule.dispatch import Call
from .schedule.warmth import WIDTH, WORTH, packed, shared, unpacked
from .schema import compact, conforms
from .supervise import Running

PIECE = BATCH
"""Prompt tokens that are read in one go. The engine finishes one prompt before it looks at the next, so a long one
is handed over in pieces, and a short call in between waits for one of them only."""
PUT_OFF = 8
"""How often a call gives its slot up, between two pieces, to one of an application that goes before its own."""
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
        watch: Watch | None = None,
    ) -> None:
        """Keep how to reach the engine; ``connect(True)`` distrusts what was known of it.

        Models of one engine share a ``desk``; ``reuse`` lets equal deterministic calls share an answer; ``watch``
        learns from what calls take.
        """
        self._info = info
        self._connect = connect
        self._emit = emit
        self._desk = desk or Desk()
        self._reuse = reuse
        self._watch = watch

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
            prompt = await self._prompt(request.messages)
        if prompt.count + request.max_tokens > self._info.context:
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
        if request.json_schema is not None and request.grammar is None and completion.finish == "stop":
            conforms(completion.text, request.json_schema, self._info.name)
        return completion

    async def _queued(self, request: ModelRequest, prompt: Prompt, answer: Answer) -> None:
        """Wait for a slot and generate on it; a call that gives its slot up waits again."""
        call = call_of(request, prompt)
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

        async with self._client(engine) as client:

            async def read(begin: int, end: int) -> None:
                """Read the prompt up to ``end``, of which ``begin`` tokens are known, piece by piece."""
                for upto in [*range(begin + PIECE, end, PIECE), end]:
                    body = {"prompt": unpacked(prompt.tokens[: upto * WIDTH]), "n_predict": 0, "temperature": 0}
                    part = Answer(0.0, None)
                    await self._generate(client, body | {"id_slot": slot, "cache_prompt": True}, part)
                    answer.ahead += part.computed
                    answer.read = upto
                    if not stays and self._desk.scheduler.outranked(call):
                        await self._desk.put_off(client, slot, prompt.tokens[: upto * WIDTH])
                        raise _PutOff

            # A piece cuts off what the slot knows beyond it.
            in_pieces = self._desk.knows(slot)
            try:
                known = await self._desk.prepare(client, engine, slot, prompt, read=read)
                if in_pieces and prompt.count - known > PIECE:
                    await read(known, prompt.count - (prompt.count - known - 1) % PIECE - 1)
            except _PutOff:
                return False
            await self._generate(client, _body(request, prompt.tokens) | {"id_slot": slot}, answer)
            await self._desk.finished(client, slot, prompt.tokens)
        engine.touch()
        return True

    async def _prompt(self, messages: Sequence[Message]) -> Prompt:
        """Apply the chat template and tokenise; an engine that has gone is started again first."""
        said = [message.model_dump() for message in messages]
        for known in (True, False):
            engine = await self._connect(not known)
            try:
                async with self._client(engine) as client:
                    tokens = await self._tokens(client, said)
                    return Prompt(tokens, await self._prefix(client, said, tokens))
            except (httpx.TransportError, ModelUnavailable) as error:
                if not known:
                    raise self._gone(error) from None
        raise AssertionError

    async def _tokens(self, client: httpx.AsyncClient, said: list[dict[str, Any]]) -> bytes:
        applied = await client.post("/apply-template", json={"messages": said})
        asked = {
            "content": _read(applied, self._info.name)["prompt"],
            "add_special": True,
            "parse_special": True,
        }
        return packed(_read(await client.post("/tokenize", json=asked), self._info.name)["tokens"])

    async def _prefix(self, client: httpx.AsyncClient, said: list[dict[str, Any]], tokens: bytes) -> int:
        """Return how many tokens all messages but the last are; 0 when they are too few to matter."""
        if len(said) < 2 or len(tokens) < WORTH * WIDTH:
            return 0
        *leading, last = said
        key = hashlib.sha256(json.dumps([leading, last["role"]]).encode()).hexdigest()
        known = self._desk.prefix(key)
        if known is None:
            other = "\N{MIDDLE DOT}" if not last["content"].startswith("\N{MIDDLE DOT}") else "?"
            known = shared(tokens, await self._tokens(client, [*leading, {**last, "content": other}]))
            self._desk.note_prefix(key, known)
        return known

    async def _generate(self, client: httpx.AsyncClient, body: dict[str, Any], answer: Answer) -> None:
        try:
            with self._watch.call() if self._watch is not None else nullcontext(_ignored) as took:
                async with client.stream("POST", "/completion", json=body | _STREAM) as response:
                    if response.status_code != 200:
                        await response.aread()
                        _read(response, self._info.name)
                    async for event in _events(response):
                        answer.take(event)
                        if answer.last is not None:
                            took(answer.last.get("timings", {}))
                            return
        except httpx.TransportError as error:
            raise self._gone(error) from None
        raise self._gone("its answer broke off")

    async def _show(self, answer: Answer, total: int) -> None:
        if self._emit is None:
            return
        while not answer.ttft:
            await anyio.sleep(SILENCE)
            if not answer.ttft:
                doing = "waits its turn" if answer.waiting else "reads the prompt"
                what = f"{self._info.name} {doing}"
                self._emit(Progress(run="", at=time.time(), what=what, done=answer.read, total=total))

    def _client(self, engine: Running) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=engine.url,
            headers={"Authorization": f"Bearer {engine.token}"},
            timeout=httpx.Timeout(None, connect=5.0),
            trust_env=False,
            verify=False,
        )

    def _gone(self, why: object) -> ModelUnavailable:
        return ModelUnavailable(
            f"the engine of {self._info.name!r} stopped answering ({str(why) or type(why).__name__}); "
            "it is started again at the next call.",
            ids={"model": self._info.name},
        )


_STREAM = {"stream": True, "return_progress": True}


class _PutOff(Exception):
    """The rest of the prompt is read later."""


def _ignored(timings: dict[str, Any]) -> None:
    pass


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


def _read(response: httpx.Response, model: str) -> dict[str, Any]:
    if response.status_code == 200:
        return dict(response.json())
    try:
        error = response.json()["error"]
        kind, message = str(error.get("type", "")), str(error.get("message", ""))
    except (ValueError, KeyError, TypeError):
        kind, message = "", response.text[:200]
    if kind == "exceed_context_size_error":
        raise ContextTooLong(f"the prompt does not fit {model!r}: {message}; shorten it.", ids={"model": model})
    if response.status_code == 400:
        raise UsageError(f"the engine of {model!r} refuses the request: {message}; correct the grammar or schema.")
    raise ModelUnavailable(
        f"the engine of {model!r} answers HTTP {response.status_code}: {message}; run `shuntyard models stop`.",
        ids={"model": model},
    )


async def _events(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in response.aiter_lines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line[6:])
        elif line.startswith("error: "):
            raise httpx.ReadError(line[7:300])
