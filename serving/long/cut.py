"""A long text in pieces of tokens. Pure: a text is the row of its tokens' texts, and cuts fall between two of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def words(text: str) -> list[str]:
    """Return ``text`` as words with the space before them: pieces for a model whose tokens are not known."""
    return re.findall(r"\s*\S+|\s+$", text)


def joined(pieces: Iterable[str | Sequence[int]]) -> list[str]:
    """Return an engine's token texts as text; a token that is a part of a character (bytes) is joined to the rest."""
    found: list[str] = []
    begun = b""
    for piece in pieces:
        begun += piece.encode() if isinstance(piece, str) else bytes(piece)
        try:
            found.append(begun.decode())
        except UnicodeDecodeError:
            continue
        begun = b""
    return [*found, begun.decode(errors="replace")] if begun else found


def segments(pieces: Sequence[str], size: int, *, overlap: int) -> list[str]:
    """Return all of a text in segments of at most ``size`` pieces, each beginning with the last ``overlap`` of the one
    before, so that what lies across a cut stands whole in one of the two. They are about equally long.
    """
    if len(pieces) <= size:
        return ["".join(pieces)]
    step = size - overlap
    if step <= 0:
        raise ValueError(f"an overlap of {overlap!r} leaves nothing of segments of {size!r} pieces; take less.")
    count = -(-(len(pieces) - overlap) // step)
    found = []
    for index in range(count):
        begin = index * (len(pieces) - overlap) // count
        end = (index + 1) * (len(pieces) - overlap) // count + overlap
        found.append("".join(pieces[begin:end]))
    return found


def pages(scores: Sequence[float], *, most: int, sink: int, recent: int) -> list[int]:
    """Return which ``most`` pages to read, in their order: the first ``sink``, the last ``recent``, then the best.

    Where ``most`` is less than those together, the first and the last ones go first.
    """
    total = len(scores)
    kept = dict.fromkeys([*range(min(sink, total)), *range(max(0, total - recent), total)])
    chosen = list(kept)[:most]
    rest = sorted((at for at in range(total) if at not in kept), key=lambda at: (-scores[at], at))
    return sorted([*chosen, *rest[: max(0, most - len(chosen))]])
