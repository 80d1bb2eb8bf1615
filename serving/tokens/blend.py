"""Texts that were read alone are put together into one prompt, and only a share of them is read again.

After "CacheBlend: Fast Large Language Model Serving for RAG with Cached Knowledge Fusion", as an analogue: theirs
chooses, layer by layer, the tokens whose keys and values differ most; here a whole token is recomputed or not, and they
are the first ones of each text, which saw nothing of what stands before. llama.cpp takes the tokens of a sequence only
in order, so a hole cannot be filled later: each text is recomputed and attached from left to right.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from .binding import Llama, Row

SCRATCH = 1
"""The sequence that a text is read alone on."""


@dataclass(frozen=True, slots=True)
class Blended:
    """The logits after a composed prompt, and what it took."""

    row: Row
    total: int
    """Tokens of the prompt."""
    computed: int
    """Of them, those that were read now: beginning, question, recomputed ones; texts met for the first time are not
    among them."""
    first: int
    """Tokens of texts that had to be read alone, for the first time."""


class Blender:
    """Keeps the states of texts, the least recently used leaving over ``most`` bytes."""

    def __init__(self, llama: Llama, *, most: int = 256 << 20) -> None:
        """Sequences 0 and 1 of ``llama`` are used."""
        self._llama = llama
        self._most = most
        self._states: OrderedDict[str, bytes] = OrderedDict()

    def compose(
        self, beginning: Sequence[int], texts: Sequence[Sequence[int]], question: Sequence[int], *, recompute: float
    ) -> Blended:
        """Put the prompt together on sequence 0; ``recompute`` is the share of each text that is read again.

        0 reads none of it, 1 equals reading all. Raises ContextTooLong.
        """
        llama = self._llama
        llama.cut(0)
        at, computed, first = len(beginning), len(beginning), 0
        if beginning:
            llama.feed(beginning, 0)
        for text in texts:
            again = min(len(text), math.ceil(recompute * len(text)))
            if again < len(text):
                first += self._alone(text)
                llama.shift(SCRATCH, 0, -1, at)
            if again:
                llama.feed(text[:again], at)
            llama.copy(SCRATCH, 0, at + again, at + len(text))
            llama.cut(SCRATCH)
            at += len(text)
            computed += again
        row = llama.feed(question, at)
        return Blended(row, at + len(question), computed + len(question), first)

    def _alone(self, text: Sequence[int]) -> int:
        """Let the scratch sequence hold ``text`` read alone; return how many tokens were computed for it."""
        key = hashlib.sha256(b",".join(b"%d" % token for token in text)).hexdigest()
        self._llama.cut(SCRATCH)
        state = self._states.get(key)
        if state is not None:
            self._states.move_to_end(key)
            self._llama.restore(SCRATCH, state)
            return 0
        self._llama.feed(text, 0, sequence=SCRATCH)
        self._states[key] = self._llama.save(SCRATCH)
        while len(self._states) > 1 and sum(map(len, self._states.values())) > self._most:
            self._states.popitem(last=False)
        return len(text)
