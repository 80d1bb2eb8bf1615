"""Every model that could be asked, from every source, under one name each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import anyio

from ..errors import UnknownName
from ..messages import ModelInfo
from ..protocols import Model, ModelSource


@runtime_checkable
class Installable(Protocol):
    """A source that knows which of its models can be opened without a download."""

    def installed(self, name: str) -> bool:
        """Return whether the model's bytes are here."""


class Catalogue:
    """The models of several sources by name; of two with the same name the earlier source's counts.

    A model is opened once and then kept: eight calls at once start one engine. A failed opening is not
    kept, so that the next call tries again.
    """

    def __init__(self, sources: Sequence[ModelSource]) -> None:
        """Keep the sources; nothing is loaded."""
        self._sources = tuple(sources)
        self._models: dict[str, Model] = {}
        self._locks: dict[str, anyio.Lock] = {}

    def infos(self) -> tuple[ModelInfo, ...]:
        """What could be opened, in the order of the sources, without loading anything."""
        found: dict[str, ModelInfo] = {}
        for source in self._sources:
            for info in source.infos():
                found.setdefault(info.name, info)
        return tuple(found.values())

    def info(self, name: str) -> ModelInfo:
        """What is known of one model; exact prices of a provider's model only once it is open.

        Raises UnknownName with the nearest known names.
        """
        if name in self._models:
            return self._models[name].info
        return self._find(name)[1]

    def installed(self, name: str) -> bool:
        """Return whether the model opens without a download; raises UnknownName."""
        source, _ = self._find(name)
        return source.installed(name) if isinstance(source, Installable) else True

    async def open(self, name: str) -> Model:
        """Return the model, opened once; may download and load, so it can take minutes the first time.

        Raises UnknownName, ModelUnavailable and what else its source raises.
        """
        if name in self._models:
            return self._models[name]
        source, _ = self._find(name)
        async with self._locks.setdefault(name, anyio.Lock()):
            if name not in self._models:
                self._models[name] = await source.open(name)
            return self._models[name]

    def _find(self, name: str) -> tuple[ModelSource, ModelInfo]:
        for source in self._sources:
            for info in source.infos():
                if info.name == name:
                    return source, info
        known = [info.name for info in self.infos()]
        raise UnknownName("model", name, known, mend="`shuntyard models list` shows them.")
