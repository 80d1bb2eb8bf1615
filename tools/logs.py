"""Log lines as columns: when, how bad, where, and ``name=value`` pairs, so that SQL need not pick texts apart."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_LINE = re.compile(
    r"\[?(?P<at>\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?)(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\]?[\s|,:-]+"
    r"[\[(]?(?P<level>TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL)[\])]?[\s|,:-]+(?P<message>.*)",
    re.IGNORECASE,
)
_FIRST = re.compile(r"\[?([A-Za-z][\w./-]{0,40})\]?:?(?=\s|$)")
_PAIR = re.compile(r"(?<![\w.])([A-Za-z_]\w{0,30})=(\"[^\"]*\"|[^\s,;]+)")
_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,9})?")
_SHARE = 0.8
"""Part of the first lines that must be log lines."""
LOG = {
    "line": "BIGINT",
    "at": "TIMESTAMP",
    "level": "VARCHAR",
    "source": "VARCHAR",
    "message": "VARCHAR",
    "text": "VARCHAR",
}
"""Columns of every log; those of its pairs come after ``message``."""


def is_log(sample: str) -> bool:
    """True when nearly all of these lines begin with a time and a level."""
    lines = [line for line in sample.splitlines() if line.strip()][:100]
    return len(lines) >= 3 and sum(_LINE.match(line) is not None for line in lines) >= _SHARE * len(lines)


def pairs(lines: Iterable[str]) -> dict[str, bool]:
    """Names of the ``name=value`` pairs that a good part of the lines has, and whether all values are numbers."""
    count: Counter[str] = Counter()
    words: set[str] = set()
    total = 0
    for line in lines:
        total += 1
        for name, value in _PAIR.findall(line):
            count[name.lower()] += 1
            if not _NUMBER.fullmatch(value):
                words.add(name.lower())
    common = [name for name, number in count.most_common(16) if name not in LOG and number >= max(3, total // 20)]
    return {name: name not in words for name in common[:12]}


def log_rows(rows: Iterable[dict[str, Any]], names: Mapping[str, bool]) -> Iterator[dict[str, Any]]:
    """Add the columns to rows of {line, text}; a line that is no log line has only its text."""
    for row in rows:
        match = _LINE.match(row["text"])
        message = match["message"] if match else ""
        first = _FIRST.match(message)
        found = {name.lower(): value.strip('"') for name, value in _PAIR.findall(message)}
        yield {
            "line": row["line"],
            "at": match["at"].replace("T", " ") if match else None,
            "level": match["level"].upper() if match else None,
            "source": first[1] if first else None,
            "message": message[first.end() :].strip() if first else message,
            **{
                name: float(found[name]) if numeric and name in found else found.get(name)
                for name, numeric in names.items()
            },
            "text": row["text"],
        }
