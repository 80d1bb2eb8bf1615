"""Speculate or not, and how far ahead, per class of requests: by what each way costs here, never on faith.

The engine takes no word on speculation from a request, so there is an engine per way, and a class goes to the one that
served it faster. Without is tried first, then one way after the other. Trials are paid from an allowance, a share of
what the class would have cost without; a way that has won is no trial any more, and now and then a call goes another
way, to see whether that still holds. Tokens per target pass as in "Lookahead: An Inference Acceleration Framework for
Large Language Model with Lossless Generation Accuracy", seconds per token from the engine's own timings.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal, TypeAlias

from ...messages import Frozen, ModelRequest
from .texts import Kind

Way: TypeAlias = Literal["off", "short", "long"]
"""Without speculation, with guesses of a few tokens, with guesses of many."""
GUESSES: dict[Way, int] = {"short": 3, "long": 15}
"""Most tokens of a guess, in the order in which the ways are tried. A pass checks a guess and one token more, and
kernels compute four tokens at a time: of four, a pass cost 1.9 times one of one, of five 2.2, of eight 4.3, of sixteen
5.5 and of seventeen 5.9 (Qwen2.5-Coder-1.5B on two busy cores of an AMD EPYC; on idle ones four cost 2.9)."""
ALLOWANCE = 0.015
"""Share of a class's time that trials may lose. The bar is 3 %; as much is left for what a trial costs more than
was expected."""
NEEDED = 3
"""Calls of each way before a class is decided."""
WINDOW = 7
"""Calls that the decision looks back on: a class whose texts change is decided anew after half as many."""
WORST: dict[Way, float] = {"short": 1.3, "long": 1.6}
"""How slow a way is taken to be in a class that it was never tried in, as a ratio: plans of which one guess in fifteen
was right had 1.5 with guesses of fifteen; nothing had more than 1.04 with guesses of three."""
MARGIN = 0.03
"""Share by which speculation must win: less is noise."""
PROBE = 32
"""Every so many calls of a class that speculates goes without, and half-way between two of those one the other way."""
_SHORT = 8
"""Answers of fewer tokens tell nothing."""
_LONG = 600
"""Characters of a question that is mostly material, which an answer then repeats parts of."""


class Figures(Frozen):
    """What is known of one class."""

    kind: Kind
    way: Way
    """That its next calls go, trials aside."""
    seconds: dict[Way, float]
    """Per token, of the ways that were tried enough."""
    per_pass: float | None
    """Tokens per pass of the model with speculation: 1 says that no guess was right."""
    lost: float
    """Share of the time without speculation that trials have lost."""


@dataclass(slots=True)
class _Class:
    took: dict[Way, deque[float]] = field(default_factory=dict)
    """Seconds per token, newest last."""
    calls: int = 0
    noted: int = 0
    usual: float = 0.0
    """Seconds that all its calls would have taken without."""
    lost: float = 0.0
    """Seconds that calls with speculation took more than they would have without."""
    generated: int = 0
    """With speculation."""
    passes: int = 0

    def seconds(self, way: Way) -> float | None:
        """Seconds per token of ``way``; None: not tried enough."""
        found = self.took.get(way, ())
        return median(found) if len(found) >= NEEDED else None

    @property
    def way(self) -> Way:
        """The fastest way; one that speculates must win by more than noise."""
        off = self.seconds("off")
        known = {way: seconds for way in GUESSES if (seconds := self.seconds(way)) is not None}
        best = min(known, key=known.__getitem__, default=None)
        return best if best is not None and off is not None and known[best] <= off * (1 - MARGIN) else "off"

    def affords(self, way: Way) -> bool:
        """Whether the allowance pays for a call that goes ``way``."""
        off, own = self.seconds("off"), self.seconds(way)
        if off is None:
            return False
        slower = WORST[way] if own is None else max(own / off, 1.0)
        return self.lost + (slower - 1) * self.usual / self.noted <= ALLOWANCE * self.usual


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

    def choose(self, kind: Kind) -> Way:
        """Return which way the next call of ``kind`` goes."""
        seen = self._classes.setdefault(kind, _Class())
        seen.calls += 1
        untried = next((way for way in GUESSES if seen.seconds(way) is None), None)
        best = seen.way
        if untried is not None:
            # What a loser would cost again is saved for it.
            return untried if seen.affords(untried) else best
        others = [way for way in GUESSES if way != best]
        if best == "off":
            # The one that lost least may win by now.
            other = min(others, key=lambda way: seen.seconds(way) or 0.0)
            return other if seen.affords(other) else "off"
        if seen.calls % PROBE == 0:
            return "off"
        if seen.calls % PROBE == PROBE // 2:
            other = others[seen.calls // PROBE % len(others)]
            return other if seen.affords(other) else best
        return best

    def note(self, kind: Kind, *, way: Way, tokens: int, accepted: int, seconds: float) -> None:
        """Learn that a call generated ``tokens`` in ``seconds``, of which ``accepted`` were guessed right."""
        if tokens < _SHORT:
            return
        seen = self._classes.setdefault(kind, _Class())
        seen.took.setdefault(way, deque(maxlen=WINDOW)).append(seconds / tokens)
        off = seen.took.get("off")
        usual = median(off) * tokens if off else seconds
        seen.noted += 1
        seen.usual += usual
        if way != "off":
            seen.lost += max(0.0, seconds - usual)
            seen.generated += tokens
            seen.passes += max(1, tokens - accepted)

    def dump(self) -> str:
        """Return what is known as JSON, for ``load``."""
        known = {
            kind: {name: getattr(seen, name) for name in _COUNTS}
            | {"took": {way: list(found) for way, found in seen.took.items()}}
            for kind, seen in self._classes.items()
        }
        return json.dumps(known)

    def load(self, text: str) -> None:
        """Know what an earlier switch knew; a text that is none changes nothing."""
        try:
            self._classes = {kind: _read(seen) for kind, seen in json.loads(text).items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            return

    def figures(self) -> list[Figures]:
        """Return what is known, class by class."""
        ways: tuple[Way, ...] = ("off", *GUESSES)
        return [
            Figures(
                kind=kind,
                way=seen.way,
                seconds={way: seconds for way in ways if (seconds := seen.seconds(way)) is not None},
                per_pass=seen.generated / seen.passes if seen.passes else None,
                lost=seen.lost / seen.usual if seen.usual else 0.0,
            )
            for kind, seen in self._classes.items()
        ]


_COUNTS = ("calls", "noted", "usual", "lost", "generated", "passes")


def _read(seen: dict[str, Any]) -> _Class:
    took: dict[Way, deque[float]] = {
        way: deque(map(float, seen["took"][way]), maxlen=WINDOW) for way in ("off", *GUESSES) if way in seen["took"]
    }
    return _Class(took=took, **{name: seen[name] for name in _COUNTS})
