"""Speculate or not, per class of requests: by what both cost here, never on faith.

The engine takes no word on speculation from a request, so there are two engines, and a class goes to the one that
served it faster. Off is tried first. Trials of speculation are paid from an allowance, a share of what the class would
have cost without; once it has won they are no trials any more, and now and then a call goes without, to see whether
that still holds. Tokens per target pass as in "Lookahead: An Inference Acceleration Framework for Large Language
Model with Lossless Generation Accuracy", seconds per token from the engine's own timings.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import asdict, dataclass, field
from statistics import median

from ...messages import Frozen, ModelRequest
from .texts import Kind

ALLOWANCE = 0.02
"""Share of a class's time that trials may lose. The bar is 3 %; a hundredth is left for what a trial costs more than
was expected."""
NEEDED = 3
"""Calls of each way before a class is decided."""
WINDOW = 7
"""Calls that the decision looks back on: a class whose texts change is decided anew after half as many."""
WORST = 1.1
"""How slow speculation is taken to be in a class that it was never tried in, as a ratio: n-grams had 1.08 at worst."""
MARGIN = 0.03
"""Share by which speculation must win: less is noise."""
PROBE = 32
"""Every so many calls of a class that speculates goes without."""
_SHORT = 8
"""Answers of fewer tokens tell nothing."""
_LONG = 600
"""Characters of a question that is mostly material, which an answer then repeats parts of."""


class Figures(Frozen):
    """What is known of one class."""

    kind: Kind
    speculates: bool
    """Whether its next calls do, trials aside."""
    off: float | None
    """Seconds per token without; None: not tried enough."""
    on: float | None
    per_pass: float | None
    """Tokens per pass of the model with speculation: 1 says that no guess was right."""
    lost: float
    """Share of the time without speculation that trials have lost."""


@dataclass(slots=True)
class _Class:
    off: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    on: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    calls: int = 0
    noted: int = 0
    usual: float = 0.0
    """Seconds that all its calls would have taken without."""
    lost: float = 0.0
    """Seconds that calls with speculation took more than they would have without."""
    generated: int = 0
    """With speculation."""
    passes: int = 0

    @property
    def wins(self) -> bool:
        """Whether speculation was faster, by more than noise."""
        if min(len(self.on), len(self.off)) < NEEDED:
            return False
        return median(self.on) <= median(self.off) * (1 - MARGIN)


def class_of(request: ModelRequest) -> Kind:
    """Return the class of a request by what it says itself; any division is safe, since each class is measured."""
    if request.role in ("compile", "repair", "replan"):
        return "plan"
    if request.json_schema is not None or request.grammar is not None:
        return "json"
    last = request.messages[-1].content if request.messages else ""
    return "echo" if "```" in last or len(last) >= _LONG else "chat"


class Switch:
    """Decides for every call, and learns from every call. Not to be shared between models."""

    def __init__(self) -> None:
        """Know nothing: everything is off at first."""
        self._classes: dict[Kind, _Class] = {}

    def choose(self, kind: Kind) -> bool:
        """Return whether the next call of ``kind`` speculates."""
        seen = self._classes.setdefault(kind, _Class())
        seen.calls += 1
        if len(seen.off) < NEEDED:
            return False
        if seen.wins:
            return seen.calls % PROBE != 0
        slower = max(median(seen.on) / median(seen.off), 1.0) if len(seen.on) >= NEEDED else WORST
        return seen.lost + (slower - 1) * seen.usual / seen.noted <= ALLOWANCE * seen.usual

    def note(self, kind: Kind, *, on: bool, tokens: int, accepted: int, seconds: float) -> None:
        """Learn that a call generated ``tokens`` in ``seconds``, of which ``accepted`` were guessed right."""
        if tokens < _SHORT:
            return
        seen = self._classes.setdefault(kind, _Class())
        (seen.on if on else seen.off).append(seconds / tokens)
        usual = median(seen.off) * tokens if seen.off else seconds
        seen.noted += 1
        seen.usual += usual
        if on:
            seen.lost += max(0.0, seconds - usual)
            seen.generated += tokens
            seen.passes += max(1, tokens - accepted)

    def dump(self) -> str:
        """Return what is known as JSON, for ``load``."""
        known = {
            kind: {**asdict(seen), "off": list(seen.off), "on": list(seen.on)} for kind, seen in self._classes.items()
        }
        return json.dumps(known)

    def load(self, text: str) -> None:
        """Know what an earlier switch knew; a text that is none changes nothing."""
        try:
            known = {
                kind: _Class(
                    off=deque(map(float, seen["off"]), maxlen=WINDOW),
                    on=deque(map(float, seen["on"]), maxlen=WINDOW),
                    **{name: seen[name] for name in ("calls", "noted", "usual", "lost", "generated", "passes")},
                )
                for kind, seen in json.loads(text).items()
            }
        except (ValueError, KeyError, TypeError, AttributeError):
            return
        self._classes = known

    def figures(self) -> list[Figures]:
        """Return what is known, class by class."""
        return [
            Figures(
                kind=kind,
                speculates=seen.wins,
                off=median(seen.off) if len(seen.off) >= NEEDED else None,
                on=median(seen.on) if len(seen.on) >= NEEDED else None,
                per_pass=seen.generated / seen.passes if seen.passes else None,
                lost=seen.lost / seen.usual if seen.usual else 0.0,
            )
            for kind, seen in self._classes.items()
        ]
