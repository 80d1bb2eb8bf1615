"""Who says yes when a rule says ask."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from ..steps import Step, ToolSpec, Verdict


class FlagApprover:
    """Says yes for the tools named beforehand (``--approve``, the ``approve`` setting); globs, ``*`` for all.

    It never says no: a tool that is not named goes on to the next way of asking.
    """

    def __init__(self, names: Iterable[str]) -> None:
        """Keep the names."""
        self._names = tuple(names)

    async def decide(self, step: Step, spec: ToolSpec, verdict: Verdict, preview: str) -> bool | None:
        """Return True for a named tool, otherwise None."""
        return True if any(fnmatchcase(spec.name, name) for name in self._names) else None
