"""Reports of runs: one HTML page and one Markdown file, each whole in itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from ..errors import StoreUnwritable
from .log import RunLog
from .markdown import markdown
from .page import page
from .shown import sections

NAME = "report"


def write(runs: Sequence[RunLog], folder: Path) -> tuple[Path, Path]:
    """Write ``report.html`` and ``report.md`` into ``folder`` and return their paths; older ones are replaced.

    Runs of one suite stand together and are compared; the first is what the others are held against. Without
    matplotlib (extra ``report``) the plots are left out and the page says so. Raises UsageError without runs and
    StoreUnwritable when the files cannot be written.
    """
    found = sections(runs)
    at = datetime.now(UTC)
    texts = {".html": page(found, at=at), ".md": markdown(found, at=at)}
    html, md = (_put(folder / f"{NAME}{suffix}", text) for suffix, text in texts.items())
    return html, md


def _put(path: Path, text: str) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        part.write_text(text, encoding="utf-8", errors="replace")
        part.replace(path)
    except OSError as error:
        raise StoreUnwritable(
            f"{str(path)!r} cannot be written ({error.strerror}); free some space or name another folder with --out."
        ) from None
    return path
