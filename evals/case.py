"""What an evaluation is made of: cases, what a solver made of one, and how right that was."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from ..messages import Frozen, Usage

Split = Literal["dev", "test"]
_DEV_SHARE = 5
"""One case in this many is a dev case."""


class Case(Frozen):
    """One question with what is right. ``input`` goes to the solver, ``target`` to the scorer alone."""

    id: str
    category: str = ""
    """Figures are given per category and over all; empty: the suite has just one."""
    input: JsonValue
    target: JsonValue = None
    meta: dict[str, JsonValue] = {}
    """What a scorer or a solver needs beside them (a language, the tools on offer)."""

    @property
    def digest(self) -> str:
        """Hash of all that could change the result: a changed case is another case, and runs again."""
        text = json.dumps(self.model_dump(), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]

    @property
    def split(self) -> Split:
        """``dev`` for one case in five, by hash of its id: the same for ever and on every machine."""
        number = int.from_bytes(hashlib.sha256(self.id.encode()).digest()[:4])
        return "dev" if number % _DEV_SHARE == 0 else "test"


class Output(Frozen):
    """What a solver made of a case; an error is an output too, and scores nothing."""

    text: str = ""
    """The answer as a person would read it."""
    value: JsonValue = None
    """The answer as data, where the suite's scorer wants data (calls, a plan)."""
    error: str = ""
    """``code: message`` when there is no answer."""
    usage: Usage = Usage()
    cost: Decimal | None = Decimal(0)
    """Dollars; None when the price is not known."""
    seconds: float = 0.0
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    """How sure the solver says it is, where it says; for calibration."""
    transcript: tuple[dict[str, Any], ...] = ()
    """What was said and done, in order: ``{"role": ..., "content": ...}`` or ``{"call": ..., "result": ...}``."""


class Score(Frozen):
    """How right an output is."""

    value: Annotated[float, Field(ge=0, le=1)]
    """1 is right; between 0 and 1 is partly right."""
    answered: bool = True
    """False when there was nothing to judge (an error, no answer): the value is 0 then."""
    answer: str = ""
    """What was taken as the answer."""
    explanation: str = ""
    """Why it is not right; empty when it is."""
    parts: dict[str, float] = {}
    """Further figures of 0 to 1, averaged beside the value (``tools``, ``dependencies``)."""

    @property
    def letter(self) -> Literal["C", "I", "P", "N"]:
        """Correct, incorrect, partly, no answer: the letters that inspect_ai uses."""
        if not self.answered:
            return "N"
        return "C" if self.value == 1 else "I" if self.value == 0 else "P"
