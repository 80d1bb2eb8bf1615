"""Requests and answers of ``/v1/messages``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from ...messages import Frozen
from .asked import Count, ToolName
from .places import Told


class TextBlock(Frozen):
    """Text."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    type: Literal["text"] = "text"
    text: str


class ToolUse(Frozen):
    """A call that the model made."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    type: Literal["tool_use"] = "tool_use"
    id: str
    name: str
    input: dict[str, Any]


class ToolResult(Frozen):
    """What a call gave."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    type: Literal["tool_result"]
    tool_use_id: str
    content: str | tuple[TextBlock, ...] | None = None
    is_error: bool | None = None


class Thinking(Frozen):
    """Thoughts of an earlier answer; taken and ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    type: Literal["thinking", "redacted_thinking"]


class Turn(Frozen):
    """One turn."""

    role: Literal["user", "assistant"]
    content: str | Annotated[tuple[TextBlock | ToolUse | ToolResult | Thinking, ...], Field(min_length=1)]


class MessageTool(Frozen):
    """A function that may be called."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    type: Literal["custom"] | None = None
    name: ToolName
    description: str | None = None
    input_schema: dict[str, Any]
    """JSON schema of the input."""


class ToolChoice(Frozen):
    """Which tool is called."""

    type: Literal["auto", "any", "tool", "none"]
    name: ToolName | None = None
    """Needed with ``tool``."""
    disable_parallel_tool_use: bool | None = None


class ThinkingOff(Frozen):
    """Thinking is up to the model."""

    type: Literal["disabled"]


class CountRequest(Frozen):
    """``POST /v1/messages/count_tokens``."""

    model: Annotated[str, Field(max_length=1000)] = ""
    """A name from ``/v1/models``; empty takes the server's default."""
    messages: Annotated[tuple[Turn, ...], Field(min_length=1)]
    system: str | tuple[TextBlock, ...] | None = None
    tools: tuple[MessageTool, ...] | None = None
    tool_choice: ToolChoice | None = None
    thinking: ThinkingOff | None = None


class MessageRequest(CountRequest):
    """``POST /v1/messages``."""

    max_tokens: Count
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    stop_sequences: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(max_length=16)] | None = None
    stream: bool = False
    metadata: dict[str, str | None] | None = None
    """Taken and ignored, as is the field below."""
    service_tier: str | None = None
    shuntyard: Told | None = None
    """As in chat."""


class Counted(Frozen):
    """Tokens of a prompt."""

    input_tokens: int


class MessageUsage(Frozen):
    """Tokens, as the engine counted them; ``input_tokens`` are those that were not warm."""

    input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    output_tokens: int = 0


class MessageBody(Frozen):
    """A message of the assistant."""

    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    model: str
    content: tuple[TextBlock | ToolUse, ...]
    stop_reason: Literal["end_turn", "max_tokens", "tool_use"] | None
    """``end_turn`` also when one of the stop sequences came: the engine does not tell."""
    stop_sequence: None = None
    usage: MessageUsage
