"""The one place where the server has an engine generate, and the count of what it cost."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from ...messages import Place
from ..engines import Call, Chunk, Engine, Straight
from .answers import PromptDetails, Usage


@dataclass(slots=True)
class Tally:
    """Tokens of one call as its engine counts them.

    An engine may report once for all choices or once per choice; llama.cpp does the latter, and then every report
    holds the whole prompt, which was computed once.
    """

    model: str = ""
    prompt: int = 0
    cached: int | None = None
    completion: int = 0
    reported: bool = False

    def take(self, usage: dict[str, Any]) -> None:
        """Count one report."""
        self.reported = True
        self.prompt = max(self.prompt, int(usage.get("prompt_tokens") or 0))
        self.completion += int(usage.get("completion_tokens") or 0)
        cached = int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0)
        self.cached = cached if self.cached is None else min(self.cached, cached)


@dataclass(slots=True)
class Meter:
    """What a request took: the sum over its calls."""

    began: float = field(default_factory=time.monotonic)
    arrived: float = field(default_factory=time.time)
    """Unix time."""
    first: float = 0.0
    """Seconds to the first chunk; 0 before it."""
    tallies: list[Tally] = field(default_factory=list)
    place: Place | None = None
    """Of its calls."""
    long: str = ""
    """How prompts beyond the context may be read (``places.Told``)."""
    read: str = ""
    """How one was read."""
    outlet: Callable[[bytes], bool] | None = None
    """A short way to the client for pieces of a stream that has begun, once all before them are sent."""

    @property
    def usage(self) -> Usage | None:
        """Tokens of all calls; None when an engine does not count."""
        if not all(tally.reported for tally in self.tallies):
            return None
        prompt, completion, cached = self.sums
        return Usage(
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=prompt + completion,
            prompt_tokens_details=PromptDetails(cached_tokens=cached),
        )

    @property
    def sums(self) -> tuple[int, int, int]:
        """Tokens of prompts, of completions, and of prompts that were warm, as far as they were reported."""
        return (
            sum(tally.prompt for tally in self.tallies),
            sum(tally.completion for tally in self.tallies),
            sum(tally.cached or 0 for tally in self.tallies),
        )


async def generate(
    engine: Engine, call: Call, meter: Meter, straight: Straight | None = None
) -> AsyncGenerator[Sequence[Chunk], None]:
    """Yield the chunks of ``call``, counted into ``meter``. Closing the generator stops the engine at once.

    Every generation of the server passes here and nowhere else; the place of the request goes with it. Plain text that
    ``straight`` takes is not yielded.
    """
    tally = Tally(engine.name)
    meter.tallies.append(tally)
    if meter.place is not None or straight is not None:
        call = replace(call, place=meter.place, straight=straight)
    async with aclosing(engine.stream(call)) as batches:
        async for batch in batches:
            if not meter.first:
                meter.first = time.monotonic() - meter.began
            for chunk in batch:
                if chunk.plain is None and (usage := chunk.value.get("usage")):
                    tally.take(usage)
            yield batch
