"""One model on two engines, of which one speculates; each class of requests goes to the one that serves it faster."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio

from ...errors import ModelUnavailable
from ...messages import Completion, Message, ModelInfo, ModelRequest
from ...protocols import Model
from ...settings import Settings, cache
from .profiles import host_of
from .switch import Figures, Switch, class_of

Heard = Callable[[ModelRequest, Mapping[str, Any]], None]
"""Is told of a request that was generated, and of the engine's timings."""


class SpeculatingModel:
    """As the model without speculation, token for token but for ties, and sooner where guessing pays.

    The second engine takes as much memory as the first. It is started when the first class is ready for a trial.
    """

    def __init__(self, plain: Model, guessing: Callable[[], Awaitable[Model]], switch: Switch) -> None:
        """``guessing`` opens the model on the engine that speculates."""
        self._plain = plain
        self._open = guessing
        self._guessing: Model | None = None
        self._tried = False
        self._opening = anyio.Lock()
        self._switch = switch

    @property
    def info(self) -> ModelInfo:
        """What it is."""
        return self._plain.info

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> Completion:
        """Answer, on the engine that is faster for such requests. Raises as the model without speculation."""
        guessing = await self._second() if self._switch.choose(class_of(request)) else None
        return await (guessing or self._plain).complete(request, on_text=on_text)

    async def _second(self) -> Model | None:
        """Return the model on the engine that speculates; None when that does not start, which fails no call."""
        async with self._opening:
            if not self._tried:
                with suppress(ModelUnavailable):
                    self._guessing = await self._open()
                self._tried = True
        return self._guessing

    async def count(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt: exact."""
        return await self._plain.count(messages)

    def figures(self) -> list[Figures]:
        """Return what was measured, class by class."""
        return self._switch.figures()


def hear(switch: Switch, *, on: bool, keep: Callable[[], None] = lambda: None) -> Heard:
    """Return what tells ``switch`` of the calls to one of the two engines; ``keep`` is called after each."""

    def heard(request: ModelRequest, timings: Mapping[str, Any]) -> None:
        switch.note(
            class_of(request),
            on=on,
            tokens=int(timings.get("predicted_n", 0)),
            accepted=int(timings.get("draft_n_accepted") or 0),
            seconds=float(timings.get("predicted_ms", 0.0)) / 1000,
        )
        keep()

    return heard


def kept(weights: Path, settings: Settings) -> tuple[Switch, Callable[[], None]]:
    """Return the switch of ``weights`` on this host, with what earlier processes learnt, and what keeps it.

    Of two processes that learn at once, the one that writes last is remembered.
    """
    host = hashlib.sha256(host_of(weights).model_dump_json().encode()).hexdigest()[:16]
    path = cache(settings) / "knobs" / f"switch-{host}.json"
    switch = Switch()
    with suppress(OSError):
        switch.load(path.read_text(encoding="utf-8"))

    def keep() -> None:
        # Not worth failing a call for.
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_suffix(f".{os.getpid()}.tmp")
            fresh.write_text(switch.dump(), encoding="utf-8")
            fresh.replace(path)

    return switch, keep
