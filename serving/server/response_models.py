"""Requests and answers of ``/v1/responses``."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import ConfigDict, Field

from ...messages import Frozen
from .asked import Count, No, ToolName
from .places import Told


class InputPart(Frozen):
    """A piece of content; only text is offered."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    type: Literal["input_text", "output_text", "text"]
    text: str


class MessageItem(Frozen):
    """One turn."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: str | tuple[InputPart, ...]


class CallItem(Frozen):
    """A call that the model made."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str
    """JSON."""


class CallOutput(Frozen):
    """What a call gave."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    type: Literal["function_call_output"]
    call_id: str
    output: str | tuple[InputPart, ...]


class Reasoning(Frozen):
    """Thoughts of an earlier answer; taken and ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    type: Literal["reasoning"]


class FunctionTool(Frozen):
    """A function that may be called."""

    type: Literal["function"]
    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    """JSON schema of the arguments."""
    strict: bool | None = None


class NamedFunctionTool(Frozen):
    """The tool that must be called."""

    type: Literal["function"]
    name: ToolName


class TextFormat(Frozen):
    """What the text looks like."""

    type: Literal["text", "json_object", "json_schema"]
    name: str = "answer"
    description: str | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None


class TextSettings(Frozen):
    """How the text is made."""

    format: TextFormat | None = None
    verbosity: str | None = None
    """Taken and ignored."""


class ResponseRequest(Frozen):
    """``POST /v1/responses``."""

    model: Annotated[str, Field(max_length=1000)] = ""
    """A name from ``/v1/models``; empty takes the server's default."""
    input: str | Annotated[tuple[MessageItem | CallItem | CallOutput | Reasoning, ...], Field(min_length=1)]
    instructions: str | None = None
    """Stands before the conversation, as the system."""
    max_output_tokens: Count | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    stream: bool = False
    tools: tuple[FunctionTool, ...] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedFunctionTool | None = None
    parallel_tool_calls: bool | None = None
    text: TextSettings | None = None
    shuntyard: Told | None = None
    """As in chat."""
    background: No | None = None
    """Not offered."""
    previous_response_id: None = None
    """Not offered: nothing is stored."""
    truncation: Literal["disabled"] | None = None
    include: tuple[str, ...] | None = None
    """Taken and ignored, as are the fields below."""
    store: bool | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    reasoning: dict[str, Any] | None = None


ItemStatus: TypeAlias = Literal["in_progress", "completed", "incomplete"]


class OutputText(Frozen):
    """Text that the model wrote."""

    type: Literal["output_text"] = "output_text"
    text: str
    annotations: tuple[Any, ...] = ()
    logprobs: tuple[Any, ...] = ()


class OutputMessage(Frozen):
    """The assistant's turn."""

    type: Literal["message"] = "message"
    id: str
    role: Literal["assistant"] = "assistant"
    status: ItemStatus
    content: tuple[OutputText, ...]


class OutputCall(Frozen):
    """A tool call."""

    type: Literal["function_call"] = "function_call"
    id: str
    call_id: str
    name: str
    arguments: str
    status: ItemStatus


class InputTokens(Frozen):
    """Of the prompt's tokens."""

    cached_tokens: int = 0


class OutputTokens(Frozen):
    """Of the answer's tokens."""

    reasoning_tokens: int = 0


class ResponseUsage(Frozen):
    """Tokens, as the engine counted them."""

    input_tokens: int
    input_tokens_details: InputTokens
    output_tokens: int
    output_tokens_details: OutputTokens
    total_tokens: int


class ResponseBody(Frozen):
    """A response."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    status: Literal["in_progress", "completed", "incomplete"]
    error: None = None
    incomplete_details: dict[str, str] | None = None
    instructions: str | None = None
    model: str
    output: tuple[OutputMessage | OutputCall, ...]
    parallel_tool_calls: bool = True
    tool_choice: str | dict[str, Any] = "auto"
    tools: tuple[FunctionTool, ...] = ()
    metadata: dict[str, str] = {}
    usage: ResponseUsage | None = None
