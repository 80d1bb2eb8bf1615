"""The one door from synchronous code."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

T = TypeVar("T")


def run_sync(call: Callable[[], Awaitable[T]]) -> T:
    """Run ``call`` to its end and return its value.

    Without a running loop it runs here. Inside one (a notebook) it runs on a loop of its own in a
    thread, while this thread waits.
    """

    async def main() -> T:
        return await call()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return anyio.run(main)
    box: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            box.append(anyio.run(main))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, name="shuntyard-run-sync")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return box[0]
