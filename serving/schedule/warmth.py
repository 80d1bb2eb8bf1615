"""Which slot knows which prompt: the slot whose prompt is nearest is taken, and siblings do not compute twice.

A burst of calls with one long prefix, spread over free slots, computes the prefix once per slot: slots share
nothing while they work. So a call waits while a running one is about to know much more of its prompt than any
free slot or saved state does.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence

from .dispatch import Call

WORTH = 256
"""Prompt tokens that are worth waiting for, or worth a file."""
NEAR = 64
"""Prompt tokens that are sooner computed than fetched from a saved state."""
WIDTH = array("i").itemsize


def packed(tokens: Iterable[int]) -> bytes:
    """Return tokens as bytes, which compare fast."""
    return array("i", tokens).tobytes()


def unpacked(tokens: bytes) -> list[int]:
    """Return the tokens of ``packed``."""
    return array("i", tokens).tolist()


def shared(a: bytes, b: bytes) -> int:
    """Return how many leading tokens two packed prompts have in common."""
    low, high = 0, min(len(a), len(b)) // WIDTH
    while low < high:
        middle = (low + high + 1) // 2
        if a[low * WIDTH : middle * WIDTH] == b[low * WIDTH : middle * WIDTH]:
            low = middle
        else:
            high = middle - 1
    return low


class Warmth:
    """A ``Placement`` that knows the prompts of the slots.

    What it believes of a slot may be out of date (another process uses the engine too); then a call computes more
    than it had to, and nothing else happens.
    """

    def __init__(
        self,
        slots: int,
        *,
        saved: Callable[[bytes], int] = lambda tokens: 0,
        take: Callable[[int], bool] = lambda slot: True,
        give: Callable[[int], None] = lambda slot: None,
    ) -> None:
        """``saved`` tells how many leading tokens a saved state has; ``take`` and ``give`` lease a slot from others."""
        self._held = [b""] * slots
        self._used = [0] * slots
        self._coming: dict[int, bytes] = {}
        self._saved = saved
        self._take = take
        self._give = give
        self._turn = 0

    def held(self, slot: int) -> bytes:
        """The prompt that ``slot`` is believed to know."""
        return self._held[slot]

    def note(self, slot: int, tokens: bytes) -> None:
        """Believe that ``slot`` knows ``tokens``."""
        self._held[slot] = tokens

    def reset(self) -> None:
        """Believe nothing of any slot: the engine is a new one."""
        self._held = [b""] * len(self._held)

    def blocked(self, call: Call) -> bool:
        """Whether a running call will know ``WORTH`` tokens more of the prompt than can be had now."""
        ahead = max((shared(coming, call.tokens) for coming in self._coming.values()), default=0)
        if ahead < WORTH:
            return False
        idle = (shared(held, call.tokens) for slot, held in enumerate(self._held) if slot not in self._coming)
        return ahead - max(self._saved(call.tokens), *idle, 0) >= WORTH

    def awaited(self, slot: int, calls: Iterable[Call]) -> bool:
        """Whether one of ``calls`` waits for what ``slot`` is computing."""
        coming = self._coming.get(slot, b"")
        return any(
            shared(coming, call.tokens) >= WORTH and shared(coming, call.tokens) - self._saved(call.tokens) >= WORTH
            for call in calls
        )

    def choose(self, call: Call, free: Sequence[int]) -> int | None:
        """Return the free slot that knows most of the prompt, or the one not used for longest; None: all are taken."""
        saved = self._saved(call.tokens)

        def merit(slot: int) -> tuple[int, int, int]:
            known = shared(self._held[slot], call.tokens)
            # Where a saved state has much more, what the slot knows is no reason to take it.
            return -(known if known + NEAR > saved else 0), self._used[slot], slot

        for slot in sorted(free, key=merit):
            if self._take(slot):
                self._turn += 1
                self._used[slot] = self._turn
                self._coming[slot] = call.tokens
                return slot
        return None

    def ended(self, slot: int) -> None:
        """Give the slot back."""
        del self._coming[slot]
        self._give(slot)
