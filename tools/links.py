"""Which values of the tables a task names: small models filter by them when they are told where they stand.

Text-to-SQL systems call it value retrieval ("CHESS: Contextual Harnessing for Efficient SQL Synthesis"); here it
is by words alone, so that it costs no model call and is the same every time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from .catalog import Catalog, Table
from .profile import Profiles

MAX_TABLES = 12
MAX_BYTES = 20_000_000
"""Larger tables are not searched."""
MAX_VALUES = 2_000
"""Different values of a column up to which they are looked at."""
MAX_LINKS = 6
MAX_PHRASES = 2
MAX_NAMES = 4
_QUANTITIES = {
    (
        "kg",
        "g",
        "t",
        "tons",
        "grams",
        "lb",
        "lbs",
    ): "weight weigh kilo kilogram gram ton heavy heaviest light lightest".split(),
    (
        "km",
        "m",
        "cm",
        "mm",
        "miles",
        "metres",
        "meters",
    ): "distance length long longest short shortest kilometre far metre".split(),
    ("s", "ms", "seconds", "minutes", "hours"): "duration time long longest fast fastest slow slowest second".split(),
    ("eur", "usd", "euros", "dollars", "gbp"): "price cost money amount paid worth expensive cheap".split(),
}
"""Units that columns are called after, and the words for what they measure."""
_COMMON = frozenset(
    "a an the of to in on at by for from with and or not no yes all any each every is are was were be do does did has "
    "have had it its this that these those i we you they my our your their me us how what which who when where why "
    "much many more most less least than then there here name text value total sum count date day month year".split()
)


def links(task: str, catalog: Catalog, profiles: Profiles) -> list[str]:
    """Return lines such as ``'oak' is in trees.kind``, for values that stand in the task, longest first.

    After them come phrases of the task that are a part of some values: ``'in bloom' is a part of notes.state``, and
    words of it that are a part of the names of columns: ``'height' names the columns trees.height_cm``.
    """
    said = _words(task)
    found: dict[str, list[str]] = {}
    parts: dict[str, list[str]] = {}
    tables = [table for table in catalog.tables.values() if table.kind not in ("files", "text", "folder", "lines")]
    tables.sort(key=lambda table: (table.path.count("/"), table.size, table.name))
    for table in [table for table in tables if table.size <= MAX_BYTES][:MAX_TABLES]:
        for column, values in _values(table, catalog, profiles):
            for value in values:
                if _said(value, column, said, task):
                    found.setdefault(value, []).append(f"{table.name}.{column}")
            for phrase in _phrases(task, values):
                parts.setdefault(phrase, []).append(f"{table.name}.{column}")
    ordered = sorted(found, key=lambda value: (-len(value), value))
    kept = [value for value in ordered if not any(value != other and value in other for other in ordered)]
    whole = [f"'{value}' is in {', '.join(found[value])}" for value in kept[:MAX_LINKS]]
    phrases = [phrase for phrase in parts if not any(phrase in value.casefold() for value in found)][:MAX_PHRASES]
    whole += [f"'{phrase}' is a part of {', '.join(parts[phrase])}" for phrase in phrases]
    columns = [(table.name, name) for table in tables for name in list(profiles.of(catalog, table).columns)[:40]]
    whole += [f"'{word}' names the columns {', '.join(names)}" for word, names in _names(said, columns)]
    return whole + [f"'{word}' is measured by {', '.join(names)}" for word, names in _measures(said, columns)]


def _measures(said: Sequence[str], columns: Sequence[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Words for a quantity with the one or two columns that are called after its unit (``weight``: ``boxes.kg``)."""
    for units, words in _QUANTITIES.items():
        word = next((word for word in said if word in words), "")
        names = [f"{table}.{name}" for table, name in columns if name.lower() in units]
        if word and 0 < len(names) < 3:
            yield word, names


def _names(said: Sequence[str], columns: Sequence[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Words of a task with the one or two columns that are called so and more; the last word of a name is its unit."""
    found = 0
    for word in dict.fromkeys(word for word in said if len(word) >= 4 and word not in _COMMON):
        names = [
            f"{table}.{name}" for table, name in columns if word in _words(name.rpartition("_")[0].replace("_", " "))
        ]
        if 0 < len(names) < 3 and found < MAX_NAMES:
            found += 1
            yield word, names


def _phrases(task: str, values: Sequence[str]) -> Iterator[str]:
    """Two words in a row of the task, as it writes them, that some value has and goes on around."""
    plain = task.casefold()
    pairs = {
        f"{first} {second}"
        for first, second in re.findall(r"(?=\b([^\W_]{2,})\s+([^\W_]{2,})\b)", plain)
        if not (first in _COMMON and second in _COMMON)
    }
    texts = [value.casefold() for value in values]
    for pair in sorted(pairs, key=plain.index):
        if any(re.search(rf"\b{pair}\b", text) and text != pair for text in texts):
            yield pair


def _values(table: Table, catalog: Catalog, profiles: Profiles) -> Iterator[tuple[str, Sequence[str]]]:
    profile = profiles.of(catalog, table)
    texts = [name for name, kind in list(profile.columns.items())[:40] if kind == "VARCHAR" and name != "text"]
    yield from ((name, profile.values[name]) for name in texts if name in profile.values)
    yield from profiles.texts(catalog, table, most=MAX_VALUES).items()


def _said(value: str, column: str, said: Sequence[str], task: str) -> bool:
    """True when the task has the value word for word, plurals aside; a single letter only after its column's name."""
    words = _words(value)
    if not words or len(words) > 6 or len(value) > 60:
        return False
    if len(value.strip()) == 1:
        return bool(re.search(rf"\b{re.escape(column)}s?\s+{re.escape(value.strip())}\b", task))
    if all(word in _COMMON or word.isdigit() for word in words):
        return False
    if len(words) == 1 and any(_stem(words[0]) == _stem(word) for word in said):
        return True
    return any(list(said[start : start + len(words)]) == words for start in range(len(said) - len(words) + 1))


def _words(text: str) -> list[str]:
    return [_singular(word) for word in re.findall(r"[^\W_]+", text.casefold())]


def _stem(word: str) -> str:
    """``started`` and ``starts`` are one word; short words stay as they are."""
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) > len(ending) + 3:
            return word[: -len(ending)]
    return word


def _singular(word: str) -> str:
    for ending, instead in (("ies", "y"), ("oes", "o"), ("ches", "ch"), ("shes", "sh"), ("sses", "ss"), ("xes", "x")):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            return word[: -len(ending)] + instead
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word
