"""How much a page has to do with a question, by its words; the same for the same texts, everywhere."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence


def by_words(question: str, texts: Sequence[str]) -> list[float]:
    """Return a score per text: words of ``question`` in it, rare ones count more, repeated ones less each time."""
    found = [Counter(_words(text)) for text in texts]
    spread = Counter(word for counts in found for word in counts)
    asked = set(_words(question))
    weight = {word: math.log(1 + len(texts) / spread[word]) for word in asked if spread[word]}
    return [
        sum(value * counts[word] / (counts[word] + 1) for word, value in weight.items()) if counts else 0.0
        for counts in found
    ]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
