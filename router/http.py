"""Models behind an OpenAI-compatible URL, over plain HTTP with streaming.

httpx is imported by this module, so the module itself is imported only when such a model is opened.
"""

from __future__ import annotations

import json
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from urllib.parse import quote

import httpx

from ..errors import ContextTooLong, ModelError, ModelUnavailable
from ..messages import Completion, Message, ModelInfo, ModelRequest, Place, Usage

_PER_MESSAGE = 16
_PER_CALL = 64
_TOO_LONG = ("length", "window", "exceed", "size")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class HttpModel:
    """A model that speaks ``POST {url}/chat/completions``; every call has a connection of its own.

    A stream that ends early, an answer that cannot be read and a server that is silent for ``patience``
    seconds count as ModelUnavailable, so that the next model is tried. Leaving or cancelling ``complete``
    closes the connection, which stops the generation on servers that notice.
    """

    def __init__(
        self,
        info: ModelInfo,
        *,
        url: str,
        model: str = "",
        key_env: str = "",
        patience: float = 300.0,
        placed: bool = False,
    ) -> None:
        """``model`` is its name there (default: ours); ``key_env`` names the variable that holds the key.

        ``placed`` says that it is a shuntyard server, which is told where calls stand and how long prompts may be read;
        any other is told nothing.
        """
        self._info = info
        self._url = url.rstrip("/") + "/chat/completions"
        self._model = model or info.name
        self._key_env = key_env
        self._patience = patience
        self._placed = placed
        self._tls: ssl.SSLContext | None = None

    @property
    def info(self) -> ModelInfo:
        """What it is and costs."""
        return self._info

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> Completion:
        """Answer, streaming; where the server does not say what it billed, the bound of ``count`` is taken.

        Raises ModelUnavailable (also for a missing key, naming the variable), ContextTooLong, ModelError.
        """
        answer = _Answer(self._info.name, on_text)
        try:
            async with (
                self._client() as client,
                client.stream("POST", self._url, json=self._body(request), headers=self._headers(request)) as response,
            ):
                self._placed = self._placed or "x-shuntyard" in response.headers
                if response.status_code != 200:
                    detail = detail_of((await response.aread())[:4000])
                    raise refusal(self._info.name, response.status_code, detail, key_env=self._key_env)
                if "json" in response.headers.get("content-type", ""):
                    answer.take(await response.aread())
                else:
                    async for line in _lines(response):
                        answer.line(line)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from error
        return answer.completion(await self.count(request.messages), request.max_tokens)

    async def count(self, messages: Sequence[Message]) -> int:
        """Return a bound that no byte-level tokenizer exceeds: one token a byte, and the chat template's own."""
        return bound(messages)

    def _client(self) -> httpx.AsyncClient:
        address = httpx.URL(self._url)
        verify: ssl.SSLContext | bool = False
        if address.scheme == "https":
            self._tls = self._tls or httpx.create_ssl_context()
            verify = self._tls
        timeout = httpx.Timeout(30.0, connect=10.0, read=self._patience)
        # A proxy from the environment never leads back to this machine.
        return httpx.AsyncClient(verify=verify, timeout=timeout, trust_env=address.host not in _LOOPBACK)

    def _headers(self, request: ModelRequest) -> dict[str, str]:
        key = key_from(self._key_env, self._info.name)
        told = {}
        if self._placed:
            told = placed(request.place) if request.place is not None else {}
            told |= {"X-Shuntyard-Long": request.long} if request.long else {}
        return {"Authorization": f"Bearer {key}", **told} if key else told

    def _body(self, request: ModelRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [message.model_dump() for message in request.messages],
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if request.temperature:
            body["seed"] = request.seed
        if request.stop:
            body["stop"] = list(request.stop)
        if request.json_schema is not None and self._info.json_schema:
            schema = {"name": "answer", "schema": request.json_schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body

    def _unreachable(self, error: Exception) -> ModelUnavailable:
        name = self._info.name
        if isinstance(error, httpx.ReadTimeout):
            what = f"was silent for {self._patience:g} s"
        elif isinstance(error, httpx.RemoteProtocolError | httpx.ReadError):
            what = "broke off its answer"
        else:
            what = f"cannot be reached ({error or type(error).__name__})"
        return ModelUnavailable(
            f"{name!r} at {self._url!r} {what}; check that the server runs, or url under [models.{name}].",
            ids={"model": name},
        )


def placed(place: Place) -> dict[str, str]:
    """The headers that tell a shuntyard server where a call stands."""
    told = place.model_dump(exclude_defaults=True)
    return {f"X-Shuntyard-{name.title()}": quote(str(value), safe=" :/[].") for name, value in told.items()}


class _Answer:
    """What has come of an answer so far."""

    def __init__(self, name: str, on_text: Callable[[str], None] | None) -> None:
        self._name = name
        self._on_text = on_text
        self._parts: list[str] = []
        self._finish = ""
        self._usage: Usage | None = None
        self._done = False
        self._started = time.perf_counter()
        self._first = 0.0

    def line(self, line: bytes) -> None:
        """Take one line of an event stream; everything but ``data:`` is a comment or a keep-alive."""
        if not line.startswith(b"data:"):
            return
        data = line[5:].strip()
        if data == b"[DONE]":
            self._done = True
        elif data:
            self.take(data)

    def take(self, data: bytes) -> None:
        """Take one JSON object: a piece of a stream, or a whole answer of a server that does not stream."""
        try:
            body = json.loads(data)
            if body.get("error"):
                raise self._bad(f"reported {detail_of(data)}")
            for choice in body.get("choices") or ():
                said = choice.get("delta") or choice.get("message") or {}
                self._text(said.get("content") or "")
                self._finish = choice.get("finish_reason") or self._finish
            if body.get("usage"):
                self._usage = usage_of(body["usage"])
        except (ValueError, TypeError, AttributeError) as error:
            raise self._bad(f"sent what is no answer ({data[:80].decode(errors='replace')!r})") from error

    def completion(self, prompt: int, most: int) -> Completion:
        """The whole answer. Raises ModelUnavailable when its end never came."""
        if not self._finish and not self._done:
            raise self._bad("broke off its answer")
        text = "".join(self._parts)
        usage = self._usage or Usage(prompt=prompt, completion=min(len(text.encode()) + 1, most))
        return Completion(
            text=text,
            model=self._name,
            usage=usage,
            finish="length" if self._finish == "length" else "stop",
            ttft=self._first,
            seconds=time.perf_counter() - self._started,
        )

    def _text(self, text: str) -> None:
        if not text:
            return
        self._first = self._first or time.perf_counter() - self._started
        self._parts.append(text)
        if self._on_text is not None:
            self._on_text(text)

    def _bad(self, what: str) -> ModelUnavailable:
        mend = f"try again, or correct url under [models.{self._name}]."
        return ModelUnavailable(f"{self._name!r} {what}; {mend}", ids={"model": self._name})


async def _lines(response: httpx.Response) -> AsyncIterator[bytes]:
    # Not aiter_lines: it also splits at U+2028 and the like, which may stand inside a JSON string.
    rest = b""
    async for piece in response.aiter_bytes():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line.rstrip(b"\r")
    if rest:
        yield rest


def bound(messages: Sequence[Message]) -> int:
    """Return a number of tokens that no byte-level tokenizer and no usual chat template exceeds."""
    return _PER_CALL + sum(_PER_MESSAGE + len(message.content.encode()) for message in messages)


def usage_of(data: Any) -> Usage:
    """Read OpenAI's usage object; raises TypeError, ValueError or AttributeError when it is none."""
    details = data.get("prompt_tokens_details") or {}
    return Usage(
        prompt=int(data.get("prompt_tokens") or 0),
        cached=int(details.get("cached_tokens") or 0),
        completion=int(data.get("completion_tokens") or 0),
    )


def key_from(variable: str, name: str) -> str:
    """Return the key in ``variable``, empty when no variable is named.

    Raises ModelUnavailable, naming the variable, when it is not set or cannot be a key.
    """
    key = os.environ.get(variable, "").strip() if variable else ""
    if variable and not (key and key.isascii() and key.isprintable()):
        raise ModelUnavailable(
            f"{name!r} needs its key in the environment variable {variable!r}, which is not set to one; "
            f"export {variable}, or change key_env under [models.{name}].",
            ids={"model": name},
        )
    return key


def detail_of(data: bytes) -> str:
    """The server's own words for a failure, in one short line."""
    text = data.decode(errors="replace")
    try:
        error = json.loads(text).get("error", text)
        text = str(error.get("message", error)) if isinstance(error, dict) else str(error)
    except (ValueError, AttributeError):
        pass
    return " ".join(text.split())[:200] or "no details"


def refusal(name: str, status: int, detail: str, *, key_env: str = "") -> ModelError:
    """The error for an HTTP status: what it means, the server's words, the mend."""
    where = f"[models.{name}]"
    lower = detail.lower()
    kind: type[ModelError] = ModelUnavailable
    if status in (401, 403):
        mend = f"check the key in {key_env}" if key_env else f"name the variable of its key as key_env under {where}"
        what = "refuses the key"
    elif status == 404:
        what, mend = "is not known there", f"check model and url under {where}"
    elif status in (402, 429):
        what, mend = "is over its rate limit or quota", "wait, or name another with --fallback"
    elif (
        status in (400, 413, 422)
        and "context" in lower
        and ("length" in lower or "window" in lower or "exceed" in lower)
    ):
        kind, what, mend = ContextTooLong, "cannot take a prompt this long", "shorten it or choose a larger context"
    elif 400 <= status < 500 and status != 408:
        kind, what, mend = ModelError, f"refuses the request ({status})", f"check model and url under {where}"
    else:
        what, mend = f"failed ({status})", "try again, or name another with --fallback"
    return kind(f"{name!r} {what}: {detail}; {mend}.", ids={"model": name})
