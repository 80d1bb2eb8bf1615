"""A prompt as an engine reads it, and what follows from it: its place in the queue, and what equals it."""

from __future__ import annotations

import hashlib
import itertools
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..messages import ModelRequest, Place
from .schedule.dispatch import Call
from .schedule.warmth import WIDTH, WORTH, packed, shared

_LONE = f"{secrets.token_hex(8)}-"
_CALLS = itertools.count()
"""What names applications of one call: nobody else can know it."""


class Known(Protocol):
    """Remembers how many tokens the beginnings of prompts are."""

    def prefix(self, key: str) -> int | None:
        """Return the tokens of the messages ``key``, when they are known."""

    def note_prefix(self, key: str, tokens: int) -> None:
        """Remember them."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Tokens, packed."""

    tokens: bytes
    prefix: int
    """How many of them are all messages but the last."""
    hint: bytes = b""
    """Of a prompt too short to be tokenised here: what tells slots that know its beginning from others."""

    @property
    def count(self) -> int:
        """How many tokens they are."""
        return len(self.tokens) // WIDTH

    @property
    def mark(self) -> bytes:
        """What a slot is believed to know afterwards."""
        return self.tokens or self.hint


def short(text: str) -> Prompt:
    """Return a prompt that stands for ``text`` without its tokens: it is too short for anybody to wait for."""
    # No token is negative, so it never looks like a prompt whose tokens are known.
    return Prompt(b"", 0, packed(-1 - byte for byte in text.encode("utf-8", "replace")[: WORTH - 1]))


def call_of(place: Place | None, prompt: Prompt) -> Call:
    """Return the call that waits in the queue; one without a place is an application by itself."""
    if place is None or not place.run:
        priority = place.priority if place is not None else 0.0
        app = f"{_LONE}{next(_CALLS)}"
        return Call(app=app, arrived=time.time(), priority=priority, tokens=prompt.mark, alone=True)
    return Call(
        app=place.run,
        arrived=place.arrived or time.time(),
        priority=place.priority,
        follows=place.follows,
        tokens=prompt.mark,
    )


async def prefix_of(
    said: Sequence[dict[str, Any]],
    tokens: bytes,
    leading: int | None,
    known: Known,
    tokenize: Callable[[Sequence[dict[str, Any]]], Awaitable[bytes]],
) -> int:
    """Return how many of a prompt's ``tokens`` its first ``leading`` messages are (None: all but the last).

    0 when they are too few to matter. ``tokenize`` makes a prompt of messages; ``known`` remembers what it found.
    """
    count = len(said) - 1 if leading is None else min(leading, len(said) - 1)
    if count < 1 or len(tokens) < WORTH * WIDTH:
        return 0
    begin, after = said[:count], said[count]
    key = hashlib.sha256(json.dumps([*begin, after["role"]]).encode()).hexdigest()
    found = known.prefix(key)
    if found is None:
        other = "\N{MIDDLE DOT}" if not after["content"].startswith("\N{MIDDLE DOT}") else "?"
        found = shared(tokens, await tokenize([*begin, {**after, "content": other}]))
        known.note_prefix(key, found)
    return found


def key_of(request: ModelRequest, prompt: Prompt) -> str:
    """Return what calls with the same answer have in common, at temperature 0."""
    asked = [request.max_tokens, request.seed, request.stop, request.grammar, request.json_schema, request.logprobs]
    return hashlib.sha256(prompt.tokens + json.dumps(asked).encode()).hexdigest()
