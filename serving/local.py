"""A local model: prompts, answers, token counts and log-probabilities over the engine's own HTTP.

Answers always come as a stream, because closing the socket of a stream is the only thing that stops a
generation at once.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import anyio
import httpx

from ..errors import ContextTooLong, ModelUnavailable, UsageError
from ..events import Progress
from ..messages import Completion, Message, ModelInfo, ModelRequest, TokenLogprob, Usage
from ..protocols import Emit
from .schema import compact, conforms
from .supervise import Running

SILENCE = 1.0
"""Seconds between signs of life while a prompt is being read."""


class LocalModel:
    """One open model. ``connect`` returns the engine, warm or started anew; it is called for every request.

    At temperature 0 equal requests give equal tokens on one machine and configuration. A warm prompt prefix
    is reused: ``usage.cached`` says how much of it.
    """

    def __init__(
        self, info: ModelInfo, connect: Callable[[bool], Awaitable[Running]], *, emit: Emit | None = None
    ) -> None:
        """Keep how to reach the engine; ``connect(True)`` distrusts what was known of it."""
        self._info = info
        self._connect = connect
        self._emit = emit

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
        engine, tokens = await self._prompt(request.messages)
        if len(tokens) + request.max_tokens > self._info.context:
            raise ContextTooLong(
                f"the prompt of {len(tokens)} tokens and max_tokens={request.max_tokens} do not fit the context of "
                f"{self._info.name!r} ({self._info.context}); shorten the prompt or choose a model with more context.",
                ids={"model": self._info.name},
            )
        answer = _Answer(begin, on_text)
        failure: Exception | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._show, answer, len(tokens))
            try:
                await self._generate(engine, _body(request, tokens), answer)
            except Exception as error:
                # Kept out of the task group, which would wrap it.
                failure = error
            group.cancel_scope.cancel()
        engine.touch()
        if failure is not None:
            raise failure
        completion = answer.completion(self._info.name, len(tokens))
        if request.json_schema is not None and request.grammar is None and completion.finish == "stop":
            conforms(completion.text, request.json_schema, self._info.name)
        return completion

    async def count(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt as the engine will read it: exact."""
        _, tokens = await self._prompt(messages)
        return len(tokens)

    async def _prompt(self, messages: Sequence[Message]) -> tuple[Running, list[int]]:
        """Apply the chat template and tokenise; an engine that has gone is started again first."""
        said = [message.model_dump() for message in messages]
        for known in (True, False):
            engine = await self._connect(not known)
            try:
                async with self._client(engine) as client:
                    applied = await client.post("/apply-template", json={"messages": said})
                    prompt = _read(applied, self._info.name)["prompt"]
                    asked = {"content": prompt, "add_special": True, "parse_special": True}
                    tokens = _read(await client.post("/tokenize", json=asked), self._info.name)["tokens"]
                    return engine, list(tokens)
            except (httpx.TransportError, ModelUnavailable) as error:
                if not known:
                    raise self._gone(error) from None
        raise AssertionError

    async def _generate(self, engine: Running, body: dict[str, Any], answer: _Answer) -> None:
        try:
            async with self._client(engine) as client, client.stream("POST", "/completion", json=body) as response:
                if response.status_code != 200:
                    await response.aread()
                    _read(response, self._info.name)
                async for event in _events(response):
                    answer.take(event)
                    if answer.last is not None:
                        return
        except httpx.TransportError as error:
            raise self._gone(error) from None
        raise self._gone("its answer broke off")

    async def _show(self, answer: _Answer, total: int) -> None:
        if self._emit is None:
            return
        while not answer.ttft:
            await anyio.sleep(SILENCE)
            if not answer.ttft:
                what = f"{self._info.name} reads the prompt"
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


class _Answer:
    """An answer while it comes."""

    def __init__(self, begin: float, on_text: Callable[[str], None] | None) -> None:
        self._begin = begin
        self._on_text = on_text
        self._texts: list[str] = []
        self._logprobs: list[TokenLogprob] = []
        self.read = 0
        self.ttft = 0.0
        self.last: dict[str, Any] | None = None

    def take(self, event: dict[str, Any]) -> None:
        progress = event.get("prompt_progress")
        if progress is not None:
            self.read = int(progress["processed"])
            return
        if not self.ttft:
            self.ttft = time.monotonic() - self._begin
        text = event.get("content", "")
        if text:
            self._texts.append(text)
            if self._on_text is not None:
                self._on_text(text)
        if event.get("stop"):
            self.last = event
        else:
            self._logprobs.extend(_logprob(item) for item in event.get("completion_probabilities", ()))

    def completion(self, model: str, prompt: int) -> Completion:
        last = self.last or {}
        timings = last.get("timings", {})
        usage = Usage(
            prompt=prompt,
            cached=min(prompt, int(timings.get("cache_n", 0))),
            completion=int(last.get("tokens_predicted", 0)),
        )
        return Completion(
            text="".join(self._texts),
            model=model,
            usage=usage,
            finish="length" if last.get("stop_type") == "limit" else "stop",
            logprobs=tuple(self._logprobs),
            ttft=self.ttft,
            seconds=time.monotonic() - self._begin,
        )


def _body(request: ModelRequest, tokens: list[int]) -> dict[str, Any]:
    body: dict[str, Any] = {
        "prompt": tokens,
        "n_predict": request.max_tokens,
        "temperature": request.temperature,
        "seed": request.seed,
        "stop": list(request.stop),
        "n_probs": request.logprobs,
        "cache_prompt": True,
        "stream": True,
        "return_progress": True,
    }
    if request.grammar is not None:
        body["grammar"] = request.grammar
    elif request.json_schema is not None:
        body["grammar"] = compact(request.json_schema)
    return body


def _logprob(item: dict[str, Any]) -> TokenLogprob:
    top = tuple((other["token"], float(other["logprob"])) for other in item.get("top_logprobs", ()))
    return TokenLogprob(token=item["token"], logprob=float(item["logprob"]), top=top)


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
