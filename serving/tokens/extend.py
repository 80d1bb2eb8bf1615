"""Longer prompts than the model was trained for: positions far back are shared by several tokens.

"LLM Maybe LongLM: Self-Extend LLM Context Window Without Tuning", in llama.cpp's way: once a stretch of ``width``
tokens is full, its positions are divided by ``group`` and all later ones move up. Neighbours keep exact positions, far
tokens keep coarse ones, and no position is larger than what training saw. Keys are turned once more at each division.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import UsageError
from .binding import Llama, Row


@dataclass(frozen=True, slots=True)
class Group:
    """``group`` 1 changes nothing; ``width`` is a multiple of it."""

    group: int = 4
    width: int = 512


class Extended:
    """One prompt on sequence 0, whose positions grow more slowly than its tokens."""

    def __init__(self, llama: Llama, group: Group) -> None:
        """Raises UsageError for a width that is no multiple of the group."""
        if group.group < 1 or group.width < group.group or group.width % group.group:
            raise UsageError(f"width {group.width!r} is no multiple of group {group.group!r}; choose another.")
        self._llama = llama
        self._group = group
        self._done = 0
        """Positions below are divided already."""
        self.last = 0
        """Positions used so far."""

    def read(self, ids: Sequence[int]) -> Row:
        """Read ``ids`` and return the logits after them. Raises ContextTooLong when the memory is full."""
        row: Row | None = None
        step = min(self._llama.load.batch, self._group.width)
        for begin in range(0, len(ids), step):
            self._squeeze()
            part = ids[begin : begin + step]
            row = self._llama.feed(part, self.last)
            self.last += len(part)
        if row is None:
            raise ValueError("no tokens to read; give at least one.")
        return row

    def answer(self, prompt: Sequence[int], limit: int) -> list[int]:
        """Return the likeliest answer of at most ``limit`` tokens."""
        row = self.read(prompt)
        found: list[int] = []
        while len(found) < limit and not self._llama.ends(token := int(row.argmax())):
            found.append(token)
            row = self.read([token])
        return found

    def _squeeze(self) -> None:
        """Divide every full stretch: ``width`` positions become ``width / group``, and what follows moves up."""
        llama, size, width = self._llama, self._group.group, self._group.width
        while size > 1 and self.last - self._done >= width:
            # All that is not divided yet moves together, so that no position is held twice on the way.
            begin = self._done * size
            llama.shift(0, self._done, -1, begin - self._done)
            llama.divide(0, begin, begin + width, size)
            self._done += width // size
            llama.shift(0, begin + width, -1, self._done - begin - width)
            self.last -= width - width // size
