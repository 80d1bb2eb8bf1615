"""What clients may ask: OpenAI's requests, checked before an engine is touched.

A field that is not here is refused by name; fields that only OpenAI's own service has a use for are taken and
ignored where they change no answer.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field

from ...messages import Frozen
from .places import Told


def _refuse(value: bool) -> bool:
    if value:
        raise ValueError("that is not offered; leave it out")
    return value


Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
No = Annotated[bool, AfterValidator(_refuse), Field(json_schema_extra={"const": False})]
"""A field that is known and not offered: false says the same as leaving it out."""
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Stop = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(max_length=16)]
ToolName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class StreamOptions(Frozen):
    """How a stream ends."""

    include_usage: bool = False
    """Send a last chunk with the usage."""
    include_obfuscation: bool = False
    """Taken and ignored."""


class Sampling(Frozen):
    """What both kinds of completions share. What is left out is up to the engine."""

    model: Annotated[str, Field(max_length=1000)] = ""
    """A name from ``/v1/models``; empty takes the server's default, ``auto`` lets the router choose."""
    n: Annotated[int, Field(ge=1, le=128)] = 1
    """Choices; no more than the engine has slots."""
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Count | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    seed: Seed | None = None
    stop: Annotated[str, Field(min_length=1)] | Stop | None = None
    logit_bias: dict[Annotated[str, Field(pattern=r"^\d{1,9}$")], Annotated[float, Field(ge=-100, le=100)]] | None = (
        None
    )
    """By token number."""
    top_k: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repeat_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    grammar: str | None = None
    """GBNF, or llguidance after ``%llguidance {}``; a dialect of llama.cpp."""
    shuntyard: Told | None = None
    """Where the request stands in its application, and how it may be read; headers ``X-Shuntyard-*`` say the same."""
    user: str | None = None
    """Taken and ignored."""


class Part(Frozen):
    """A piece of a message's content; only text is offered."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    type: Literal["text", "refusal"]
    text: str = ""
    refusal: str = ""


class CalledFunction(Frozen):
    """A function as a model called it."""

    name: str
    arguments: str
    """JSON."""


class ToolCall(Frozen):
    """A call that an assistant's message made."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    id: str = ""
    type: Literal["function"] = "function"
    function: CalledFunction


class ChatMessage(Frozen):
    """One turn; further fields that answers carry are taken and ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | tuple[Part, ...] | None = None
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] | None = None
    tool_call_id: str | None = None


class Function(Frozen):
    """A function that may be called."""

    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    """JSON schema of the arguments."""
    strict: bool | None = None


class Tool(Frozen):
    """A tool that may be called."""

    type: Literal["function"]
    function: Function


class NamedFunction(Frozen):
    """A function by its name."""

    name: ToolName


class NamedTool(Frozen):
    """The tool that must be called."""

    type: Literal["function"]
    function: NamedFunction


class SchemaFormat(Frozen):
    """A JSON schema with a name."""

    name: str = "answer"
    description: str | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    strict: bool | None = None


class ResponseFormat(Frozen):
    """What the answer looks like."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: SchemaFormat | None = None
    """Needed with ``json_schema``."""


class ChatRequest(Sampling):
    """``POST /v1/chat/completions``."""

    messages: Annotated[tuple[ChatMessage, ...], Field(min_length=1)]
    max_completion_tokens: Count | None = None
    """The newer name of ``max_tokens``; wins over it."""
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: tuple[Tool, ...] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    metadata: dict[str, str] | None = None
    """Taken and ignored, as are the fields below."""
    store: bool | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None


class CompletionRequest(Sampling):
    """``POST /v1/completions``."""

    prompt: (
        str
        | Annotated[tuple[int, ...], Field(min_length=1)]
        | Annotated[tuple[str, ...], Field(min_length=1, max_length=128)]
        | Annotated[tuple[Annotated[tuple[int, ...], Field(min_length=1)], ...], Field(min_length=1, max_length=128)]
    )
    """Text, token numbers, or several of either."""
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    echo: No | None = None
    """Not offered."""
    best_of: Annotated[int, Field(ge=1, le=1)] | None = None
    """Not offered."""
    suffix: None = None
    """Not offered."""


class EmbeddingRequest(Frozen):
    """``POST /v1/embeddings``."""

    model: Annotated[str, Field(max_length=1000)] = ""
    """Empty takes the one embedding model."""
    input: (
        Annotated[str, Field(min_length=1)]
        | Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1, max_length=2048)]
    )
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1)] | None = None
    """Only the model's own number is offered."""
    user: str | None = None
    """Taken and ignored."""
