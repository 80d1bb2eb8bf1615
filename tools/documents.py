"""Folders of texts as two tables: one row per text, and one row per line, so that SQL finds the longest text, counts
words, reads the text it wants, and picks lines out of all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .workspace import Found, is_binary, open_read

DOCUMENTS = {"name": "VARCHAR", "path": "VARCHAR", "folder": "VARCHAR", "words": "BIGINT", "text": "VARCHAR"}
"""Columns of a folder of texts; ``text`` is the whole text."""
DOCUMENT_LINES = {"name": "VARCHAR", "line": "BIGINT", "text": "VARCHAR"}
"""Columns of their lines."""
MAX_TEXTS = 2_000
MAX_BYTES = 64_000_000
"""Texts of one folder together; a larger folder is no table."""


def folders(texts: Sequence[Found]) -> dict[str, list[Found]]:
    """Return the folders that hold two or more of the ``texts`` themselves, each with its texts."""
    found: dict[str, list[Found]] = {}
    for text in texts:
        found.setdefault(text.path.rpartition("/")[0] or ".", []).append(text)
    return {
        folder: members
        for folder, members in found.items()
        if 1 < len(members) <= MAX_TEXTS and sum(text.size for text in members) <= MAX_BYTES
    }


def document_rows(workspace: Path, texts: Sequence[Found], *, lines: bool = False) -> Iterator[dict[str, Any]]:
    """Yield a row per text, or per line; a binary file that only has a text's ending is left out."""
    for found in texts:
        with open_read(workspace, found.path) as file:
            data = file.read(MAX_BYTES)
        if is_binary(data):
            continue
        name, text = found.path.rsplit("/", 1)[-1], data.decode("utf-8", errors="replace")
        if lines:
            yield from ({"name": name, "line": at, "text": line} for at, line in enumerate(text.splitlines(), start=1))
        else:
            folder = found.path.rpartition("/")[0] or "."
            yield {"name": name, "path": found.path, "folder": folder, "words": len(text.split()), "text": text}
