"""Engines behind OpenAI's wire format: the supervised child, or any server by its URL.

Generations come over ``wire``, because a streamed token must cost microseconds here; everything else over aiohttp.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp

from ..errors import ModelError, ModelUnavailable, UsageError
from ..settings import RemoteModel
from .answer import too_long
from .engines import KINDS, Call, Capabilities, Chunk, Straight, plain_texts
from .wire import Wire, Wires

BROKEN = (aiohttp.ClientError, ConnectionError, TimeoutError)
"""What a connection that broke raises."""
PATIENCE = 300.0
"""Seconds of silence after which a server by URL is given up; our own child is watched instead."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where an engine answers."""

    url: str
    """Without ``/v1``."""
    key: str


Where = Callable[[bool], Awaitable[Address]]
"""Finds the engine for a request; True distrusts what was known of it."""


class HttpEngine:
    """An engine over HTTP; calls share connections, and each call that is given up loses its own."""

    def __init__(
        self,
        name: str,
        where: Where,
        capabilities: Capabilities,
        *,
        model: str = "",
        patience: float | None = None,
        interval: float = 0.0,
    ) -> None:
        """``model`` is its name there (default: ours); ``patience`` bounds the silence between two pieces.

        Pieces that come faster than one in ``interval`` seconds are taken together, where the engine's connections end
        with their answers.
        """
        self._name = name
        self._where = where
        self._capabilities = capabilities
        self._model = model or name
        self._patience = patience
        # A llama-server ends the connection after a stream, with or without a word; what is sent on it meanwhile gets
        # no answer.
        self._lasting = not capabilities.render
        self._interval = 0.0 if self._lasting else interval
        self._session: aiohttp.ClientSession | None = None
        self._wires = Wires()

    @property
    def name(self) -> str:
        """What clients call its model."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return self._capabilities

    async def stream(self, call: Call) -> AsyncGenerator[Sequence[Chunk], None]:
        """Yield the chunks of ``call``; closing the generator closes the socket, which stops the generation."""
        reply = await self.open(call)
        try:
            while chunks := await reply.more(call.straight):
                yield chunks
        finally:
            reply.close()

    async def open(self, call: Call) -> Reply:
        """Return the answer to ``call`` once its first chunks are there; the caller closes it."""
        for known in (True, False):
            try:
                return await self.begin(await self._where(not known), call, {})
            except BROKEN as error:
                if not known:
                    raise self.gone(error) from None
        raise AssertionError

    async def begin(self, address: Address, call: Call, extra: dict[str, Any]) -> Reply:
        """As ``open``, at ``address`` and once; ``extra`` goes with the request. Raises one of ``BROKEN``.

        Always a stream: a llama-server goes on with a request for a whole answer when its client has left.
        """
        always = {"model": self._model, "stream": True, "stream_options": {"include_usage": True}}
        data = json.dumps({**call.body, **always, **extra}).encode()
        async with asyncio.timeout(self._patience):
            path = f"/v1{call.path}"
            wire = await self._wires.post(address.url, path, data, key=address.key, interval=self._interval)
            reply = Reply(wire, self, self._patience, partial(self._given, address.url, wire))
            try:
                if wire.status != 200:
                    raise refusal(self._name, wire.status, await _told(wire))
                await reply.first()
            except BaseException:
                reply.close()
                raise
        return reply

    def _given(self, url: str, wire: Wire, *, ended: bool) -> None:
        self._wires.give(url, wire, ended=ended and self._lasting)

    async def render(self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]]) -> str:
        """Return the prompt that the model's template makes."""
        found = await self._ask("/apply-template", {"messages": messages, **({"tools": tools} if tools else {})})
        return str(found["prompt"])

    async def tokens(self, prompt: str) -> int:
        """Return how many tokens ``prompt`` has."""
        return len(await self.tokenize(prompt))

    async def tokenize(self, prompt: str) -> list[int]:
        """Return the tokens of ``prompt``. Raises as ``stream``."""
        found = await self._ask("/tokenize", {"content": prompt, "add_special": True, "parse_special": True})
        return list(found["tokens"])

    async def pieces(self, text: str) -> list[str]:
        """Return ``text`` as the texts of its tokens; joined they are ``text``. Raises as ``stream``."""
        from .long.cut import joined

        found = await self._ask("/tokenize", {"content": text, "with_pieces": True})
        return joined(item["piece"] for item in found["tokens"])

    async def _ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        data = json.dumps(body).encode()
        for known in (True, False):
            try:
                async with (
                    asyncio.timeout(self._patience),
                    self._post(await self._where(not known), path, data) as response,
                ):
                    answer = await response.read()
                    if response.status != 200:
                        raise refusal(self._name, response.status, answer[:4000])
                    return dict(json.loads(answer))
            except BROKEN as error:
                if not known:
                    raise self.gone(error) from None
        raise AssertionError

    async def close(self) -> None:
        """Let go of connections."""
        self._wires.close()
        if self._session is not None:
            await self._session.close()

    def _post(self, address: Address, path: str, data: bytes) -> aiohttp.client._RequestContextManager:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=10.0)
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout)
        headers = {"Content-Type": "application/json"}
        if address.key:
            headers["Authorization"] = f"Bearer {address.key}"
        return self._session.post(address.url + path, data=data, headers=headers)

    def gone(self, error: BaseException) -> ModelUnavailable:
        """The error for an engine that stopped answering."""
        what = str(error) or type(error).__name__
        return ModelUnavailable(
            f"the engine of {self._name!r} stopped answering ({what}); send the request again.",
            ids={"model": self._name},
        )


async def url_engine(name: str, remote: RemoteModel, *, interval: float = 0.0) -> HttpEngine:
    """Return the engine at ``remote.url``, with what its kind of server can do (``interval`` as for ``HttpEngine``).

    Raises ModelUnavailable.
    """
    key = os.environ.get(remote.key_env, "").strip() if remote.key_env else ""
    if remote.key_env and not key:
        raise ModelUnavailable(
            f"{name!r} needs its key in the environment variable {remote.key_env!r}; export it, or change key_env "
            f"under [models.{name}].",
            ids={"model": name},
        )
    address = Address(remote.url.rstrip("/").removesuffix("/v1"), key)

    async def where(distrust: bool) -> Address:
        return address

    kind = await _kind(name, address)
    can = KINDS.get(kind, Capabilities()).model_copy(update={"context": remote.context})
    return HttpEngine(name, where, can, model=remote.model, patience=PATIENCE, interval=interval)


async def _kind(name: str, address: Address) -> str:
    headers = {"Authorization": f"Bearer {address.key}"} if address.key else {}
    timeout = aiohttp.ClientTimeout(total=10.0)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
            session.get(f"{address.url}/v1/models") as response,
        ):
            listed = json.loads(await response.read())
    except (*BROKEN, ValueError) as error:
        raise ModelUnavailable(
            f"{name!r} at {address.url!r} cannot be reached ({str(error) or type(error).__name__}); start that server, "
            f"or correct url under [models.{name}].",
            ids={"model": name},
        ) from None
    with suppress(TypeError, KeyError, IndexError):
        return str(listed["data"][0]["owned_by"])
    return ""


class Reply:
    """One answer while it comes. ``more`` may be cancelled and called again, also by somebody else."""

    def __init__(self, wire: Wire, engine: HttpEngine, patience: float | None, give: Callable[..., None]) -> None:
        """Nothing of the body is read yet; ``patience`` bounds the silence between two pieces, up to twice.

        ``give`` takes the connection back, told whether the answer has ``ended``.
        """
        self._wire = wire
        self._engine = engine
        self._give: Callable[..., None] | None = give
        self._rest = b""
        self._finished = False
        self._over = False
        self._first: list[Chunk] = []
        self._failure: ModelError | UsageError | None = None
        self._heard = True
        self._watch: asyncio.TimerHandle | None = None
        if patience is not None:
            self._watched(patience)

    async def first(self) -> None:
        """Wait for the first chunks, which ``more`` then returns. Raises one of ``BROKEN`` and what ``more`` raises."""
        self._first = await self._read(None)

    async def more(self, straight: Straight | None = None) -> list[Chunk]:
        """Return the next chunks but for what ``straight`` takes, none at the end.

        Raises ModelUnavailable and what an engine refuses.
        """
        if self._first:
            found, self._first = self._first, []
            return found
        try:
            return await self._read(straight)
        except BROKEN as error:
            raise self._engine.gone(error) from None

    def close(self) -> None:
        """Stop the generation, when it has not ended."""
        give, self._give = self._give, None
        if give is not None:
            give(ended=self._over and self._failure is None)
        if self._watch is not None:
            self._watch.cancel()

    def _watched(self, patience: float) -> None:
        if not self._heard:
            self._wire.fail(TimeoutError(f"it was silent for {patience:g} s"))
            return
        self._heard = False
        self._watch = asyncio.get_running_loop().call_later(patience, self._watched, patience)

    async def _read(self, straight: Straight | None) -> list[Chunk]:
        if self._failure is not None:
            raise self._failure

        def past(piece: bytes) -> bool:
            # The rest of a torn line belongs to what comes now.
            if self._rest or straight is None:
                return False
            texts = plain_texts(piece)
            if texts is None or not straight(texts):
                return False
            self._heard = True
            return True

        found: list[Chunk] = []
        while not found and not self._over and self._failure is None:
            piece = await self._wire.read(past if straight is not None else None)
            self._heard = True
            if not piece:
                self._over = True
                if not self._finished:
                    raise ConnectionError("its answer broke off")
            *lines, self._rest = (self._rest + piece).split(b"\n")
            try:
                for line in lines:
                    self._take(line, found)
            except (ModelError, UsageError) as error:
                # What came before it is an answer's beginning.
                self._failure = error
        if self._failure is not None and not found:
            raise self._failure
        return found

    def _take(self, line: bytes, found: list[Chunk]) -> None:
        if line.startswith(b"data: {"):
            chunk = Chunk(line[6:])
            if chunk.plain is None:
                value = chunk.value
                if "error" in value:
                    raise refusal(self._engine.name, 500, line[6:])
                self._finished |= any(choice.get("finish_reason") for choice in value.get("choices") or ())
            found.append(chunk)
        elif line.startswith(b"error: "):
            raise refusal(self._engine.name, 500, line[7:])
        elif line.startswith(b"data: [DONE]"):
            self._over = True


async def _told(wire: Wire) -> bytes:
    """The beginning of a refusal's body, and where it sends us."""
    if wire.location:
        return f"it has moved to {wire.location!r}".encode()
    found = b""
    while len(found) < 4000 and (piece := await wire.read()):
        found += piece
    return found[:4000]


def refusal(name: str, status: int, data: bytes) -> ModelError | UsageError:
    """The error for an engine's answer other than 200: its words, and what they mean here."""
    kind, message = "", data.decode(errors="replace")[:300]
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        error = json.loads(data)
        error = error.get("error", error)
        kind, message = str(error.get("type", "")), str(error.get("message", ""))[:300]
    lower = message.lower()
    ids = {"model": name}
    if kind == "exceed_context_size_error" or (status == 400 and "context" in lower and "length" in lower):
        return too_long(name, message)
    if status in (400, 413, 422):
        return UsageError(f"the engine of {name!r} refuses the request: {message}; correct the request.", ids=ids)
    mend = {401: "check its key", 403: "check its key", 404: "check its name and url", 429: "try again later"}
    return ModelUnavailable(
        f"the engine of {name!r} answers HTTP {status}: {message}; {mend.get(status, 'try again')}.", ids=ids
    )
