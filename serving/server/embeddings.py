"""Vectors of texts: ``POST /v1/embeddings``, by the model that memory uses too."""

from __future__ import annotations

import base64
import struct
from collections.abc import Awaitable, Callable

import anyio.to_thread

from ...errors import RequestRefused, UnknownName
from ...settings import Settings
from .. import fetch
from ..embed import NAME, MiniLmEmbedder
from .answers import EmbeddingRow, Embeddings, EmbeddingUsage, ModelRow
from .asked import EmbeddingRequest

SIZE = 384
SLICE = 16
"""Texts between two looks at whether the client is still there."""


class EmbeddingDesk:
    """One embedding model; its file is loaded by the first request, and it computes one request at a time."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is loaded."""
        self._settings = settings
        self._embedder = MiniLmEmbedder(settings)
        self._one = anyio.CapacityLimiter(1)
        self._used = False

    async def answer(self, asked: EmbeddingRequest, gone: Callable[[], Awaitable[bool]]) -> Embeddings:
        """Return one vector per text; ends early when ``gone`` says that nobody waits any more.

        Raises UnknownName, RequestRefused, ModelUnavailable, ModelFileBad.
        """
        if asked.model not in ("", NAME):
            raise UnknownName("embedding model", asked.model, [NAME])
        if asked.dimensions not in (None, SIZE):
            raise RequestRefused(
                f"dimensions={asked.dimensions} is not offered; {NAME!r} has {SIZE}, leave it out.", param="dimensions"
            )
        texts = [asked.input] if isinstance(asked.input, str) else list(asked.input)
        vectors: list[list[float]] = []
        tokens = 0
        for begin in range(0, len(texts), SLICE):
            some = texts[begin : begin + SLICE]
            found, count = await anyio.to_thread.run_sync(self._embedder.embed_counted, some, limiter=self._one)
            self._used = True
            vectors += found
            tokens += count
            if await gone():
                raise RequestRefused("the client has left.", status=499)
        rows = [
            EmbeddingRow(index=index, embedding=_packed(vector) if asked.encoding_format == "base64" else vector)
            for index, vector in enumerate(vectors)
        ]
        usage = EmbeddingUsage(prompt_tokens=tokens, total_tokens=tokens)
        return Embeddings(data=tuple(rows), model=NAME, usage=usage)

    def row(self) -> ModelRow:
        """What ``/v1/models`` tells."""
        installed = fetch.installed(NAME, self._settings)
        return ModelRow(id=NAME, owned_by="shuntyard", context=256, resident=self._used, installed=installed)


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
