"""An answer in a person's words against the data set's: its published rule, applied to what the sentence says.

Published: a number is right within 10 %; any other answer must be equal in small letters without punctuation and
articles. A bare answer is judged just so. Of a sentence, the number is the last one that the question has not named
(``42.3 million`` is 42,300,000, and 42.3 where the question asks for millions), and the name is the one that stands
first among the subjects of the question.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator

from ...case import Score
from .facts import SUBJECTS
from .search import mentioned, plain

MARGIN = 0.1
_NUMBER = re.compile(
    r"(?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][+-]?\d+)?(?:\s(thousand|million|billion|trillion)\b)?"
)
_SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}


def judge(text: str, *, question: str, target: str) -> Score:
    """Hold an answer against the data set's."""
    if not text.strip():
        return Score(value=0, answered=False, explanation="there is no answer")
    wanted = _float(target)
    said = _named(text, question) if wanted is None else _counted(text, question)
    right = any(normal(each) == normal(target) if wanted is None else _near(each, wanted) for each in said)
    answer = said[0] if said else ""
    why = "" if right else f"{answer!r} is not {target!r}" if answer else f"{target!r} is not in the answer"
    return Score(value=float(right), answer=answer, explanation=why)


def normal(text: str) -> str:
    """Return ``text`` as the data set compares it."""
    bare = "".join(char for char in text.casefold() if char not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def _named(text: str, question: str) -> list[str]:
    """What a text gives as a name: itself, or the first subject of the question that it mentions."""
    asked = mentioned(question)
    keys = [key for key in mentioned(text) if key in asked]
    return [SUBJECTS[keys[0]].name] if keys else [text]


def _counted(text: str, question: str) -> list[str]:
    """The last number of a text that the question has not named; nothing when there is none."""
    if _float(text) is not None:
        return [text.strip()]
    known = set(_numbers(question, question))
    return [number for number in _numbers(text, question) if number not in known][-1:]


def _numbers(text: str, question: str) -> Iterator[str]:
    for match in _NUMBER.finditer(text):
        scale = match[1] or ""
        number = float(match.group().removesuffix(scale).replace(",", ""))
        yield f"{number if not scale or scale in question else number * _SCALES[scale]:.12g}"


def _near(text: str, wanted: float) -> bool:
    number = _float(text)
    return number is not None and wanted * (1 - MARGIN) < number < wanted * (1 + MARGIN)


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def first_named(question: str) -> str:
    """Return the subject that a question names first; empty when it names none."""
    keys = mentioned(plain(question))
    return SUBJECTS[keys[0]].name if keys else ""
