"""A budget for thoughts: a model that reasons before it answers is stopped when it is sure, or at a cap, and answers.

The thought is generated in blocks, over anything that reports log-probabilities and goes on with an assistant's
message. A block is sure when the entropy of its tokens is low; after several sure ones in a row more thinking changes
little, and the answer is asked for. The stop by entropy is the half of "SwiReasoning: Switch-Thinking in Latent and
Explicit for Pareto-Superior Reasoning LLMs" that can be had from outside of a model. The engine has no budget
of its own for thoughts, so the cap is kept here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from ..errors import UsageError
from ..messages import Completion, Frozen, Message, ModelRequest, TokenLogprob, Usage
from ..protocols import Model

Ended = Literal["answered", "sure", "cap"]
"""The model came to its end by itself; it was sure; its budget was spent."""


class ThinkOptions(Frozen):
    """How long a model may think. Entropies are in nats, of the reported alternatives and one for all others."""

    cap: Annotated[int, Field(gt=0)] = 512
    """Tokens of thought at most."""
    block: Annotated[int, Field(gt=0)] = 16
    """Tokens that are judged together."""
    sure: Annotated[float, Field(ge=0)] = 0.25
    """Mean entropy of a block up to which it is sure; 0: none ever is."""
    blocks: Annotated[int, Field(gt=0)] = 3
    """Sure blocks in a row that end the thought."""
    answer: Annotated[int, Field(gt=0)] = 64
    """Tokens of the answer that is asked for then."""
    close: str = "\nSo the answer is:"
    """What ends the thought; for a model with marked thoughts their end, e.g. ``</think>``."""
    alternatives: Annotated[int, Field(ge=2, le=20)] = 5


@dataclass(frozen=True, slots=True)
class Thought:
    """An answer and what it took."""

    completion: Completion
    """Thought, its close and the answer as one text; usage of all calls. No prompt token is counted as computed twice
    where the engine keeps it: ``usage.cached`` has the rest."""
    answer: str
    ended: Ended
    tokens: int
    """Of the thought."""
    saved: int
    """Tokens of the cap that were not used because the model was sure; 0 otherwise."""
    entropies: tuple[float, ...]
    """Per block."""


class Certainty:
    """Decides after every block of tokens whether to go on. Knows no model."""

    def __init__(self, options: ThinkOptions) -> None:
        """Nothing has been thought yet."""
        self._options = options
        self._row = 0
        self.entropies: list[float] = []

    def take(self, tokens: tuple[TokenLogprob, ...]) -> bool:
        """Judge a block; True when the thought is to end. A block without log-probabilities is never sure."""
        entropy = sum(entropy_of(token) for token in tokens) / len(tokens) if tokens else math.inf
        self.entropies.append(entropy)
        self._row = self._row + 1 if tokens and entropy <= self._options.sure and self._options.sure else 0
        return self._row >= self._options.blocks


def entropy_of(token: TokenLogprob) -> float:
    """Return the entropy of a token's alternatives, those not reported taken as one: an estimate from below."""
    top = [math.exp(min(0.0, logprob)) for _, logprob in token.top] or [math.exp(min(0.0, token.logprob))]
    rest = max(0.0, 1.0 - sum(top))
    return -sum(p * math.log(p) for p in (*top, rest) if p > 0)


async def think(
    model: Model,
    request: ModelRequest,
    *,
    options: ThinkOptions | None = None,
    on_text: Callable[[str], None] | None = None,
) -> Thought:
    """Answer ``request`` after a thought within its budget; grammar and schema of the request hold for the answer only.

    Raises UsageError when the model reports no log-probabilities, and what ``complete`` raises.
    """
    options = options or ThinkOptions()
    if not model.info.logprobs:
        raise UsageError(
            f"{model.info.name!r} reports no log-probabilities, by which a thought is ended; choose a local model, or "
            "set max_tokens instead."
        )
    certainty, text, tokens, usage = Certainty(options), "", 0, Usage()
    ended: Ended = "cap"
    while tokens < options.cap:
        part = await model.complete(_block(request, text, options, tokens), on_text=on_text)
        text, usage, tokens = text + part.text, usage + part.usage, tokens + part.usage.completion
        sure = certainty.take(part.logprobs)
        if part.finish == "stop" or not part.usage.completion:
            ended = "answered"
            break
        if sure:
            ended = "sure"
            break
    entropies = tuple(certainty.entropies)
    if ended == "answered" and not (request.grammar or request.json_schema):
        done = Completion(text=text, model=part.model, usage=usage)
        return Thought(done, answer=text, ended=ended, tokens=tokens, saved=0, entropies=entropies)
    if on_text is not None:
        on_text(options.close)
    last = request.model_copy(update={"messages": _said(request, text + options.close), "max_tokens": options.answer})
    answer = await model.complete(last, on_text=on_text)
    whole = answer.model_copy(update={"text": text + options.close + answer.text, "usage": usage + answer.usage})
    saved = options.cap - tokens if ended == "sure" else 0
    return Thought(whole, answer=answer.text, ended=ended, tokens=tokens, saved=saved, entropies=entropies)


def _block(request: ModelRequest, text: str, options: ThinkOptions, tokens: int) -> ModelRequest:
    return request.model_copy(
        update={
            "messages": _said(request, text),
            "max_tokens": min(options.block, options.cap - tokens),
            "logprobs": options.alternatives,
            "grammar": None,
            "json_schema": None,
        }
    )


def _said(request: ModelRequest, text: str) -> tuple[Message, ...]:
    return (*request.messages, Message(role="assistant", content=text)) if text else request.messages
