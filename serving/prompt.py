"""A prompt as an engine reads it, and what follows from it: its place in the queue, and what equals it."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from dataclasses import dataclass

from ..messages import ModelRequest
from .schedule.dispatch import Call
from .schedule.warmth import WIDTH


@dataclass(frozen=True, slots=True)
class Prompt:
    """Tokens, packed."""

    tokens: bytes
    prefix: int
    """How many of them are all messages but the last."""

    @property
    def count(self) -> int:
        """How many tokens they are."""
        return len(self.tokens) // WIDTH


def call_of(request: ModelRequest, prompt: Prompt) -> Call:
    """Return the call that waits in the queue; one without a place is an application by itself."""
    place = request.place
    if place is None or not place.run:
        return Call(app=uuid.uuid4().hex, arrived=time.time(), tokens=prompt.tokens)
    return Call(
        app=place.run,
        arrived=place.arrived or time.time(),
        priority=place.priority,
        follows=place.follows,
        tokens=prompt.tokens,
    )


def key_of(request: ModelRequest, prompt: Prompt) -> str:
    """Return what calls with the same answer have in common, at temperature 0."""
    asked = [request.max_tokens, request.seed, request.stop, request.grammar, request.json_schema, request.logprobs]
    return hashlib.sha256(prompt.tokens + json.dumps(asked).encode()).hexdigest()
