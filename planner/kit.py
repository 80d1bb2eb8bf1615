"""What every planner is built from: the tools, and what they say of calls before they are made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..steps import ToolSpec
from .repair import Shape

Check = Callable[[str, Mapping[str, Any]], Awaitable[list[str]]]
"""Problems of a planned call that only its tool can see, worded for a model."""
Columns = Callable[[str, Mapping[str, Any]], Awaitable[Shape]]
"""Columns of the rows that a planned call will give, where its tool can tell."""


@dataclass(frozen=True, slots=True)
class Kit:
    """The tools of a run, for planners."""

    specs: Sequence[ToolSpec]
    check: Check | None = None
    shape: Columns | None = None
    on_repair: Callable[[Sequence[str]], None] | None = None
    """Hears the problems of every plan that goes back to its model."""
