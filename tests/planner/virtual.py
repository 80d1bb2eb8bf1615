"""An event loop whose clock jumps to the next timer: sleeps cost nothing, and a hang is an error at once."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


class Hang(Exception):
    """Raised when every task waits for something that no timer and no other task will bring."""


class _Selector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        found = super().select(0)
        if found or (timeout is not None and timeout <= 0):
            return found
        if timeout is None:
            raise Hang(f"nothing can happen any more at {self.now:.3f} s")
        self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def run(body: Callable[[], Awaitable[T]]) -> T:
    """Run ``body`` in virtual time; Hang when it can never end. Nothing in it may wait for a thread."""
    return anyio.run(body, backend_options={"loop_factory": VirtualLoop})
