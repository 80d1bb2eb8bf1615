"""Asks the person at the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import anyio
import anyio.to_thread

from ..errors import EditInvalid
from ..protocols import Edited
from ..steps import Step, ToolSpec, Verdict
from . import out
from .edits import read_edit


class TerminalApprover:
    """Shows the call and asks yes, no or edit, one question at a time; the display is paused meanwhile.

    To edit is to say yes to other arguments, a line each: ``path="b.txt"``. Ctrl-D, or an answer that is none of
    these three times, leaves the run waiting.
    """

    def __init__(self, pause: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        """Keep how to free the terminal."""
        self._pause = pause
        self._turn: anyio.Lock | None = None

    @staticmethod
    def possible() -> bool:
        """True when a person sits at both ends: keys on stdin, eyes on stderr."""
        return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()

    async def decide(self, step: Step, spec: ToolSpec, verdict: Verdict, preview: str) -> Edited | bool | None:
        """Ask; None when the person gave no answer."""
        if self._turn is None:
            self._turn = anyio.Lock()
        async with self._turn:
            return await anyio.to_thread.run_sync(
                self._ask, step.key.path, spec, verdict, preview, abandon_on_cancel=True
            )

    def _ask(self, path: str, spec: ToolSpec, verdict: Verdict, preview: str) -> Edited | bool | None:
        with self._pause():
            out.note(f"\n{path} wants to call {spec.name} ({spec.effect.value}): {verdict.reason}")
            out.note("\n".join(f"  {line}" for line in printable(preview).splitlines()))
            for _ in range(3):
                line = _typed("allow? [y/n/e] ")
                if not line:
                    return None
                word = line.strip().lower()
                if word in ("y", "yes"):
                    return True
                if word in ("n", "no"):
                    return False
                if word in ("e", "edit") and (changes := self._edits(spec)):
                    return Edited(changes)
        return None

    def _edits(self, spec: ToolSpec) -> dict[str, Any]:
        """Other arguments, by name; none when the person thought better of it."""
        names = ", ".join(spec.parameters.get("properties") or {})
        out.note(f"other arguments as NAME=VALUE, one a line, an empty line ends; the parameters are {names}")
        changes: dict[str, Any] = {}
        while (line := _typed("> ")) and line.strip():
            try:
                name, value = read_edit(line)
            except EditInvalid as error:
                out.note(error.message)
                continue
            changes[name] = value
        # Ctrl-D in the middle is no yes to the half.
        return changes if line else {}


def _typed(prompt: str) -> str:
    """The line that the person types; empty at the end of the input."""
    sys.stderr.write(prompt)
    sys.stderr.flush()
    return sys.stdin.readline()


def printable(text: str) -> str:
    """Return ``text`` with control characters spelt out: what is approved must be what is seen."""
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)
