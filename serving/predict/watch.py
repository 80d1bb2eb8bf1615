"""Corrections of a host's constants by the calls that are made anyway."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...errors import ShuntyardError
from .host import PaceStore
from .measure import refit
from .shape import Shape, read_shape
from .work import Setup


class Watch:
    """Learns from the calls of one model: those that were alone in this process all the time."""

    EVERY = 2
    """Observations between two writes."""

    def __init__(self, store: PaceStore, weights: Path, setup: Setup) -> None:
        """Read nothing yet: most processes make a call or none."""
        self._store = store
        self._weights = weights
        self._setup = setup
        self._shape: Shape | None = None
        self._under_way = 0
        self._crowded = False
        self._waiting: list[dict[str, Any]] = []

    @contextmanager
    def call(self) -> Iterator[Callable[[dict[str, Any]], None]]:
        """Surround one generation; give what comes the engine's ``timings``."""
        self._crowded = self._under_way > 0
        self._under_way += 1
        try:
            yield self._take
        finally:
            self._under_way -= 1

    def _take(self, timings: dict[str, Any]) -> None:
        if self._crowded or self._under_way > 1:
            return
        self._waiting.append(timings)
        if len(self._waiting) >= self.EVERY:
            self.learn()

    def learn(self) -> None:
        """Learn from the calls so far and keep it; what cannot be kept is not worth a failed call."""
        waiting, self._waiting = self._waiting, []
        try:
            if self._shape is None:
                self._shape = read_shape(self._weights)
            known = self._store.load()
            learnt = [refit(known.pace, self._shape, self._setup, timings) for timings in waiting]
            if any(learnt):
                self._store.save(known)
        except ShuntyardError:
            return
