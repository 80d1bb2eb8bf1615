"""Files that a task wants written, told from those that it wants read by the words around their names."""

from __future__ import annotations

import re

_NAME = r"[`'\"]?((?:[\w-]+/)*[\w-]+\.[a-z]{2,4})\b"
_VERB = re.compile(
    r"\b(?:write|writing|save|saving|put|store|export|copy|create|record|note|collect|list|make|produce|prepare)\b[^.?!]*",
    re.IGNORECASE,
)
_PLACE = re.compile(rf"\b(?:to|into|in|as|file|called|named)\s+{_NAME}", re.IGNORECASE)
_SUBJECT = re.compile(rf"{_NAME}[`'\"]?\s+(?:should|must|shall|has to|needs to|is to|ought to|will)\b", re.IGNORECASE)
_OBJECT = re.compile(
    r"\b(?:need|want|like|make|create|produce|prepare|generate|build|write|give me|get me)\s+(?:me\s+)?"
    rf"(?:(?:an?|the|one|this)\s+)?(?:new\s+)?(?:file\s+)?(?:called\s+|named\s+)?{_NAME}",
    re.IGNORECASE,
)


def targets(task: str, known: str = "") -> list[str]:
    """Return the files that ``task`` wants written, as it names them, each once.

    A file is one that follows *to*, *into*, *in* or *as* in a sentence about writing, that *should* hold something, or
    that is needed or made. Files that the data (``known``) has are read.
    """
    said = [(match.start(1), match[1]) for pattern in (_SUBJECT, _OBJECT) for match in pattern.finditer(task)]
    for start, clause in _clauses(task):
        said += [(start + match.start(1), match[1]) for match in _PLACE.finditer(clause)]
    names = list(dict.fromkeys(name for _, name in sorted(said)))
    return [name for name in names if name.casefold() not in known.casefold()]


def _clauses(task: str) -> list[tuple[int, str]]:
    """What follows a verb of writing up to the end of its sentence, and where; dots in names of files end none."""
    hidden = re.sub(r"\.(?=[a-z]{2,4}\b)", "\0", task)
    return [(match.start(), task[match.start() : match.end()]) for match in _VERB.finditer(hidden)]
