"""Task texts made comparable: normalised for sameness, masked for likeness, cut into terms for search."""

from __future__ import annotations

import re

_QUOTED = re.compile(r"\"[^\"]*\"|“[^”]*”|`[^`]*`|(?<!\w)'[^']*'(?!\w)")
_URL = re.compile(r"\bhttps?://\S+")
_FILE = re.compile(r"(?:[\w.~-]*/)*[\w-]+\.(?P<kind>[a-z][a-z0-9]{0,4})\b|(?:[\w.~-]+/)+[\w.-]*", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.])[-+]?[$€£]?\d[\d.,:/-]*+(?!(?:st|nd|rd|th)\b)%?")
_WORD = re.compile(r"[^\W_]+")
_IDLE = frozenset(
    "a an and any are as at be been but by can could do does for from have i if in into is it its me my of on or our "
    "please should so some that the their them then there these they this to us was we were what where which who will "
    "with would you your".split()
)
_SPACE = re.compile(r"\s+")


def normal(task: str) -> str:
    """Return ``task`` without differences in case, spacing and closing punctuation; numbers and names stay."""
    return _SPACE.sub(" ", task).strip().rstrip(".!?").casefold().strip()


def masked(task: str) -> str:
    """Return ``task`` with quotations, addresses, file names and numbers replaced by what kind of thing they are."""
    text = _QUOTED.sub(" text ", task)
    text = _URL.sub(" address ", text)
    text = _FILE.sub(lambda found: f" {found['kind'] or ''} file ", text)
    text = _NUMBER.sub(" number ", text)
    return _SPACE.sub(" ", text).strip().casefold()


def terms(text: str) -> list[str]:
    """Return the distinct words of a masked text that say something, without their English endings."""
    found = dict.fromkeys(_stem(word) for word in _WORD.findall(text.casefold()) if word not in _IDLE)
    return list(found)


def _stem(word: str) -> str:
    if len(word) > 4:
        for ending, instead in (("ies", "y"), ("ing", ""), ("est", ""), ("ed", ""), ("es", ""), ("er", ""), ("e", "")):
            if word.endswith(ending) and len(word) - len(ending) >= 3:
                return word[: -len(ending)] + instead
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        return word[:-1]
    return word
