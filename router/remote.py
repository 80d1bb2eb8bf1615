"""Models of providers, through litellm: the only place that imports it, and only when one is opened.

litellm takes seconds and some 170 MB to import, so that happens in a thread; its price list is the one
that it ships, because it would otherwise be fetched over the network during the import.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import anyio.to_thread

from ..errors import ModelError, ModelUnavailable
from ..messages import Completion, Message, ModelInfo, ModelRequest, Usage
from .http import bound, key_from, refusal, usage_of

_CLASS_NAMES = re.compile(r"^(?:(?:litellm\.)?[A-Za-z]+(?:Error|Exception)(?:: | - ))+")


class LitellmModel:
    """A model that litellm reaches. Made by ``open``, which knows the provider's prices when nobody gave any."""

    def __init__(self, info: ModelInfo, litellm: Any, *, model: str, url: str, key_env: str) -> None:
        """Keep the imported ``litellm``; ``model`` is the name it knows."""
        self._info = info
        self._litellm = litellm
        self._model = model
        self._url = url
        self._key_env = key_env

    @classmethod
    async def open(cls, info: ModelInfo, *, model: str = "", url: str = "", key_env: str = "") -> LitellmModel:
        """Import litellm and look up the price; reaches nobody. With a ``url`` the wire format is OpenAI's.

        Raises ModelUnavailable when litellm cannot be imported.
        """
        name = model or info.name
        if url and "/" not in name:
            name = f"openai/{name}"
        litellm = await anyio.to_thread.run_sync(_import)
        return cls(_priced(info, litellm, name), litellm, model=name, url=url, key_env=key_env)

    @property
    def info(self) -> ModelInfo:
        """What it is and costs; a price that litellm does not list stays unknown (None)."""
        return self._info

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> Completion:
        """Answer, streaming. Cancelling it closes the connection.

        Raises ModelUnavailable (also for a missing key or a stream that ends early), ContextTooLong, ModelError.
        """
        arguments = self._arguments(request)
        try:
            stream = await self._litellm.acompletion(**arguments)
        except Exception as error:
            raise self._mended(error) from error
        return await self._read(stream, request, on_text)

    async def count(self, messages: Sequence[Message]) -> int:
        """Return a bound that no byte-level tokenizer exceeds: one token a byte, and the chat template's own."""
        return bound(messages)

    async def _read(self, stream: Any, request: ModelRequest, on_text: Callable[[str], None] | None) -> Completion:
        started = time.perf_counter()
        first = 0.0
        parts: list[str] = []
        finish = ""
        usage: Usage | None = None
        try:
            async for chunk in stream:
                for choice in chunk.choices:
                    text = choice.delta.content or ""
                    finish = choice.finish_reason or finish
                    if text:
                        first = first or time.perf_counter() - started
                        parts.append(text)
                        if on_text is not None:
                            on_text(text)
                if getattr(chunk, "usage", None) is not None:
                    usage = usage_of(chunk.usage.model_dump())
        except Exception as error:
            raise self._mended(error) from error
        finally:
            with anyio.CancelScope(shield=True):
                await stream.aclose()
        # litellm invents a "stop" for a stream that was broken off; only this tells the two apart.
        if not finish or getattr(stream, "received_finish_reason", finish) is None:
            name = self._info.name
            raise ModelUnavailable(f"{name!r} broke off its answer; try again, or name another with --fallback.")
        text = "".join(parts)
        return Completion(
            text=text,
            model=self._info.name,
            usage=usage or Usage(prompt=bound(request.messages), completion=len(text.encode()) + 1),
            finish="length" if finish == "length" else "stop",
            ttft=first,
            seconds=time.perf_counter() - started,
        )

    def _arguments(self, request: ModelRequest) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "model": self._model,
            "messages": [message.model_dump() for message in request.messages],
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
            "num_retries": 0,
            "max_retries": 0,
            "timeout": 300,
            # Providers differ in what they take; what one does not know is left out, not refused.
            "drop_params": True,
        }
        if request.stop:
            arguments["stop"] = list(request.stop)
        if request.json_schema is not None and self._info.json_schema:
            schema = {"name": "answer", "schema": request.json_schema, "strict": True}
            arguments["response_format"] = {"type": "json_schema", "json_schema": schema}
        key = key_from(self._key_env, self._info.name)
        if self._url:
            arguments["api_base"] = self._url
            arguments["api_key"] = key or "none"
        elif key:
            arguments["api_key"] = key
        return arguments

    def _mended(self, error: Exception) -> ModelError:
        if isinstance(error, ModelError):
            return error
        kinds = self._litellm.exceptions
        name, detail = self._info.name, _CLASS_NAMES.sub("", " ".join(str(error).split()))[:200]
        if isinstance(error, kinds.ContextWindowExceededError):
            detail = f"context length exceeded: {detail}"
        if isinstance(error, kinds.APIConnectionError | kinds.Timeout):
            mend = f"check the network, the provider and url under [models.{name}]."
            return ModelUnavailable(f"{name!r} cannot be reached: {detail}; {mend}", ids={"model": name})
        status = getattr(error, "status_code", None)
        if "credentials" in detail.lower():
            # litellm reports a key that it could not find as a failure of the server.
            status = 401
        return refusal(name, status if isinstance(status, int) else 500, detail, key_env=self._key_env)


def _import() -> Any:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    try:
        import litellm
    except Exception as error:
        raise ModelUnavailable(f"litellm cannot be imported ({error}); reinstall shuntyard.") from error
    # Otherwise it prints advice to stdout, which belongs to the result.
    litellm.suppress_debug_info = True
    # Its aiohttp sessions outlive the event loop that made them.
    litellm.disable_aiohttp_transport = True
    return litellm


def _priced(info: ModelInfo, litellm: Any, model: str) -> ModelInfo:
    if info.input_price is not None and info.output_price is not None:
        return info
    try:
        listed = litellm.get_model_info(model)
    except Exception:
        # litellm raises several kinds for a model that it does not list; the price then stays unknown.
        return info
    update = {
        field: Decimal(str(listed[key]))
        for field, key in (("input_price", "input_cost_per_token"), ("output_price", "output_cost_per_token"))
        if getattr(info, field) is None and listed.get(key) is not None
    }
    return info.model_copy(update=update)
