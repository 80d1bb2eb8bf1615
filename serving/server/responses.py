"""OpenAI's newer interface: ``POST /v1/responses``. Nothing is stored, so every request carries its conversation."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Literal

from ..engines import Engine
from .chat import new_id
from .events import fault_of, named, status_of
from .generate import Meter
from .response_models import (
    CallItem,
    CallOutput,
    FunctionTool,
    InputTokens,
    ItemStatus,
    MessageItem,
    NamedFunctionTool,
    OutputCall,
    OutputMessage,
    OutputText,
    OutputTokens,
    Reasoning,
    ResponseBody,
    ResponseRequest,
    ResponseUsage,
)
from .turns import Piece, chat_of, pieces, texts_of


class ResponseJob:
    """Makes a response of a chat."""

    endpoint = "responses"

    def __init__(self, asked: ResponseRequest) -> None:
        """Raises RequestRefused for what cannot be put as a chat."""
        self._asked = asked
        self._chat = chat_of(_chat_values(asked))
        self.model = asked.model
        self.stream = asked.stream

    async def events(self, engine: Engine, meter: Meter) -> AsyncGenerator[bytes, None]:
        """Yield OpenAI's named events."""
        writer = _Writer(engine.name, self._asked)
        async with aclosing(pieces(engine, self._chat, meter)) as found:
            async for piece in found:
                for event in writer.take(piece, meter):
                    yield event

    async def whole(self, engine: Engine, meter: Meter) -> ResponseBody:
        """Return the whole response."""
        writer = _Writer(engine.name, self._asked)
        async with aclosing(pieces(engine, self._chat, meter)) as found:
            async for piece in found:
                writer.take(piece, meter)
        return writer.body(meter)

    @staticmethod
    def fault(error: Exception) -> bytes:
        """The event that ends a stream which failed."""
        fault = fault_of(error).error
        value = {"code": fault.code, "message": fault.message, "param": fault.param, "status": status_of(error)}
        return named("error", {"type": "error", **value})


class _Writer:
    """A response while it comes: its items, and the events that tell of them."""

    def __init__(self, model: str, asked: ResponseRequest) -> None:
        self._model = model
        self._asked = asked
        self._id = new_id("resp")
        self._created = int(time.time())
        self._items: list[OutputMessage | OutputCall] = []
        self._open: tuple[Literal["text", "call"], str, list[str], str, str] | None = None
        """What is being written: its kind, item id, bits, and a call's id and name."""
        self._number = 0
        self._begun = False
        self._status: ItemStatus = "in_progress"

    def take(self, piece: Piece, meter: Meter) -> list[bytes]:
        """Return the events that ``piece`` makes."""
        found: list[bytes] = []
        if not self._begun:
            self._begun = True
            for kind in ("created", "in_progress"):
                found.append(self._event(f"response.{kind}", response=_dumped(self.body(None))))
        if piece.kind == "text":
            if self._open is None or self._open[0] != "text":
                found += [*self._close(), *self._open_text()]
            found.append(self._bit("response.output_text.delta", piece.text, content_index=0, logprobs=[]))
        elif piece.kind == "call":
            found += [*self._close(), *self._open_call(piece)]
        elif piece.kind == "arguments":
            found.append(self._bit("response.function_call_arguments.delta", piece.text))
        else:
            if self._open is None and not self._items:
                found += self._open_text()
            self._status = "incomplete" if piece.text == "length" else "completed"
            found += self._close(self._status)
            found.append(self._event(f"response.{self._status}", response=_dumped(self.body(meter))))
        return found

    def body(self, meter: Meter | None) -> ResponseBody:
        """The response as it stands."""
        usage = meter.usage if meter is not None else None
        return ResponseBody(
            id=self._id,
            created_at=self._created,
            status=self._status,
            incomplete_details={"reason": "max_output_tokens"} if self._status == "incomplete" else None,
            model=self._model,
            instructions=self._asked.instructions,
            output=tuple(self._items),
            tool_choice=_choice(self._asked) or "auto",
            tools=self._asked.tools or (),
            parallel_tool_calls=self._asked.parallel_tool_calls is not False,
            metadata=self._asked.metadata or {},
            usage=None
            if usage is None
            else ResponseUsage(
                input_tokens=usage.prompt_tokens,
                input_tokens_details=InputTokens(cached_tokens=usage.prompt_tokens_details.cached_tokens),
                output_tokens=usage.completion_tokens,
                output_tokens_details=OutputTokens(),
                total_tokens=usage.total_tokens,
            ),
        )

    def _open_text(self) -> list[bytes]:
        id = new_id("msg")
        self._open = ("text", id, [], "", "")
        item = OutputMessage(id=id, status="in_progress", content=())
        part = _dumped(OutputText(text=""))
        return [
            self._event("response.output_item.added", output_index=len(self._items), item=_dumped(item)),
            self._event("response.content_part.added", **self._at(), content_index=0, part=part),
        ]

    def _open_call(self, piece: Piece) -> list[bytes]:
        id = new_id("fc")
        self._open = ("call", id, [], piece.id, piece.text)
        item = OutputCall(id=id, call_id=piece.id, name=piece.text, arguments="", status="in_progress")
        return [self._event("response.output_item.added", output_index=len(self._items), item=_dumped(item))]

    def _bit(self, kind: str, text: str, **more: Any) -> bytes:
        assert self._open is not None
        self._open[2].append(text)
        return self._event(kind, **self._at(), delta=text, **more)

    def _close(self, status: ItemStatus = "completed") -> list[bytes]:
        if self._open is None:
            return []
        kind, id, bits, call_id, name = self._open
        text = "".join(bits)
        at = self._at()
        item: OutputMessage | OutputCall
        if kind == "text":
            part = OutputText(text=text)
            item = OutputMessage(id=id, status=status, content=(part,))
            found = [
                self._event("response.output_text.done", **at, content_index=0, text=text, logprobs=[]),
                self._event("response.content_part.done", **at, content_index=0, part=_dumped(part)),
            ]
        else:
            item = OutputCall(id=id, call_id=call_id, name=name, arguments=text, status=status)
            found = [self._event("response.function_call_arguments.done", **at, name=name, arguments=text)]
        found.append(self._event("response.output_item.done", output_index=at["output_index"], item=_dumped(item)))
        self._items.append(item)
        self._open = None
        return found

    def _at(self) -> dict[str, Any]:
        return {"item_id": self._open[1] if self._open is not None else "", "output_index": len(self._items)}

    def _event(self, kind: str, **value: Any) -> bytes:
        self._number += 1
        return named(kind, {"type": kind, "sequence_number": self._number - 1, **value})


def _dumped(item: Any) -> dict[str, Any]:
    found: dict[str, Any] = item.model_dump(by_alias=True)
    return found


def _choice(asked: ResponseRequest) -> str | dict[str, Any] | None:
    choice = asked.tool_choice
    return choice.model_dump() if isinstance(choice, NamedFunctionTool) else choice


def _chat_values(asked: ResponseRequest) -> dict[str, Any]:
    choice: Any = asked.tool_choice
    if isinstance(choice, NamedFunctionTool):
        choice = {"type": "function", "function": {"name": choice.name}}
    return {
        "model": asked.model,
        "messages": _messages(asked),
        "stream": asked.stream,
        "max_tokens": asked.max_output_tokens,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "tools": [_tool(tool) for tool in asked.tools] if asked.tools else None,
        "tool_choice": choice if asked.tools or choice not in ("auto", "none") else None,
        "parallel_tool_calls": asked.parallel_tool_calls,
        "response_format": _format(asked),
    }


def _tool(tool: FunctionTool) -> dict[str, Any]:
    return {"type": "function", "function": tool.model_dump(exclude={"type"}, exclude_none=True)}


def _format(asked: ResponseRequest) -> dict[str, Any] | None:
    form = asked.text.format if asked.text is not None else None
    if form is None:
        return None
    if form.type != "json_schema":
        return {"type": form.type}
    return {"type": "json_schema", "json_schema": {"name": form.name, "schema": form.schema_ or {}}}


def _messages(asked: ResponseRequest) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if asked.instructions:
        found.append({"role": "system", "content": asked.instructions})
    if isinstance(asked.input, str):
        return [*found, {"role": "user", "content": asked.input}]
    for item in asked.input:
        if isinstance(item, MessageItem):
            found.append({"role": item.role, "content": texts_of(item.content)})
        elif isinstance(item, CallItem):
            call = {"id": item.call_id, "function": {"name": item.name, "arguments": item.arguments}}
            last = found[-1] if found else {}
            if last.get("role") == "assistant":
                last.setdefault("tool_calls", []).append(call)
            else:
                found.append({"role": "assistant", "content": "", "tool_calls": [call]})
        elif isinstance(item, CallOutput):
            found.append({"role": "tool", "tool_call_id": item.call_id, "content": texts_of(item.output)})
        else:
            assert isinstance(item, Reasoning)
    return found
