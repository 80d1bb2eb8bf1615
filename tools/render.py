"""JSON data as the text of a file: Markdown, CSV, JSON or plain lines, by the file's ending."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any


def render(content: Any, path: str) -> str:
    """Return ``content`` as the text of a file called ``path``; text stays as it is."""
    ending = path.rsplit("/", 1)[-1].rpartition(".")[2].lower()
    if ending == "jsonl" and isinstance(content, list):
        return "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in content)
    if ending in ("json", "jsonl") and not isinstance(content, str):
        return json.dumps(content, ensure_ascii=False, indent=2) + "\n"
    if isinstance(content, str):
        return content if not content or content.endswith("\n") else content + "\n"
    if ending in ("csv", "tsv"):
        return as_csv(content, delimiter="\t" if ending == "tsv" else ",")
    if ending in ("md", "markdown"):
        return as_markdown(content) + "\n"
    return as_lines(content) + "\n"


def is_rows(value: Any) -> bool:
    """True for a list of objects, which is a table."""
    return isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) for row in value)


def is_tables(value: Any) -> bool:
    """True for a list with a table in it, such as the results of several steps."""
    return isinstance(value, list) and any(is_rows(item) for item in value)


def columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of all columns in the order of their first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def as_csv(value: Any, *, delimiter: str = ",") -> str:
    """A table as CSV with a header; a list of values as one value per line without one."""
    if is_tables(value):
        return "\n".join(as_csv(table, delimiter=delimiter) for table in value)
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    if isinstance(value, Mapping):
        value = [value]
    if is_rows(value):
        names = columns(value)
        writer.writerow(names)
        writer.writerows([cell(row.get(name)) for name in names] for row in value)
    elif isinstance(value, list):
        writer.writerows([cell(part) for part in item] if isinstance(item, list) else [cell(item)] for item in value)
    else:
        writer.writerow([cell(value)])
    return out.getvalue()


def as_markdown(value: Any) -> str:
    """A table for rows, a bullet list for values, a headed section per nested part of an object."""
    if is_rows(value):
        names = columns(value)
        lines = ["| " + " | ".join(_escape(name) for name in names) + " |", "|" + " --- |" * len(names)]
        lines += ["| " + " | ".join(_escape(cell(row.get(name))) for name in names) + " |" for row in value]
        return "\n".join(lines)
    if isinstance(value, Mapping):
        parts = []
        for name, item in value.items():
            nested = isinstance(item, list | Mapping)
            parts.append(f"## {name}\n\n{as_markdown(item)}\n" if nested else f"- {name}: {cell(item)}")
        return "\n".join(parts).rstrip("\n")
    if isinstance(value, list) and any(isinstance(item, list | Mapping) for item in value):
        return "\n\n".join(as_markdown(item).rstrip("\n") for item in value)
    if isinstance(value, list):
        return "\n".join(f"- {cell(item)}" for item in value)
    return cell(value)


def as_lines(value: Any) -> str:
    """One line per element; an object as ``name: value`` lines; a row as its values; an empty line between tables."""
    if is_tables(value):
        return "\n\n".join(as_lines(table) for table in value)
    if isinstance(value, Mapping):
        return "\n".join(f"{name}: {cell(item)}" for name, item in value.items())
    if isinstance(value, list):
        return "\n".join(
            ", ".join(cell(part) for part in item.values()) if isinstance(item, Mapping) else cell(item)
            for item in value
        )
    return cell(value)


def cell(value: Any) -> str:
    """One value as text: nothing for null, JSON for nested values, whole numbers without ``.0``."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
