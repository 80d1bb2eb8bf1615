"""Engines as the server sees them: what one can do, and one way to have it generate.

An engine speaks OpenAI's chunks whatever it is made of; what it cannot do it does not declare, and the server
refuses a request for it by the name of the field.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from ..messages import Frozen, Place

_PLAIN = b'{"choices":[{"finish_reason":null,"index":0,"delta":{"content":"'
"""How llama.cpp begins a chunk that only goes on with the text of the first choice."""
_EVENT = b"data: " + _PLAIN
_REST = b'"}}],"created":'


Straight: TypeAlias = Callable[[Sequence[bytes]], bool]
"""Is offered plain text (``Chunk.plain``) that goes past its reader; False when it cannot take any of it now."""


def plain_texts(piece: bytes) -> list[bytes] | None:
    """Return the texts of a piece of a stream that is whole events of plain text (``Chunk.plain``), None of others."""
    if not piece.endswith(b"\n\n"):
        return None
    texts = []
    for event in piece[:-2].split(b"\n\n"):
        text = None if b"\n" in event else _plain_of(event, _EVENT)
        if text is None:
            return None
        texts.append(text)
    return texts


def _plain_of(data: bytes, start: bytes) -> bytes | None:
    if not data.startswith(start):
        return None
    # An escaped quote ends the search too soon, and the chunk is read as any other.
    end = data.find(b'"', len(start))
    return data[len(start) : end] if data.startswith(_REST, end) and data.find(b'"usage"', end) < 0 else None


class Chunk:
    """One ``chat.completion.chunk`` or ``text_completion`` object of a stream, read when somebody looks into it.

    ``plain`` is what most chunks are: more text of the first choice of a chat and nothing else, as the inside of a
    JSON string. Such a chunk is passed on without being read.
    """

    __slots__ = ("_data", "_value", "plain")

    def __init__(self, data: bytes) -> None:
        """``data`` is the object's JSON."""
        self.plain = _plain_of(data, _PLAIN)
        self._data = data
        self._value: dict[str, Any] | None = None

    @classmethod
    def of(cls, value: dict[str, Any]) -> Chunk:
        """Return the chunk that says ``value``."""
        made = cls(b"")
        made._value = value
        return made

    @classmethod
    def said(cls, text: bytes) -> Chunk:
        """Return a plain chunk; ``text`` is the inside of a JSON string."""
        made = cls.__new__(cls)
        made.plain, made._data, made._value = text, b"", None
        return made

    @property
    def value(self) -> dict[str, Any]:
        """The object. Raises ValueError when it is not JSON."""
        if self._value is None:
            data = self._data or b'%b%b"}}]}' % (_PLAIN, self.plain or b"")
            self._value = dict(json.loads(data))
        return self._value

    def unread(self) -> Chunk:
        """Return the same chunk as bytes alone, to be kept: what was read of it takes ten times as much."""
        if self.plain is not None:
            return Chunk.said(self.plain)
        return Chunk(self._data or json.dumps(self._value, separators=(",", ":")).encode())

    def __len__(self) -> int:
        """Bytes in memory, while it is unread."""
        return 120 + len(self._data or self.plain or b"")


class Capabilities(Frozen):
    """What an engine can do; nothing else is offered for it."""

    chat: bool = True
    completions: bool = True
    embeddings: bool = False
    tools: bool = True
    """Shows tools to the model and reads its calls."""
    tool_choice: bool = True
    """Enforces ``required`` and a named tool by itself."""
    json_schema: bool = True
    """Takes ``response_format`` by itself."""
    grammar: bool = False
    """Takes GBNF, and schemas for what it continues."""
    guidance: bool = False
    """Takes llguidance grammars too, which enforce more of a schema and leave no room for blanks."""
    render: bool = False
    """Applies the chat template, and counts tokens, without generating."""
    context: int = 0
    """Tokens of prompt and answer together, where that is known."""
    logprobs: bool = True
    logit_bias: bool = True
    samplers: bool = False
    """``top_k``, ``min_p`` and ``repeat_penalty``."""
    n: int = 128
    """Most choices of one request."""
    slots: int = 0
    """Requests generated at once, where that is known."""
    save_restore: bool = False
    """Keeps and restores the state of a slot."""
    lora: bool = False


CHILD = Capabilities(tool_choice=False, grammar=True, guidance=True, render=True, samplers=True, n=3, slots=3)
"""The supervised llama.cpp, with the fewest slots: it takes ``tool_choice`` and does not enforce it."""
LLAMA_SERVER = CHILD.model_copy(update={"n": 1, "slots": 0, "guidance": False})
"""A llama-server by URL: how many slots it has is not known, so one choice is all that surely works. llama.cpp leaves
llguidance out by default, and one build crashes when it is sent one of its grammars."""
KINDS = {
    "llamacpp": LLAMA_SERVER,
    "vllm": Capabilities(samplers=True),
    "sglang": Capabilities(samplers=True),
    "library": Capabilities(tool_choice=False, logit_bias=False, logprobs=False, n=1),
}
"""By what ``owned_by`` says in a server's list of models; ``library`` is Ollama's word."""


@dataclass(frozen=True, slots=True)
class Call:
    """One generation as an engine receives it."""

    path: Literal["/chat/completions", "/completions"]
    body: dict[str, Any]
    """OpenAI's request; the engine adds its own name of the model and that it streams."""
    place: Place | None = None
    """Where the call stands in its application; engines without an order ignore it."""
    straight: Straight | None = None
    """Takes plain text while the reader waits for more and has nothing left to do; engines may ignore it."""


class Engine(Protocol):
    """Generates. Several calls may run at once."""

    @property
    def name(self) -> str:
        """What clients call its model."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""

    def stream(self, call: Call) -> AsyncGenerator[Sequence[Chunk], None]:
        """Yield the chunks of ``call`` as they come, usage included. Closing the generator stops it at once.

        A call is made again once when the engine had gone before its first chunk. Raises ModelUnavailable, UsageError
        for what it refuses, ContextTooLong.
        """

    async def render(self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]]) -> str:
        """Return the prompt that the model's template makes. Raises as ``stream``."""

    async def tokens(self, prompt: str) -> int:
        """Return how many tokens ``prompt`` has. Raises as ``stream``."""

    async def close(self) -> None:
        """Let go of connections; the process behind it goes on."""
