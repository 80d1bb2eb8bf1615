"""What a pass of several tokens costs on this processor, in passes of one: measured, never assumed."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence

from .binding import Llama, Tokens

SIZES = {1: 3, 2: 2, 4: 2, 8: 1, 16: 1, 32: 1}
"""Tokens of the passes that are timed and how often each is, of which the fastest counts: what else the machine does
only makes a pass slower."""
_LEARN = 0.1
"""Share of a new measurement in what is believed afterwards."""


class Pace:
    """Seconds of a pass: those of its size, and for every token those of looking back at all that came before it."""

    def __init__(self, sizes: Sequence[int], seconds: Sequence[float]) -> None:
        """``seconds`` are of passes of ``sizes`` tokens, the first of them 1, that have nothing before them."""
        self._sizes = tuple(sizes)
        self._seconds = tuple(seconds)
        self._back = 0.0
        """Seconds of a token for each one before it."""

    def at(self, before: int) -> Callable[[int], float]:
        """Return what tells the cost of a pass over one token and some guesses when ``before`` tokens came before."""
        back = self._back * before
        one = self._seconds[0] + back
        return lambda guesses: (self._alone(guesses + 1) + back * (guesses + 1)) / one

    def note(self, guesses: int, before: int, seconds: float) -> None:
        """Learn what a pass took: one without guesses tells what looking back costs."""
        if not guesses and before:
            self._back += _LEARN * (max(0.0, seconds - self._seconds[0]) / before - self._back)

    def _alone(self, size: int) -> float:
        """Seconds of a pass, on the line through the nearest two sizes."""
        high = min(max(1, bisect_left(self._sizes, size)), len(self._sizes) - 1)
        (begin, end), (less, more) = self._sizes[high - 1 : high + 1], self._seconds[high - 1 : high + 1]
        return less + (more - less) / (end - begin) * (size - begin)

    @classmethod
    def measured(cls, llama: Llama, *, scratch: int) -> Pace:
        """Time passes on the sequence ``scratch``, which is empty afterwards: as long as some 40 tokens take."""
        sizes = [size for size in SIZES if size <= llama.load.batch]
        took = [min(_seconds(llama, scratch, size) for _ in range(SIZES[size])) for size in sizes]
        # A larger pass is never cheaper; one that seems so was timed while the machine did something else.
        for index in range(len(took) - 2, -1, -1):
            took[index] = min(took[index], took[index + 1])
        return cls(sizes, took)


def _seconds(llama: Llama, scratch: int, size: int) -> float:
    llama.cut(scratch)
    batch = Tokens()
    for position in range(size):
        batch.add(0, position, (scratch,), output=True)
    begin = time.monotonic()
    llama.run(batch)
    took = time.monotonic() - begin
    llama.cut(scratch)
    return took
