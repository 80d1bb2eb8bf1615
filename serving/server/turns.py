"""A chat with one choice as a row of pieces: what the other interfaces are made from."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from ...errors import RequestRefused
from ..engines import Engine
from .asked import ChatRequest
from .chat import chat_chunks
from .generate import Meter


@dataclass(frozen=True, slots=True)
class Piece:
    """A bit of an answer; ``call`` opens a tool call, ``arguments`` go on with it, ``end`` says why it ended."""

    kind: Literal["text", "call", "arguments", "end"]
    text: str = ""
    """The bit; the tool's name; or OpenAI's reason of the end."""
    id: str = ""
    """Of a call."""


async def pieces(engine: Engine, asked: ChatRequest, meter: Meter) -> AsyncGenerator[Piece, None]:
    """Yield the pieces of the answer, the end last."""
    finish = "stop"
    current = -1
    async with aclosing(chat_chunks(engine, asked, meter)) as chunks:
        async for choices in chunks:
            for choice in choices:
                delta = choice["delta"]
                if delta.get("content"):
                    yield Piece("text", delta["content"])
                for call in delta.get("tool_calls") or ():
                    function = call.get("function") or {}
                    if call["index"] != current:
                        current = call["index"]
                        id = call.get("id") or f"call_{secrets.token_hex(12)}"
                        yield Piece("call", function.get("name") or "", id)
                    if function.get("arguments"):
                        yield Piece("arguments", function["arguments"])
                finish = choice.get("finish_reason") or finish
    yield Piece("end", finish)


def chat_of(values: Mapping[str, Any]) -> ChatRequest:
    """Return the chat that another interface's request comes to; None stands for left out. Raises RequestRefused."""
    try:
        return ChatRequest.model_validate({name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        item = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in item["loc"])
        raise RequestRefused(
            f"the request cannot be put as a chat: {where!r}: {item['msg']}; correct it.", param=str(item["loc"][0])
        ) from None


def texts_of(content: Any) -> str:
    """Join the texts of contents in parts."""
    return content if isinstance(content, str) else "".join(part.text for part in content or ())
