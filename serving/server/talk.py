"""Anthropic's interface: ``POST /v1/messages``."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any, Literal

from ...errors import RequestRefused
from ..engines import Engine
from .chat import new_id
from .events import fault_of, named
from .generate import Meter
from .message_models import (
    Counted,
    CountRequest,
    MessageBody,
    MessageRequest,
    MessageUsage,
    TextBlock,
    ToolResult,
    ToolUse,
    Turn,
)
from .offers import said, tools
from .turns import Piece, chat_of, pieces, texts_of

_REASONS: dict[str, Literal["end_turn", "max_tokens", "tool_use"]] = {"length": "max_tokens", "tool_calls": "tool_use"}


class MessageJob:
    """Makes a message of a chat."""

    endpoint = "messages"

    def __init__(self, asked: MessageRequest) -> None:
        """Raises RequestRefused for what cannot be put as a chat."""
        self._chat = chat_of({**_conversation(asked), **_sampling(asked)})
        self.model = asked.model
        self.stream = asked.stream

    async def events(self, engine: Engine, meter: Meter) -> AsyncGenerator[bytes, None]:
        """Yield Anthropic's events; what the prompt cost is known at the end only."""
        start: dict[str, Any] = _body(engine.name, [], None, MessageUsage()).model_dump()
        index, kind = -1, ""
        async with aclosing(pieces(engine, self._chat, meter)) as found:
            async for piece in found:
                if start:
                    yield named("message_start", {"type": "message_start", "message": start})
                    start = {}
                if piece.kind == "end":
                    break
                if piece.kind == "call" or (piece.kind == "text" and kind != "text"):
                    if index >= 0:
                        yield _stop(index)
                    index, kind = index + 1, piece.kind
                    yield named("content_block_start", _start(index, piece))
                if piece.kind != "call":
                    yield named("content_block_delta", _delta(index, piece))
        if index >= 0:
            yield _stop(index)
        delta = {"stop_reason": _reason(piece, kind == "call"), "stop_sequence": None}
        usage = _usage(meter).model_dump()
        yield named("message_delta", {"type": "message_delta", "delta": delta, "usage": usage})
        yield named("message_stop", {"type": "message_stop"})

    async def whole(self, engine: Engine, meter: Meter) -> MessageBody:
        """Return the whole message."""
        found: list[Piece] = []
        async with aclosing(pieces(engine, self._chat, meter)) as coming:
            async for piece in coming:
                found.append(piece)
        blocks = list(_blocks(found[:-1]))
        calls = any(isinstance(block, ToolUse) for block in blocks)
        return _body(engine.name, blocks, _reason(found[-1], calls), _usage(meter))

    @staticmethod
    def fault(error: Exception) -> bytes:
        """The event that ends a stream which failed."""
        return named("error", fault_of(error).model_dump())


async def count(engine: Engine, asked: CountRequest) -> Counted:
    """Return the tokens of the prompt as the engine will read it. Raises RequestRefused where it cannot count."""
    if not engine.capabilities.render:
        raise RequestRefused(
            f"tokens cannot be counted by the engine of {engine.name!r}; send the message.", param="model"
        )
    chat = chat_of(_conversation(asked))
    return Counted(input_tokens=await engine.tokens(await engine.render(said(chat), tools(chat))))


def _body(
    model: str,
    blocks: list[TextBlock | ToolUse],
    reason: Literal["end_turn", "max_tokens", "tool_use"] | None,
    usage: MessageUsage,
) -> MessageBody:
    return MessageBody(id=new_id("msg"), model=model, content=tuple(blocks), stop_reason=reason, usage=usage)


def _blocks(found: list[Piece]) -> Iterator[TextBlock | ToolUse]:
    """Join pieces to blocks; arguments that were cut off are kept as text under ``cut``."""
    while found:
        head, *rest = found
        same = "text" if head.kind == "text" else "arguments"
        count = next((number for number, piece in enumerate(rest) if piece.kind != same), len(rest))
        bits, found = rest[:count], rest[count:]
        text = "".join(piece.text for piece in bits)
        if head.kind == "text":
            yield TextBlock(text=head.text + text)
        else:
            yield ToolUse(id=head.id, name=head.text, input=_object(text))


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {"cut": text}
    return value if isinstance(value, dict) else {"value": value}


def _reason(end: Piece, calls: bool) -> Literal["end_turn", "max_tokens", "tool_use"]:
    return _REASONS.get(end.text, "tool_use" if calls else "end_turn")


def _usage(meter: Meter) -> MessageUsage:
    prompt, completion, cached = meter.sums
    return MessageUsage(input_tokens=prompt - cached, cache_read_input_tokens=cached, output_tokens=completion)


def _start(index: int, piece: Piece) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "text", "text": ""}
    if piece.kind == "call":
        block = {"type": "tool_use", "id": piece.id, "name": piece.text, "input": {}}
    return {"type": "content_block_start", "index": index, "content_block": block}


def _delta(index: int, piece: Piece) -> dict[str, Any]:
    delta = {"type": "text_delta", "text": piece.text}
    if piece.kind == "arguments":
        delta = {"type": "input_json_delta", "partial_json": piece.text}
    return {"type": "content_block_delta", "index": index, "delta": delta}


def _stop(index: int) -> bytes:
    return named("content_block_stop", {"type": "content_block_stop", "index": index})


def _sampling(asked: MessageRequest) -> dict[str, Any]:
    return {
        "stream": asked.stream,
        "max_tokens": asked.max_tokens,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "top_k": asked.top_k,
        "stop": asked.stop_sequences or None,
    }


def _conversation(asked: CountRequest) -> dict[str, Any]:
    system = texts_of(asked.system)
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    for turn in asked.messages:
        messages += _said(turn)
    choice = asked.tool_choice
    chosen: Any = None
    if choice is not None:
        if choice.type == "tool" and choice.name is None:
            raise RequestRefused("tool_choice of type 'tool' has no 'name'; add it.", param="tool_choice")
        named_tool = {"type": "function", "function": {"name": choice.name}}
        chosen = {"any": "required", "tool": named_tool}.get(choice.type, choice.type)
    offered: list[dict[str, Any]] = [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": tool.input_schema},
        }
        for tool in asked.tools or ()
    ]
    return {
        "model": asked.model,
        "messages": messages,
        "tools": offered or None,
        "tool_choice": chosen if offered or chosen not in ("auto", "none") else None,
        "parallel_tool_calls": False if choice is not None and choice.disable_parallel_tool_use else None,
    }


def _said(turn: Turn) -> list[dict[str, Any]]:
    if isinstance(turn.content, str):
        return [{"role": turn.role, "content": turn.content}]
    results: list[dict[str, Any]] = [
        {"role": "tool", "tool_call_id": block.tool_use_id, "content": texts_of(block.content)}
        for block in turn.content
        if isinstance(block, ToolResult)
    ]
    calls = [
        {"id": block.id, "function": {"name": block.name, "arguments": json.dumps(block.input, ensure_ascii=False)}}
        for block in turn.content
        if isinstance(block, ToolUse)
    ]
    texts = [block.text for block in turn.content if isinstance(block, TextBlock)]
    if texts or calls:
        turned: dict[str, Any] = {"role": turn.role, "content": "".join(texts)}
        results.append({**turned, "tool_calls": calls} if calls else turned)
    return results
