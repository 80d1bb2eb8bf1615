"""What is said to models and what they answer: plain values, no behaviour.

They are requests and answers only; who answers, at what price and whether it may be asked
is decided by ``router/`` and ``guard/``.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer


class Frozen(BaseModel):
    """Base of every stored, sent or shown type: immutable, and unknown fields are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Role = Literal["compile", "repair", "join", "replan", "answer", "agent"]
"""What a model call is for; the router chooses by it. ``agent`` is a call made by a user's own code."""


class Message(Frozen):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class Place(Frozen):
    """Where a model call stands in its application. It orders calls that wait for an engine, and changes no answer."""

    run: str = ""
    """The application that waits for the call; empty: the call is one by itself."""
    node: str = ""
    """The step of it that asks."""
    arrived: float = 0.0
    """Unix time at which the application came; those that came first are served first. 0: now."""
    priority: float = 0.0
    """What of the application's critical path is still to come, from this call on; more goes first within it."""
    follows: bool = False
    """The application asks again as soon as it has the answer."""
    prefix: int | None = None
    """How many leading messages other calls begin with too; None: all but the last."""
    next: str = ""
    """The model that the application asks after this call; it is loaded meanwhile where there is room."""


class ModelRequest(Frozen):
    """One model call, independent of who answers it."""

    messages: tuple[Message, ...]
    role: Role = "agent"
    max_tokens: Annotated[int, Field(gt=0)] = 512
    """Upper bound of generated tokens; the ledger reserves it before the call."""
    temperature: Annotated[float, Field(ge=0)] = 0.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    grammar: str | None = None
    """GBNF; honoured by models whose info says so, otherwise dropped (the caller validates anyway)."""
    json_schema: dict[str, Any] | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] = 0
    """How many alternatives per token to report; 0 reports none."""
    long: Literal["", "no", "segments", "pages"] = ""
    """How a local model may read a prompt beyond its context: all of it in segments (several calls), or a constant
    number of its pages. ``no``: it raises ContextTooLong. Empty: as the settings say, by default ``no``."""
    place: Place | None = Field(default=None, exclude=True)
    """Not part of what is asked: neither dumped nor hashed."""

    @model_serializer(mode="wrap")
    def _without_what_is_not_asked(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A request that does not ask for it has the digest that it had before there was such a field.
        found: dict[str, Any] = dump(self)
        if not self.long:
            found.pop("long", None)
        return found


class Usage(Frozen):
    """Tokens of one or several calls. ``prompt`` includes ``cached``."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0

    @property
    def total(self) -> int:
        """Tokens that count against ``--max-tokens``."""
        return self.prompt + self.completion

    def __add__(self, other: Usage) -> Usage:
        """Sum field by field."""
        if not (other.prompt or other.completion or other.cached):
            return self
        return Usage(
            prompt=self.prompt + other.prompt,
            cached=self.cached + other.cached,
            completion=self.completion + other.completion,
        )


class TokenLogprob(Frozen):
    """One generated token with its log-probability and the alternatives asked for."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


class Completion(Frozen):
    """A model's whole answer."""

    text: str
    model: str
    usage: Usage = Usage()
    finish: Literal["stop", "length"] = "stop"
    logprobs: tuple[TokenLogprob, ...] = ()
    ttft: float = 0.0
    """Seconds to the first token."""
    seconds: float = 0.0
    cached: bool = False
    """The answer of an equal call: nothing was computed for this one, and nothing is charged."""
    read: str = ""
    """How the prompt was read, where it was too long to be read whole."""


class ModelInfo(Frozen):
    """What the router knows of a model before calling it."""

    name: str
    kind: Literal["local", "openai", "litellm", "scripted"] = "local"
    tier: Literal["tiny", "small", "medium", "large"] = "small"
    """Size class: tiny under 0.4B parameters, small under 4B, medium under 40B, large above."""
    context: int = 4096
    """Tokens of prompt and answer together."""
    input_price: Decimal | None = Decimal(0)
    """Dollars per prompt token; None: unknown until the model is opened, or at all."""
    output_price: Decimal | None = Decimal(0)
    """Dollars per generated token; None as above."""
    grammar: bool = False
    """Honours ``ModelRequest.grammar``."""
    json_schema: bool = False
    logprobs: bool = False
    embeds: bool = False
    """An embedding model: it never answers a ModelRequest."""
    seconds_per_token: float | None = None
    """Generated-token latency where it is known; used to predict a plan's time."""
    seconds_per_prompt_token: float | None = None
    """Time to read one token where it is known."""
