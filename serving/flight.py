"""One generation for everybody who asks the same, read by whoever needs more of it next.

No task stands between the engine and a reader: a reader that finds nothing new reads from the engine itself, and the
others take what it found. So a lone reader costs nothing, one that leaves stops nobody, and one that is slow slows
the engine only when it is alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import anyio

from ..errors import ShuntyardError
from .engines import Chunk, Straight


class Source(Protocol):
    """An answer while it comes."""

    async def more(self, straight: Straight | None = None) -> list[Chunk]:
        """Return the next chunks but for what ``straight`` takes, none at the end; may be cancelled and resumed."""


class Flight:
    """A generation with its readers; it never outlives the last of them."""

    def __init__(
        self,
        begin: Callable[[], AbstractAsyncContextManager[Source]],
        *,
        keep: bool,
        ended: Callable[[Flight], None],
    ) -> None:
        """``begin`` gives the answer; without ``keep`` chunks are dropped once read, for one reader only.

        ``ended`` is called when nobody can join any more: it is whole, has failed, or was left.
        """
        self.chunks: list[Chunk] = []
        self.whole = False
        self._keep = keep
        self._ended = ended
        self._readers = 0
        self._over = False
        self._failure: Exception | None = None
        self._turn = asyncio.Lock()
        self._source: asyncio.Future[Source] = asyncio.get_running_loop().create_future()
        self._read = asyncio.Event()
        self.task = asyncio.ensure_future(self._run(begin))

    async def read(self, straight: Straight | None = None) -> AsyncGenerator[list[Chunk], None]:
        """Yield all chunks, also those that came before, but for what ``straight`` takes from a lone reader's.

        Raises what the generation raises.
        """
        self._readers += 1
        seen = 0

        def past(texts: Sequence[bytes]) -> bool:
            nonlocal seen
            if self._readers > 1 or straight is None or not straight(texts):
                return False
            if self._keep:
                self.chunks.append(Chunk.said(b"".join(texts)))
                seen += 1
            return True

        try:
            source = await asyncio.shield(self._source)
            while True:
                found = self.chunks[seen:]
                if found:
                    seen = len(self.chunks)
                    if not self._keep:
                        self.chunks.clear()
                        seen = 0
                    yield found
                elif self._over:
                    break
                else:
                    async with self._turn:
                        if seen == len(self.chunks) and not self._over:
                            await self._pull(source, past if straight is not None else None)
            if self._failure is not None:
                raise self._failure
        finally:
            self._readers -= 1
            if not self._readers and not self._over:
                await self._leave()

    async def _pull(self, source: Source, straight: Straight | None) -> None:
        try:
            found = await source.more(straight)
        except ShuntyardError as error:
            self._failure = error
            found = []
        self.chunks.extend(found)
        if not found:
            self._over = True
            self.whole = self._failure is None
            self._ended(self)
            self._read.set()

    async def _leave(self) -> None:
        self._over = True
        self._ended(self)
        self.task.cancel()
        # Who cancels a call may count on its slot being free afterwards.
        with anyio.CancelScope(shield=True):
            await asyncio.wait({self.task})

    async def _run(self, begin: Callable[[], AbstractAsyncContextManager[Source]]) -> None:
        try:
            async with begin() as source:
                self._source.set_result(source)
                await self._read.wait()
        except Exception as error:
            if self._source.done():
                raise
            self._over = True
            self._ended(self)
            self._source.set_exception(error)
            # Looked at, or asyncio complains when every reader has just left.
            self._source.exception()
