"""Log lines as columns: when, how bad, where, and the numbers in them, so that SQL need not pick texts apart.

Numbers are found in ``name=value`` pairs and in phrases that come again and again with another number each time
(``took 35 ms``): the constant part names the column (``took_ms``), as log parsers tell templates from variables
("Drain: An Online Log Parsing Approach with Fixed Depth Tree").
"""

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
_PHRASE = re.compile(
    r"(?<![\w=.])([A-Za-z][A-Za-z_]{2,20})[,:]?\s+(-?\d{1,15}(?:\.\d{1,9})?)(?![\w.:-])(?:\s?(%|[A-Za-z]{1,8}\b))?"
)
_JOINING = frozenset("of and at in on to for from with by after before the is was per".split())
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


def phrases(lines: Iterable[str]) -> dict[str, bool]:
    """Names of the numbers in phrases that a good part of the lines has (``took_ms``); all are numbers."""
    count: Counter[str] = Counter()
    total = 0
    for line in lines:
        total += 1
        match = _LINE.match(line)
        count.update(list(_measured(match["message"] if match else "")))
    common = [name for name, number in count.most_common(8) if name not in LOG and number >= max(3, total // 20)]
    return dict.fromkeys(common, True)


def _measured(message: str) -> dict[str, str]:
    """The numbers of a message by name: the word before, and the unit after where there is one."""
    found: dict[str, str] = {}
    for word, number, unit in _PHRASE.findall(message):
        parts = [word] if word.lower() not in _JOINING else []
        parts += [unit] if unit and unit.lower() not in _JOINING else []
        if parts:
            found.setdefault("_".join(parts).lower().replace("%", "percent"), number)
    return found


def log_rows(rows: Iterable[dict[str, Any]], names: Mapping[str, bool]) -> Iterator[dict[str, Any]]:
    """Add the columns to rows of {line, text}; a line that is no log line has only its text."""
    for row in rows:
        match = _LINE.match(row["text"])
        message = match["message"] if match else ""
        first = _FIRST.match(message)
        found = _measured(message)
        found |= {name.lower(): value.strip('"') for name, value in _PAIR.findall(message)}
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
