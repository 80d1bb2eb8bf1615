"""Which tables the workspace offers to SQL, and what is in them.

Every CSV, TSV, JSON, JSONL and Parquet file is a table named after it, every .txt, .md and .log file is a
table of its lines, every folder of texts a table of one row per text and one of all lines, and ``files`` lists the
workspace itself. Nothing is kept but a cache by size and time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import PathRefused, ToolError
from .documents import DOCUMENT_LINES, DOCUMENTS, document_rows, folders
from .duck import Session
from .logs import is_log, log_rows, pairs, phrases
from .workspace import Found, is_binary, open_read, walk

TABULAR = {"csv": "csv", "tsv": "tsv", "json": "json", "jsonl": "jsonl", "ndjson": "jsonl", "parquet": "parquet"}
TEXT = ("txt", "md", "log")
LINES = {"line": "BIGINT", "text": "VARCHAR"}
FILES = {
    "path": "VARCHAR",
    "folder": "VARCHAR",
    "top": "VARCHAR",
    "name": "VARCHAR",
    "extension": "VARCHAR",
    "bytes": "BIGINT",
    "lines": "BIGINT",
    "words": "BIGINT",
    "modified": "TIMESTAMP",
}
MAX_JSON = 64_000_000
MAX_TEXT = 256_000_000
_PEEK_FILES = 50
_PEEK_BYTES = 1_000_000


class Table(NamedTuple):
    """A file as SQL sees it."""

    name: str
    kind: str
    """csv, tsv, json, jsonl, parquet, text, log (lines that begin with a time and a level), folder and lines (of the
    texts in it) or files."""
    path: str
    size: int = 0
    modified: float = 0.0
    part: str = ""
    """For a list of objects inside a JSON file: its place, dotted."""
    texts: tuple[Found, ...] = ()
    """For a folder: the texts in it."""


class Count(NamedTuple):
    """Size of a text file as people see it."""

    lines: int
    words: int


class Catalog:
    """The tables of one state of the workspace."""

    def __init__(self, workspace: Path, files: list[Found], counts: dict[Found, Count | None]) -> None:
        """Name the tables; ``counts`` is a cache of counts that this catalog fills."""
        self.workspace = workspace
        self.files = files
        self._counts = counts
        self.joins: tuple[Any, ...] | None = None
        """Filled by ``relations``."""
        self.tables: dict[str, Table] = {"files": Table("files", "files", "")}
        for table in _named(files):
            self.tables[table.name] = table
        for table in [table for table in self.tables.values() if table.kind == "text"][:_PEEK_FILES]:
            if _begins_as_log(workspace, table):
                self.tables[table.name] = table._replace(kind="log")
        for table in list(_nested(workspace, list(self.tables.values()))):
            self.tables.setdefault(table.name, table)
        for table in list(_folders(files, self.tables)):
            self.tables[table.name] = table

    def find(self, name: str) -> Table | None:
        """The table of this name, file name or path, in any case."""
        wanted = name.lower().removeprefix("./").removeprefix("main.")
        wanted = re.sub(r"/(\*(\.\w+)?)?$", "", wanted)
        table = self.tables.get(wanted) or self.tables.get(slug(wanted))
        if table is not None:
            return table
        whole = [table for table in self.tables.values() if not table.part and table.kind != "lines"]
        same = [table for table in whole if wanted == table.path.lower()]
        same = same or [table for table in whole if table.path and wanted == table.path.lower().rsplit("/", 1)[-1]]
        return same[0] if len(same) == 1 else None

    def load(self, session: Session, table: Table) -> None:
        """Read a table into a session. Raises ToolError when the file is not what its name says."""
        if table.kind == "files":
            session.load_rows("files", self.rows(), types=FILES)
            return
        if table.kind in ("folder", "lines"):
            lines = table.kind == "lines"
            documents = document_rows(self.workspace, table.texts, lines=lines)
            session.load_rows(table.name, documents, types=DOCUMENT_LINES if lines else DOCUMENTS)
            return
        with open_read(self.workspace, table.path) as file:
            if file.seek(0, 2) == 0:
                session.declare(table.name, LINES if table.kind == "text" else {"value": "VARCHAR"})
            elif table.kind in ("csv", "tsv"):
                session.load_csv(table.name, file, delimiter="\t" if table.kind == "tsv" else "")
            elif table.kind == "parquet":
                session.load_parquet(table.name, file)
            else:
                file.seek(0)
                data = file.read(MAX_TEXT + 1)
                if table.kind == "text":
                    session.load_rows(table.name, _lines(data, table), types=LINES)
                elif table.kind == "log":
                    rows = list(_lines(data, table))
                    texts = [row["text"] for row in rows]
                    session.load_rows(table.name, log_rows(rows, phrases(texts) | pairs(texts)))
                else:
                    session.load_rows(table.name, json_rows(data, table))

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows of ``files``; lines are counted in text files only."""
        for found in self.files:
            folder, _, name = found.path.rpartition("/")
            dot = name.rfind(".")
            yield {
                "path": found.path,
                "folder": folder or ".",
                "top": found.path.split("/", 1)[0] if folder else ".",
                "name": name,
                "extension": name[dot:].lower() if dot > 0 else "",
                "bytes": found.size,
                "lines": count.lines if (count := self.count(found)) is not None else None,
                "words": count.words if count is not None else None,
                "modified": datetime.fromtimestamp(found.modified, UTC).strftime("%Y-%m-%d %H:%M:%S"),
            }

    def count(self, found: Found) -> Count | None:
        """Lines and words of a text file, None for a binary or very large one."""
        if found not in self._counts:
            self._counts[found] = self._count(found)
        return self._counts[found]

    def _count(self, found: Found) -> Count | None:
        if found.size > MAX_TEXT:
            return None
        try:
            with open_read(self.workspace, found.path) as file:
                chunk = file.read(1 << 20)
                if is_binary(chunk):
                    return None
                lines, words, last = 0, 0, b"\n"
                while chunk:
                    lines += chunk.count(b"\n")
                    # A word that a chunk's border cuts was counted with its first part.
                    words += len(chunk.split()) - (not last.isspace() and not chunk[:1].isspace())
                    last = chunk[-1:]
                    chunk = file.read(1 << 20)
        except (OSError, PathRefused):
            return None
        return Count(lines + (last != b"\n"), words)


class Catalogs:
    """Catalogs by state of the workspace; only the newest of a workspace is kept."""

    def __init__(self) -> None:
        """Start with nothing known."""
        self._known: dict[Path, Catalog] = {}
        self._counts: dict[Path, dict[Found, Count | None]] = {}

    def of(self, workspace: Path) -> Catalog:
        """Return the catalog of what the workspace holds now."""
        files = walk(workspace)
        known = self._known.get(workspace)
        if known is None or known.files != files:
            old = self._counts.get(workspace, {})
            counts = {found: old[found] for found in files if found in old}
            self._counts[workspace] = counts
            known = self._known[workspace] = Catalog(workspace, files, counts)
        return known


def slug(text: str) -> str:
    """Text as a plain SQL name."""
    name = re.sub(r"[^0-9a-z]+", "_", text.lower()).strip("_") or "table"
    return f"t_{name}" if name[0].isdigit() else name


def _named(files: list[Found]) -> Iterator[Table]:
    """Tables for the data and text files: the stem, with the folder or ending added where stems clash."""
    groups: dict[str, list[tuple[int, Found, str]]] = {}
    for found in files:
        stem, dot, ending = found.path.rsplit("/", 1)[-1].rpartition(".")
        kind = TABULAR.get(ending.lower()) or ("text" if ending.lower() in TEXT else "")
        if dot and stem and kind:
            groups.setdefault(slug(stem), []).append((kind == "text", found, kind))
    taken = {"files", *groups}
    for stem, members in groups.items():
        members.sort(key=lambda member: (member[0], member[1].path.count("/"), member[1].path))
        rank = members[0][0]
        first = [member for member in members if member[0] == rank]
        for member in members:
            _, found, kind = member
            alone = member is members[0] and (len(first) == 1 or "/" not in found.path) and stem != "files"
            name = stem if alone else _free(stem, found.path, taken)
            taken.add(name)
            yield Table(name, kind, found.path, found.size, found.modified)


def _folders(files: list[Found], tables: Mapping[str, Table]) -> Iterator[Table]:
    """Folders of texts as tables named after the folder, ``texts`` at the top; with ``_lines`` that of their lines."""
    texts = {table.path for table in tables.values() if table.kind == "text" and not table.path.endswith(".log")}
    for folder, members in folders([found for found in files if found.path in texts]).items():
        wanted = "texts" if folder == "." else slug(folder.rsplit("/", 1)[-1])
        name = next(name for name in (wanted, slug(folder), f"{slug(folder)}_texts", "") if name not in tables)
        if name:
            size, newest = sum(found.size for found in members), max(found.modified for found in members)
            table = Table(name, "folder", folder, size, newest, texts=tuple(members))
            yield table
            if f"{name}_lines" not in tables:
                yield table._replace(name=f"{name}_lines", kind="lines")


def _free(stem: str, path: str, taken: set[str]) -> str:
    folder, _, name = path.rpartition("/")
    ending = name.rpartition(".")[2].lower()
    candidates = [f"{slug(folder)}_{stem}"] if folder else []
    candidates += [f"{stem}_{ending}", *([f"{slug(folder)}_{stem}_{ending}"] if folder else [])]
    candidates += [f"{stem}_{number}" for number in range(2, len(taken) + 3)]
    return next(candidate for candidate in candidates if candidate not in taken)


def _nested(workspace: Path, tables: list[Table]) -> Iterator[Table]:
    """Lists of objects inside small JSON objects, as tables named after the file and their place."""
    small = [table for table in tables if table.kind == "json" and table.size <= _PEEK_BYTES]
    if len(small) > _PEEK_FILES:
        return
    for table in small:
        try:
            with open_read(workspace, table.path) as file:
                value = json.loads(file.read(_PEEK_BYTES + 1))
        except (OSError, ValueError, RecursionError, PathRefused):
            continue
        if isinstance(value, Mapping):
            for part, item in flatten(value).items():
                if is_records(item):
                    yield table._replace(name=f"{table.name}_{slug(part)}", part=part)


def is_records(value: Any) -> bool:
    """True for a list that holds objects only."""
    return isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)


def flatten(value: Mapping[str, Any], prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """Nested objects as one level, with the names joined by underscores; lists stay."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        name = f"{prefix}_{slug(str(key))}" if prefix else slug(str(key))
        if isinstance(item, Mapping) and item and depth < 16:
            flat.update(flatten(item, name, depth + 1))
        else:
            flat[name] = item
    return flat


def json_rows(data: bytes, table: Table) -> list[dict[str, Any]]:
    """The rows of a JSON or JSONL file, or of a list inside it; ToolError when it is not valid."""
    if len(data) > MAX_JSON:
        raise ToolError(f"{table.path!r} is larger than {MAX_JSON} bytes; split it to query it.")
    text = data.decode("utf-8-sig", errors="replace")
    try:
        if table.kind == "jsonl":
            value = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ToolError(f"{table.path!r} is not valid {table.kind.upper()}: {error}; mend the file.") from None
    if table.part:
        value = flatten(value).get(table.part, []) if isinstance(value, Mapping) else []
    rows = value if isinstance(value, list) else [value]
    flat = [flatten(row) if isinstance(row, Mapping) else {"value": row} for row in rows]
    if table.kind == "json" and not table.part and isinstance(value, Mapping):
        return [{name: item for name, item in flat[0].items() if not is_records(item)} or {"value": None}]
    return flat


def _begins_as_log(workspace: Path, table: Table) -> bool:
    if not table.path.endswith((".log", ".txt")) or not 0 < table.size <= MAX_JSON:
        return False
    try:
        with open_read(workspace, table.path) as file:
            head = file.read(16_384)
    except (OSError, PathRefused):
        return False
    return not is_binary(head) and is_log(head.decode("utf-8", errors="replace"))


def _lines(data: bytes, table: Table) -> Iterator[dict[str, Any]]:
    if is_binary(data):
        raise ToolError(f"{table.path!r} is a binary file; it has no lines.")
    if len(data) > MAX_TEXT:
        raise ToolError(f"{table.path!r} is larger than {MAX_TEXT} bytes; split it to query it.")
    text = data.decode("utf-8", errors="replace")
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        yield {"line": number, "text": line.removesuffix("\r")}
