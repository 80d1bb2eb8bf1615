"""Whether a saved prompt state is worth what it takes, and which of several is worth least: pure functions.

A state is worth the seconds that reading its prompt takes, less those of restoring it. Where room is short the one
goes whose credit is lowest: its worth per byte for every use, counted from the credit of what went last before. So what
is used again and again, and what is dear to compute, stays longer, and what is used no more is overtaken.
After "Cost-Aware WWW Proxy Caching Algorithms" (GreedyDual-Size), with uses added up as in "Improving WWW Proxies
Performance with Greedy-Dual-Size-Frequency Caching Policy".
"""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20
LEARN = 0.25
"""Share of a new measurement in what is believed afterwards."""


@dataclass(slots=True)
class Speeds:
    """What an engine and its disk take here: usual values, corrected by what was measured."""

    token: float = 1e-3
    """Seconds to read one token of a prompt."""
    token_bytes: float = 30_000.0
    """Of one token in a state."""
    write: float = 2.5e-9
    """Seconds to save a byte: written by the engine, and hashed."""
    restore: float = 2.5e-9
    """Seconds to restore a byte."""

    def read(self, tokens: int, seconds: float) -> None:
        """Learn that ``tokens`` of a prompt took ``seconds``."""
        if tokens > 0 and seconds > 0:
            self.token += LEARN * (seconds / tokens - self.token)

    def saved(self, tokens: int, size: int, seconds: float) -> None:
        """Learn that a state of ``tokens`` and ``size`` bytes took ``seconds`` to save."""
        if tokens > 0 and size > 0:
            self.token_bytes += LEARN * (size / tokens - self.token_bytes)
            self.write += LEARN * (seconds / size - self.write)

    def restored(self, size: int, seconds: float) -> None:
        """Learn that one of ``size`` bytes took ``seconds`` to restore."""
        if size > 0:
            self.restore += LEARN * (seconds / size - self.restore)

    def declined(self) -> None:
        """Note that saving or restoring did not seem to pay: what is not done is not measured.

        So what is believed of files goes back to what is usual, bit by bit, and a disk or an engine that was busy once
        is tried again.
        """
        usual = Speeds()
        self.write += LEARN * (usual.write - self.write)
        self.restore += LEARN * (usual.restore - self.restore)


@dataclass(frozen=True, slots=True)
class Worth:
    """What a state costs and saves, in seconds."""

    computing: float
    """To read its prompt instead."""
    saving: float
    restoring: float
    size: float
    """Bytes."""

    @property
    def gain(self) -> float:
        """Seconds that one use saves."""
        return self.computing - self.restoring

    def pays(self, uses: float = 1.0) -> bool:
        """Whether saving it pays, when it is used ``uses`` times."""
        return uses * self.gain > self.saving


def worth_keeping(tokens: int, speeds: Speeds, *, size: int = 0) -> Worth:
    """Return what the state of a prompt of ``tokens`` is worth; ``size`` is its bytes where they are known."""
    count = size or tokens * speeds.token_bytes
    return Worth(tokens * speeds.token, count * speeds.write, count * speeds.restore, count)


def credit(gain: float, size: float, *, had: float = 0.0, level: float = 0.0) -> float:
    """Return the credit of a state that is used now: milliseconds per MiB that this saves, beyond what it had.

    ``level`` is the highest credit that had to go so far.
    """
    return max(had, level) + 1000 * max(0.0, gain) / max(1.0, size) * MIB
