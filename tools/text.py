"""``text_stats``: counts of a text."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from .spec import tool


@tool(seconds=0.01, stability="pure")
def text_stats(text: str | list[str], top: int = 5) -> dict[str, Any]:
    """Return {characters, words, lines, sentences, common} of a text; common is a list of {word, count}.

    Args:
        text: The text itself, or a list of lines; for a file use the result of read_file.
        top: How many of the most frequent words to list.
    """
    whole = "\n".join(text) if isinstance(text, list) else text
    words = re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", whole)
    ranked = sorted(Counter(word.lower() for word in words).items(), key=lambda item: (-item[1], item[0]))
    return {
        "characters": len(whole),
        "words": len(words),
        "lines": len(whole.splitlines()),
        "sentences": len(re.findall(r"[^.!?]*\w[^.!?]*(?:[.!?]+(?=\s|$)|\Z)", whole)),
        "common": [{"word": word, "count": count} for word, count in ranked[: max(top, 0)]],
    }
