"""Chat: one stream of chunks, from which whole answers and the other interfaces are made."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ...errors import ContextTooLong, OutputMalformed
from ..engines import Call, Chunk, Engine, Straight
from ..schema import begins, conforms
from .answers import Call as CallMade
from .answers import ChatCompletion, Choice, Said
from .asked import CalledFunction, ChatRequest
from .beyond import long_chunks, mended
from .events import DONE, data, fault_data
from .forced import forced_chunks
from .generate import Meter, generate
from .offers import chat_body, check, forced, schema_of

EARLY = 32
"""Pieces of an answer that are looked at as they come: what is no JSON shows at once."""
Choices: TypeAlias = list[dict[str, Any]]
"""Of one chunk."""


async def chat_batches(
    engine: Engine, asked: ChatRequest, meter: Meter, straight: Straight | None = None
) -> AsyncGenerator[list[Choices | bytes], None]:
    """Yield what came, each the choices of a chunk or, as bytes, more text of the first choice (``Chunk.plain``).

    The first chunk of each choice has its role and is never bytes. Text that ``straight`` takes while the engine is
    waited for is not yielded; the caller sees to roles and schemas then. Usage goes to ``meter``. Raises RequestRefused
    before anything is generated, OutputMalformed when an answer that is finished breaks its JSON schema, and what the
    engine raises.
    """
    check(asked, engine)
    schema = schema_of(asked)
    texts: dict[int, list[str]] = {}
    failure: OutputMalformed | None = None
    try:
        async with aclosing(_source(engine, asked, meter, straight)) as batches:
            async for batch in batches:
                found: list[Choices | bytes] = []
                for chunk in batch:
                    if chunk.plain is not None and schema is None and 0 in texts:
                        found.append(chunk.plain)
                        continue
                    choices = chunk.value.get("choices") or []
                    if choices:
                        found.append(choices)
                    for choice in choices:
                        _completed(choice, texts)
                        if schema is not None:
                            said = texts[choice["index"]]
                            failure = failure or _breach(choice, said, schema, engine.name, mixed=bool(asked.tools))
                if found:
                    yield found
                if failure is not None:
                    raise failure
    except ContextTooLong as error:
        raise mended(error, engine, meter) from None


def _completed(choice: dict[str, Any], texts: dict[int, list[str]]) -> None:
    index, delta = choice.setdefault("index", 0), choice.setdefault("delta", {})
    if index not in texts:
        texts[index] = []
        delta["role"] = "assistant"
    elif "role" in delta:
        del delta["role"]


def _breach(
    choice: dict[str, Any], said: list[str], schema: dict[str, Any], name: str, *, mixed: bool
) -> OutputMalformed | None:
    """What is wrong with a choice; it is told after what came with it.

    A choice that a grammar forms is JSON from its first letter, so one that is not is stopped there. ``mixed`` ones
    may also call tools, and say something first.
    """
    said.append(choice["delta"].get("content") or "")
    finish = choice.get("finish_reason")
    try:
        if finish == "stop":
            conforms("".join(said), schema, name)
        elif not mixed and (finish == "length" or (finish is None and len(said) <= EARLY)):
            begins("".join(said), name)
    except OutputMalformed as error:
        return error
    return None


async def chat_chunks(engine: Engine, asked: ChatRequest, meter: Meter) -> AsyncGenerator[Choices, None]:
    """As ``chat_batches``, chunk by chunk, all of them read."""
    async with aclosing(chat_batches(engine, asked, meter)) as batches:
        async for batch in batches:
            for item in batch:
                yield Chunk.said(item).value["choices"] if isinstance(item, bytes) else item


def _source(
    engine: Engine, asked: ChatRequest, meter: Meter, straight: Straight | None
) -> AsyncGenerator[Sequence[Chunk], None]:
    if meter.long in ("segments", "pages"):
        return long_chunks(engine, asked, meter, plainly=_plainly, ask=chat_chunks)
    return _plainly(engine, asked, meter, straight)


def _plainly(
    engine: Engine, asked: ChatRequest, meter: Meter, straight: Straight | None = None
) -> AsyncGenerator[Sequence[Chunk], None]:
    if forced(asked) is not None and not engine.capabilities.tool_choice:
        return forced_chunks(engine, asked, meter)
    return generate(engine, Call("/chat/completions", chat_body(asked, engine)), meter, straight)


class ChatJob:
    """``POST /v1/chat/completions``."""

    endpoint = "chat"

    def __init__(self, asked: ChatRequest) -> None:
        """Keep the request."""
        self._asked = asked
        self.model = asked.model
        self.stream = asked.stream

    async def events(self, engine: Engine, meter: Meter) -> AsyncGenerator[bytes, None]:
        """Yield OpenAI's stream."""
        head = _head(engine.name, "chat.completion.chunk")
        begin = data(head)[: -len(b"}\n\n")] + b',"choices":[{"index":0,"delta":{"content":"'
        end = b'"},"finish_reason":null}]}\n\n'
        wanted = self._asked.stream_options is not None and self._asked.stream_options.include_usage
        outlet, begun = meter.outlet, False

        def straight(texts: Sequence[bytes]) -> bool:
            if not begun or outlet is None:
                return False
            return outlet(begin + (end + begin).join(texts) + end)

        # With one choice, what begins the stream is its role.
        short = straight if outlet is not None and self._asked.n == 1 and schema_of(self._asked) is None else None
        async with aclosing(chat_batches(engine, self._asked, meter, short)) as batches:
            async for batch in batches:
                begun = True
                yield b"".join(
                    [
                        begin + item + end if isinstance(item, bytes) else data({**head, "choices": item})
                        for item in batch
                    ]
                )
        rest = DONE
        if wanted:
            usage = meter.usage
            rest = data({**head, "choices": [], "usage": usage.model_dump() if usage is not None else None}) + DONE
        yield rest

    async def whole(self, engine: Engine, meter: Meter) -> ChatCompletion:
        """Return the whole answer."""
        gathered = await gather(engine, self._asked, meter)
        return ChatCompletion(
            id=new_id("chatcmpl"),
            created=int(time.time()),
            model=engine.name,
            choices=tuple(gathered[index].choice(index) for index in sorted(gathered)),
            usage=meter.usage,
        )

    fault = staticmethod(fault_data)


@dataclass(slots=True)
class Gathered:
    """One choice while its pieces come."""

    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    calls: dict[int, dict[str, str]] = field(default_factory=dict)
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    finish: str = "stop"

    def take(self, choice: dict[str, Any]) -> None:
        """Add a piece."""
        delta = choice["delta"]
        self.texts.append(delta.get("content") or "")
        self.thoughts.append(delta.get("reasoning_content") or "")
        for call in delta.get("tool_calls") or ():
            known = self.calls.setdefault(call["index"], {"id": "", "name": "", "arguments": ""})
            known["id"] = known["id"] or call.get("id") or ""
            function = call.get("function") or {}
            known["name"] += function.get("name") or ""
            known["arguments"] += function.get("arguments") or ""
        self.logprobs.extend((choice.get("logprobs") or {}).get("content") or ())
        self.finish = choice.get("finish_reason") or self.finish

    @property
    def text(self) -> str:
        """What was said."""
        return "".join(self.texts)

    @property
    def made(self) -> tuple[CallMade, ...]:
        """The tool calls, in their order."""
        return tuple(
            CallMade(
                id=call["id"] or f"call_{secrets.token_hex(12)}",
                function=CalledFunction(name=call["name"], arguments=call["arguments"]),
            )
            for _, call in sorted(self.calls.items())
        )

    def choice(self, index: int) -> Choice:
        """The choice of a whole answer."""
        calls = self.made
        return Choice(
            index=index,
            message=Said(
                content=self.text if self.text or not calls else None,
                tool_calls=calls or None,
                reasoning_content="".join(self.thoughts) or None,
            ),
            finish_reason=self.finish,
            logprobs={"content": self.logprobs} if self.logprobs else None,
        )


async def gather(engine: Engine, asked: ChatRequest, meter: Meter) -> dict[int, Gathered]:
    """Return every choice of a chat, whole."""
    found: dict[int, Gathered] = {}
    async with aclosing(chat_chunks(engine, asked, meter)) as chunks:
        async for choices in chunks:
            for choice in choices:
                found.setdefault(choice["index"], Gathered()).take(choice)
    return found


def new_id(kind: str) -> str:
    """Return an id that nobody has seen."""
    return f"{kind}-{secrets.token_hex(12)}"


def _head(model: str, kind: str) -> dict[str, Any]:
    return {"id": new_id("chatcmpl"), "object": kind, "created": int(time.time()), "model": model}
