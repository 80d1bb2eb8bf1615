"""When a prompt is read elsewhere than its answer is written, as in "Splitwise: Efficient Generative LLM Inference
Using Phase Splitting": reading is bound by arithmetic, writing by memory, and the state can be carried between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Costs(Protocol):
    """What an instance takes, in seconds. A predictor that learns them fits here too."""

    def prefill(self, tokens: int) -> float:
        """To read ``tokens`` of a prompt."""

    def decode(self, beside: int) -> float:
        """For one token of each of ``beside`` answers that are written together."""

    def carry(self, tokens: int) -> float:
        """To save the state of ``tokens`` here, or to restore it."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Costs as plain numbers."""

    prefill_rate: float = 150.0
    """Prompt tokens read per second."""
    step: float = 0.02
    """Seconds for one token of one answer."""
    each: float = 0.005
    """Seconds more for every answer that is written beside it."""
    carry_base: float = 0.01
    carry_rate: float = 50_000.0
    """Tokens per second that are saved, or restored."""

    def prefill(self, tokens: int) -> float:
        """To read ``tokens``."""
        return tokens / self.prefill_rate

    def decode(self, beside: int) -> float:
        """For one token of each of ``beside`` answers."""
        return self.step + self.each * (beside - 1) if beside else 0.0

    def carry(self, tokens: int) -> float:
        """To save or restore."""
        return self.carry_base + tokens / self.carry_rate


@dataclass(frozen=True, slots=True)
class Weighed:
    """What a prompt costs read here and read elsewhere, in seconds."""

    here: float
    there: float

    @property
    def pays(self) -> bool:
        """Whether it is to be read elsewhere."""
        return self.there < self.here


def weigh(tokens: int, *, here: Costs, there: Costs, running: int = 0, ahead: int = 0) -> Weighed:
    """Compare reading ``tokens`` new prompt tokens where the answer will be written with a transfer from ``there``.

    Here the ``running`` answers stand still for as long as the prompt is read, so its seconds count for each of them,
    too. ``ahead`` is how many prompt tokens are still to be read there before it.
    """
    return Weighed(
        here=here.prefill(tokens) * (1 + running),
        there=there.prefill(ahead + tokens) + there.carry(tokens) + here.carry(tokens),
    )
