"""What there is to work on, short enough for a small model's prompt and the same for the same files."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

from .catalog import FILES, Catalog, Table
from .profile import Profile, Profiles
from .relations import relations

MAX_CHARACTERS = 4_200
"""About 1,200 tokens."""
MAX_PROFILED = 24
"""Tables that are looked into; the others are named."""
CROWD = 200
"""Files from which on a workspace is described by its folders instead of its contents."""
_SHORT = {"VARCHAR": "text", "BIGINT": "int", "DOUBLE": "double", "HUGEINT": "int"}
_SECRET = re.compile(r"pass(word|wd|phrase)?|secret|token|api_?key|credential|private", re.IGNORECASE)


def describe(catalog: Catalog, profiles: Profiles) -> str:
    """Return the description: nearest and smallest tables first, then the workspace as a whole."""
    if not catalog.files:
        return "The workspace is empty: there are no files and no tables."
    crowded = len(catalog.files) > CROWD
    tables = [table for table in catalog.tables.values() if table.kind != "files" and (not crowded or _worth(table))]
    inside = {text.path for table in tables for text in table.texts}
    tables = [table for table in tables if table.kind != "text" or table.path not in inside]
    tables.sort(key=lambda table: (table.path.count("/"), table.kind == "text", table.size, table.name))
    tail = _files(catalog)
    room = MAX_CHARACTERS - len(tail)
    lines = ["Tables that query can read:"]
    named: list[str] = []
    for index, table in enumerate(tables):
        large = table.size > 64_000_000
        line = "" if index >= MAX_PROFILED or large or room < 600 else _table(table, profiles.of(catalog, table))
        if line and room - len(line) > 300:
            lines.append(line)
            room -= len(line) + 1
        else:
            named.append(f"{table.name} ({table.path})")
    if named:
        shown = ", ".join(named)
        lines.append("Further tables: " + (shown if len(shown) < 300 else shown[:280] + f" ... ({len(named)} in all)"))
    joins = [str(join) for join in relations(catalog, profiles)][:8]
    if joins:
        lines.append("- tables join ON " + ", ".join(joins))
    return "\n".join([*lines, tail])


def _worth(table: Table) -> bool:
    """In a crowd only real data near the top is shown; configuration files and texts are not."""
    return table.kind in ("csv", "tsv", "parquet", "jsonl") and table.path.count("/") <= 1


def _table(table: Table, profile: Profile) -> str:
    if profile.problem:
        return f"- {table.name} ({table.path}): cannot be read: {profile.problem[:120]}"
    if table.kind == "text":
        begins = " / ".join(json.dumps(line[:90], ensure_ascii=False) for line in profile.first)
        return f"- {table.name} ({table.path}, {profile.rows} lines): line int, text text; begins {begins}"
    if table.kind in ("folder", "lines"):
        return _folder(table, profile)
    columns = [_column(name, kind, index, profile) for index, (name, kind) in enumerate(profile.columns.items())]
    shown = ", ".join(columns[:40]) + (f", ... ({len(columns)} columns)" if len(columns) > 40 else "")
    where = table.path + (f", {table.part}" if table.part else "")
    return f"- {table.name} ({where}, {profile.rows} row{'s' if profile.rows != 1 else ''}): {shown}"


def _folder(table: Table, profile: Profile) -> str:
    where = "the workspace's top" if table.path == "." else f"folder {table.path}"
    if table.kind == "lines":
        return (
            f"- {table.name} (the lines of the texts in {where}, {profile.rows} rows): name text, line int, text text"
        )
    names = [text.path.rsplit("/", 1)[-1] for text in table.texts]
    shown = ", ".join(f"'{name}'" for name in names[:12]) + (", ..." if len(names) > 12 else "")
    return (
        f"- {table.name} ({where}, one row per text, {len(names)}): name text [{shown}], path text, words int, "
        "text text (all of it)"
    )


def _column(name: str, kind: str, index: int, profile: Profile) -> str:
    plain = name if re.fullmatch(r"[A-Za-z_]\w*", name) else f'"{name}"'
    text = f"{plain} {_type(kind)}"
    if _SECRET.search(name):
        return text
    if profile.rows == 1 and index < len(profile.first):
        return f"{text} = {_value(profile.first[index])}"
    if name in profile.values:
        some = profile.values[name]
        return f"{text} [{', '.join(_value(value) for value in some[:4])}{', ...' if len(some) > 4 else ''}]"
    if name in profile.spans and kind.startswith(("DATE", "TIMESTAMP")):
        low, high = profile.spans[name]
        return f"{text} {low}..{high}"
    if kind == "VARCHAR" and index < len(profile.first) and profile.first[index] is not None:
        return f"{text} e.g. {_value(profile.first[index])}"
    return text


def _type(kind: str) -> str:
    return _SHORT.get(kind) or (kind.lower() if len(kind) < 40 else "nested")


def _value(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    text = f"'{value}'" if isinstance(value, str) else text
    return text if len(text) <= 32 else text[:29] + "..."


def _files(catalog: Catalog) -> str:
    columns = ", ".join(f"{name} {_SHORT.get(kind, kind.lower())}" for name, kind in FILES.items())
    extensions: Counter[str] = Counter()
    tops: Counter[str] = Counter()
    for found in catalog.files:
        folder, _, name = found.path.rpartition("/")
        dot = name.rfind(".")
        extensions[name[dot:].lower() if dot > 0 else "(none)"] += 1
        tops[found.path.split("/", 1)[0] if folder else "."] += 1
    lines = [
        f"- files (one row per file of the workspace, {len(catalog.files)}): {columns}",
        f"  extension: {_counts(extensions)}; top (first folder of the path, '.' for none): {_counts(tops)}",
    ]
    if len(catalog.files) > 40:
        lines.append(
            "  e.g. bytes per top folder: SELECT top, sum(bytes) AS bytes FROM files GROUP BY top ORDER BY bytes DESC; "
            "the largest file of each: SELECT top, arg_max(path, bytes) AS largest, max(bytes) AS bytes FROM files "
            "GROUP BY top"
        )
    else:
        lines.append("  paths: " + ", ".join(found.path for found in catalog.files)[:900])
    return "\n".join(lines)


def _counts(counter: Counter[str]) -> str:
    ordered = sorted(counter.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"'{name}' {count}" for name, count in ordered[:16]) + (", ..." if len(ordered) > 16 else "")
