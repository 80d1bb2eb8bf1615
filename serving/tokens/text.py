"""Bytes of tokens become text: whole characters only, and nothing that may turn out to be a stop."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class Speech:
    """Text of one answer while it comes."""

    def __init__(self, stop: Sequence[str] = ()) -> None:
        """Nothing said."""
        self._stop = [item for item in stop if item]
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self.stopped = False
        """A stop was said; nothing more comes."""

    def take(self, piece: bytes) -> str:
        """Return what can be said for sure now."""
        self._held += self._decoder.decode(piece)
        found = [at for item in self._stop if (at := self._held.find(item)) >= 0]
        if found:
            self.stopped = True
            said, self._held = self._held[: min(found)], ""
            return said
        keep = max((_overlap(self._held, item) for item in self._stop), default=0)
        said, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return said

    def rest(self) -> str:
        """Return what was held back, once no more comes."""
        said = "" if self.stopped else self._held + self._decoder.decode(b"", final=True)
        self._held = ""
        return said


def _overlap(text: str, stop: str) -> int:
    """Return how long an ending of ``text`` begins ``stop``."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[-size:]):
            return size
    return 0
