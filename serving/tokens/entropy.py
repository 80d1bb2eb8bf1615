"""Two models take turns in one answer: the large one speaks where the next word is uncertain.

"Entropy Adaptive Decoding: Dynamic Model Switching for Efficient Inference". Both must have one vocabulary. What is
watched is the mean entropy of the last tokens, of whichever model spoke. A model that takes over reads what the other
wrote; the paper's share of tokens leaves that out, and on a processor it is real work, so it is counted here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...errors import UsageError
from .decode import Cursor, Report, Sampler, Step, Want, entropy


@dataclass(frozen=True, slots=True)
class SwitchRule:
    """When to change. ``at`` is in nats: 0 leaves everything after the first run to the large model."""

    at: float = 0.6
    window: int = 5
    """Tokens whose entropy is averaged."""
    run: int = 4
    """Tokens that a model speaks at least, once it has taken over."""


class Switch:
    """Which model speaks next."""

    def __init__(self, rule: SwitchRule) -> None:
        """The small one begins."""
        self._rule = rule
        self._seen: deque[float] = deque(maxlen=rule.window)
        self._spoken = 0
        self.large = False

    def see(self, uncertainty: float) -> bool:
        """Take the entropy of the token just chosen; return whether the speaker changes."""
        self._seen.append(uncertainty)
        self._spoken += 1
        wanted = sum(self._seen) / len(self._seen) > self._rule.at
        if wanted == self.large or self._spoken < self._rule.run:
            return False
        self.large = wanted
        self._spoken = 0
        return True


class EntropySwitch:
    """The method. Raises UsageError for two vocabularies."""

    def __init__(self, small: Cursor, large: Cursor, rule: SwitchRule) -> None:
        """Share the cursors with other methods of the same models."""
        sizes = small.llama.vocabulary, large.llama.vocabulary
        probe = "def f(x):\n    return {'a': 1} # naïve 数 <|im_end|>"
        if small.llama.tokenize(probe) != large.llama.tokenize(probe):
            raise UsageError(f"the two models have different vocabularies (sizes {sizes!r}); choose two of one family.")
        self._small = small
        self._large = large
        self._rule = rule

    def steps(self, prompt: Sequence[int], want: Want, report: Report) -> Iterator[Step]:
        """As Method; ``passes`` counts the large model's."""
        sampler, switch, tokens = Sampler(want), Switch(self._rule), list(prompt)
        report.cached = self._small.known(tokens)
        while True:
            cursor = self._large if switch.large else self._small
            before = cursor.read
            known = len(cursor.held) and cursor.known(tokens)
            row = cursor.goto(tokens)
            # The newest token is read whoever chose it; one that reads nothing else has not missed any.
            missed = cursor.read - before - 1
            prompt_part = max(0, min(len(prompt), len(tokens) - 1) - known)
            if switch.large:
                report.passes += 1
                report.large_tokens += 1
                report.large_prompt += prompt_part
                report.large_catch_up += missed - prompt_part
            else:
                report.small_catch_up += missed - prompt_part
            step = Step(sampler(row), row)
            report.switches += switch.see(entropy(row))
            yield step
            tokens.append(step.token)
