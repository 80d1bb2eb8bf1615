"""What the server answers, as OpenAI's clients read it; streams carry the same names in pieces."""

from __future__ import annotations

from typing import Any, Literal

from ...messages import Frozen
from ..engines import Capabilities
from .asked import CalledFunction


class PromptDetails(Frozen):
    """Of the prompt's tokens."""

    cached_tokens: int = 0
    """Not computed again, because their prefix was warm."""


class Usage(Frozen):
    """Tokens, as the engine counted them. The prompt counts once, whatever ``n`` is."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails = PromptDetails()


class Call(Frozen):
    """A tool call."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class Said(Frozen):
    """The assistant's turn."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    tool_calls: tuple[Call, ...] | None = None
    reasoning_content: str | None = None


class Choice(Frozen):
    """One answer."""

    index: int
    message: Said
    finish_reason: str
    """``stop``, ``length`` or ``tool_calls``."""
    logprobs: dict[str, Any] | None = None


class ChatCompletion(Frozen):
    """A whole chat answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: tuple[Choice, ...]
    usage: Usage | None
    """None where an engine by URL does not count."""


class TextChoice(Frozen):
    """One continuation."""

    index: int
    text: str
    finish_reason: str
    logprobs: dict[str, Any] | None = None


class TextCompletion(Frozen):
    """A whole continuation."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: tuple[TextChoice, ...]
    usage: Usage | None


class EmbeddingRow(Frozen):
    """One vector."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str
    """Numbers, or base64 of little-endian 32-bit floats."""


class EmbeddingUsage(Frozen):
    """Tokens read."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(Frozen):
    """Vectors in the order of the input."""

    object: Literal["list"] = "list"
    data: tuple[EmbeddingRow, ...]
    model: str
    usage: EmbeddingUsage


class ModelRow(Frozen):
    """One model."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str
    context: int
    """Tokens of prompt and answer together."""
    resident: bool
    """Loaded now; others are loaded by their first request."""
    installed: bool
    capabilities: Capabilities | None = None
    """Of a model that is loaded: what the server offers with it, by itself or through its engine."""


class ModelList(Frozen):
    """Every model that is offered."""

    object: Literal["list"] = "list"
    data: tuple[ModelRow, ...]


class Fault(Frozen):
    """An error."""

    message: str
    """Names the offending value and ends with the mend."""
    type: str
    param: str | None = None
    """The field that is wrong."""
    code: str


class Faulty(Frozen):
    """The body of every answer that is an error; ``type`` is for clients of ``/v1/messages``."""

    type: Literal["error"] = "error"
    error: Fault


class Health(Frozen):
    """That the server lives."""

    status: Literal["ok"] = "ok"
    running: int
    queued: int
    resident: tuple[str, ...]
