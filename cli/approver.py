"""Asks the person at the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import anyio
import anyio.to_thread

from ..steps import Step, ToolSpec, Verdict
from . import out


class TerminalApprover:
    """Shows the call and asks yes or no, one question at a time; the display is paused meanwhile.

    Ctrl-D, or an answer that is neither yes nor no three times, leaves the run waiting.
    """

    def __init__(self, pause: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        """Keep how to free the terminal."""
        self._pause = pause
        self._turn: anyio.Lock | None = None

    @staticmethod
    def possible() -> bool:
        """True when a person sits at both ends: keys on stdin, eyes on stderr."""
        return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()

    async def decide(self, step: Step, spec: ToolSpec, verdict: Verdict, preview: str) -> bool | None:
        """Ask; None when the person gave no answer."""
        if self._turn is None:
            self._turn = anyio.Lock()
        async with self._turn:
            return await anyio.to_thread.run_sync(
                self._ask, step.key.path, spec, verdict, preview, abandon_on_cancel=True
            )

    def _ask(self, path: str, spec: ToolSpec, verdict: Verdict, preview: str) -> bool | None:
        with self._pause():
            out.note(f"\n{path} wants to call {spec.name} ({spec.effect.value}): {verdict.reason}")
            out.note("\n".join(f"  {line}" for line in printable(preview).splitlines()))
            for _ in range(3):
                sys.stderr.write("allow? [y/n] ")
                sys.stderr.flush()
                line = sys.stdin.readline()
                if not line:
                    return None
                word = line.strip().lower()
                if word in ("y", "yes"):
                    return True
                if word in ("n", "no"):
                    return False
        return None


def printable(text: str) -> str:
    """Return ``text`` with control characters spelt out: what is approved must be what is seen."""
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)
