"""One model on engines that speculate differently; each class of requests goes to the one that serves it faster."""

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
from .switch import Figures, Switch, Way, class_of

Heard = Callable[[ModelRequest, Mapping[str, Any]], None]
"""Is told of a request that was generated, and of the engine's timings."""


class SpeculatingModel:
    """As the model without speculation, token for token but for ties, and sooner where guessing pays.

    Each further engine takes as much memory as the first. It is started when a class is ready for its trial, and ends
    when no class uses it for as long as any engine may be idle.
    """

    def __init__(self, plain: Model, guessing: Callable[[Way], Awaitable[Model]], switch: Switch) -> None:
        """``guessing`` opens the model on the engine that speculates so."""
        self._plain = plain
        self._open = guessing
        self._opened: dict[Way, Model | None] = {"off": plain}
        self._opening = anyio.Lock()
        self._switch = switch

    @property
    def info(self) -> ModelInfo:
        """What it is."""
        return self._plain.info

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> Completion:
        """Answer, on the engine that is faster for such requests. Raises as the model without speculation."""
        model = await self._on(self._switch.choose(class_of(request)))
        return await model.complete(request, on_text=on_text)

    async def _on(self, way: Way) -> Model:
        """Return the model on the engine that goes ``way``; one that does not start fails no call."""
        async with self._opening:
            if way not in self._opened:
                self._opened[way] = None
                with suppress(ModelUnavailable):
                    self._opened[way] = await self._open(way)
        return self._opened[way] or self._plain

    async def count(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt: exact."""
        return await self._plain.count(messages)

    def figures(self) -> list[Figures]:
        """Return what was measured, class by class."""
        return self._switch.figures()


def hear(switch: Switch, *, way: Way, keep: Callable[[], None] = lambda: None) -> Heard:
    """Return what tells ``switch`` of the calls to one of the engines; ``keep`` is called after each."""

    def heard(request: ModelRequest, timings: Mapping[str, Any]) -> None:
        switch.note(
            class_of(request),
            way=way,
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
