"""Runs calls in this process, on this event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ...steps import Step


class InProcess:
    """The default executor: no hand-over, no copy. Blocking tools bring their own threads."""

    async def run(self, call: Callable[[], Awaitable[Any]], step: Step) -> Any:
        """Await ``call``."""
        return await call()
