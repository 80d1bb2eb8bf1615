"""Runs calls in this process, on this event loop."""

from __future__ import annotations

from typing import Any

from ...protocols import Begin, Ctx, Toolset
from ...steps import Step


class InProcess:
    """The default executor: no hand-over, no copy, no queue.

    Blocking tools bring their own threads; one that is cancelled or out of time leaves its thread behind.
    """

    def __init__(self, toolset: Toolset) -> None:
        """Call the tools of ``toolset``."""
        self._toolset = toolset

    async def run(self, step: Step, ctx: Ctx, begin: Begin) -> Any:
        """Begin and call."""
        await begin()
        return await self._toolset.call(step, ctx)

    def where(self, tool: str) -> str:
        """Every tool runs here."""
        return "in this process"

    def close(self) -> None:
        """Nothing was started."""
