"""Stop an answer that goes round in circles or has lost its way, before its tokens are paid for.

After "Dynamic Inference for code completion" (stop what will not be accepted), as an analogue: their rule is learned
from accepted and rejected completions, this one needs no reward and no labels. It sees two things only: that the last
tokens repeat with a period, and that the model has long been unsure of its own choice. ``fitted`` sets the second
threshold from answers known to be good, so that at most a chosen share of them would have been stopped.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class AbortRule:
    """When to stop. ``watch`` starts on one answer."""

    loop: int = 48
    """Tokens that must repeat; 0 never looks. Three rounds of the period at least."""
    window: int = 32
    """Tokens over which the log-probability of the choices is averaged."""
    floor: float = -math.inf
    """The mean below which the answer is hopeless; the default never stops for it."""

    def watch(self) -> AbortWatch:
        """Return a watch for one answer."""
        return AbortWatch(self)

    def fitted(self, good: Sequence[Sequence[float]], *, rate: float = 0.0, margin: float = 0.5) -> AbortRule:
        """Return this rule with a floor that stops at most a share ``rate`` of ``good`` answers.

        Each answer is the log-probabilities of its tokens. Answers shorter than the window never stop. The floor lies
        ``margin`` nats lower still, since the lowest of a few answers is not the lowest there is.
        """
        lows = sorted(_lowest(item, self.window) for item in good)
        if not lows:
            return self
        # Strictly below the floor stops, so the answer at the floor itself goes on.
        return replace(self, floor=lows[min(int(rate * len(lows)), len(lows) - 1)] - margin)


class AbortWatch:
    """The rule at work on one answer."""

    def __init__(self, rule: AbortRule) -> None:
        """Nothing seen."""
        self._rule = rule
        self._tokens: deque[int] = deque(maxlen=max(rule.loop, 1))
        self._logs: deque[float] = deque(maxlen=rule.window)

    def see(self, token: int, log: float) -> str:
        """Take one token and its log-probability; return why to stop, empty to go on."""
        self._tokens.append(token)
        self._logs.append(log)
        rule = self._rule
        if rule.loop and len(self._tokens) == rule.loop:
            period = _period(list(self._tokens))
            if period:
                return f"the last {rule.loop} tokens repeat every {period}"
        if len(self._logs) == rule.window:
            mean = sum(self._logs) / rule.window
            if mean < rule.floor:
                return f"the mean log-probability of {rule.window} tokens is {mean:.2f}, below {rule.floor:.2f}"
        return ""


def _period(tokens: list[int]) -> int:
    """Return the smallest period of which ``tokens`` are three rounds or more; 0 without one."""
    for period in range(1, len(tokens) // 3 + 1):
        if tokens[period:] == tokens[:-period]:
            return period
    return 0


def _lowest(logs: Sequence[float], window: int) -> float:
    means = [sum(logs[end - window : end]) / window for end in range(window, len(logs) + 1)]
    return min(means, default=0.0)
