"""Equal calls computed once: those under way share one generation, those that have ended their answer.

Only for calls whose answer is determined (temperature 0). Even so an engine's floats depend a little on what else
is computed in the same batch, so two generations of one prompt may differ in rare ties; a shared answer never does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import anyio

from .kept import Kept

T = TypeVar("T")
Hear = Callable[[str], None]


class Once(Generic[T]):
    """Shares work by key, and keeps the newest results while they weigh at most ``most`` together.

    ``weigh`` says what a result weighs; with ``most`` 0 nothing is kept and only calls under way are shared.
    """

    def __init__(self, weigh: Callable[[T], int], *, most: int) -> None:
        """Begin empty."""
        self._weigh = weigh
        self._kept: Kept[T] = Kept(most)
        self._flights: dict[str, _Flight[T]] = {}

    @property
    def weight(self) -> int:
        """What the kept results weigh."""
        return self._kept.weight

    def kept(self, key: str) -> T | None:
        """Return the kept result of ``key``."""
        return self._kept.get(key)

    async def share(self, key: str, work: Callable[[Hear], Awaitable[T]], hear: Hear | None) -> tuple[T, bool]:
        """Return the result of ``work``, and whether somebody else's call had begun it.

        ``work`` is given where its text goes; every caller hears all of it, a late one the beginning in one piece.
        The work ends early only when its last caller has gone; its failure is every caller's.
        """
        flight = self._flights.get(key)
        late = flight is not None and not flight.left
        if flight is None or flight.left:
            flight = self._flights[key] = _Flight(work)
            flight.task.add_done_callback(lambda _: self._landed(key, flight))
        return await flight.wait(hear), late

    def _landed(self, key: str, flight: _Flight[T]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        if flight.task.cancelled() or flight.task.exception() is not None:
            return
        result = flight.task.result()
        self._kept.put(key, result, self._weigh(result))


class _Flight(Generic[T]):
    """Work with those who wait for it; it never outlives the last of them."""

    def __init__(self, work: Callable[[Hear], Awaitable[T]]) -> None:
        self._heard: list[str] = []
        self._callers: dict[asyncio.Future[None], Hear | None] = {}
        self.left = False
        self.task: asyncio.Task[T] = asyncio.ensure_future(self._run(work))

    async def wait(self, hear: Hear | None) -> T:
        deaf: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._callers[deaf] = hear
        try:
            if self._heard:
                self._tell(deaf, "".join(self._heard))
            either: list[asyncio.Future[Any]] = [self.task, deaf]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if deaf.done():
                deaf.result()
            return self.task.result()
        finally:
            del self._callers[deaf]
            if not deaf.cancel():
                # Looked at, or asyncio complains when the caller was cancelled meanwhile.
                deaf.exception()
            if not self._callers and not self.task.done():
                self.left = True
                self.task.cancel()
                # Who cancels a call may count on its slot being free afterwards.
                with anyio.CancelScope(shield=True):
                    await asyncio.wait({self.task})

    async def _run(self, work: Callable[[Hear], Awaitable[T]]) -> T:
        return await work(self._hear)

    def _hear(self, text: str) -> None:
        self._heard.append(text)
        for deaf in list(self._callers):
            self._tell(deaf, text)

    def _tell(self, deaf: asyncio.Future[None], text: str) -> None:
        hear = self._callers[deaf]
        if hear is None or deaf.done():
            return
        try:
            hear(text)
        except Exception as error:
            # One caller's mistake is not the others'.
            deaf.set_exception(error)
