"""Numbers of an answer held to the numbers that it was made from.

Small models drop or repeat a digit while they copy (3,966 for 396). A number that is neither in the results nor
in the task, not even rounded, was made up, whatever sentence stands around it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import chain, permutations
from typing import Any

_NUMBER = re.compile(r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?")
_CHAIN = re.compile(r"\d+(?:,\d+)+")
"""A number with commas, or what only looks like one (``3,9,6``)."""
_COUNTED = 12
"""Whole numbers up to this may number or count the items of an answer."""
_FEW = 10
"""Values up to which a sum or a ratio of two of them is taken for one; of more, chance makes any number."""
_MOST = 200
"""Numbers that a grammar offers; each is a way that the sampler follows."""


class Numbers:
    """The numbers that an answer may say, in the order of their sources."""

    def __init__(self, sources: Iterable[Any]) -> None:
        """Collect the numbers of ``sources``: JSON data or texts; a list also gives its length."""
        kept = list(sources)
        self.written = tuple(dict.fromkeys(text for source in kept for text in _numbers(source)))
        self._chains = {run for source in kept for text in _texts(source) for run in _CHAIN.findall(text)}
        self.values = dict.fromkeys(_value(text)[0] for text in self.written)

    def strangers(self, answer: str) -> tuple[str, ...]:
        """The numbers of ``answer``, as written, that no source has: exactly, rounded, in percent or in thousands.

        Where the sources have few numbers, what two of them make counts as theirs.
        """
        odd = [run for run in _CHAIN.findall(answer) if not _NUMBER.fullmatch(run) and run not in self._chains]
        found = dict.fromkeys(match[0] for match in _NUMBER.finditer(answer))
        return (*dict.fromkeys(odd), *(text for text in found if not self._holds(*_value(text))))

    def grammar(self) -> str:
        """GBNF rules: ``number`` is one of them with what follows it, ``last`` one that ends a line; "" for too many.

        A small number is not followed by a comma: "3, 9, 6" is how a model gets around that it may not say 3,96.
        """
        ways: dict[str, None] = {}
        for text in self.written:
            value, places = _value(text)
            ways[text] = None
            ways.update(dict.fromkeys(f"{value:.{fewer}f}" for fewer in range(min(places, 3))))
            if value >= 1000:
                ways[f"{value:,}"] = None
        small = {str(number): None for number in range(_COUNTED + 1)}
        if len(ways) > _MOST:
            return ""
        large = _either(text for text in ways if text not in small) or _either(small)
        return (
            'number ::= small ( [^0-9,.\\n\\r] | "." [^0-9\\n\\r] ) | large ( [^0-9,.\\n\\r] | [,.] [^0-9\\n\\r] )\n'
            f"last ::= small | large\nsmall ::= {_either(small)}\nlarge ::= {large}\n"
        )

    def _holds(self, said: Decimal, places: int) -> bool:
        if said in self.values or (places == 0 and said <= _COUNTED):
            return True
        room = Decimal("0.51").scaleb(-places)
        known: Iterator[Decimal] = (each for value in self.values for each in _scaled(value))
        if len(self.values) <= _FEW:
            known = chain(known, _worked_out(self.values))
        return any(abs(said - each) <= room for each in known)


def _either(texts: Iterable[str]) -> str:
    return " | ".join(f'"{text}"' for text in texts)


def _scaled(value: Decimal) -> Iterator[Decimal]:
    """``value`` and how else it may be said: a share in percent; thousands, millions and billions."""
    yield value
    if value <= 10:
        yield value * 100
    for power in (3, 6, 9):
        if value >= 10**power:
            yield value.scaleb(-power)


def _worked_out(values: Iterable[Decimal]) -> Iterator[Decimal]:
    """What two values make: a sum, a difference, a product, a ratio or a share."""
    for first, second in permutations(values, 2):
        yield from (first + second, first - second, first * second)
        if second:
            yield from (first / second, first / second * 100)


def _numbers(value: Any) -> Iterator[str]:
    if isinstance(value, (bool, type(None))):
        return
    if isinstance(value, (int, float)):
        yield f"{abs(Decimal(str(value))):f}"
    elif isinstance(value, str):
        yield from (match[0] for match in _NUMBER.finditer(value))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _numbers(key)
            yield from _numbers(item)
    elif isinstance(value, (list, tuple)):
        yield str(len(value))
        for item in value:
            yield from _numbers(item)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def _value(text: str) -> tuple[Decimal, int]:
    """The number that ``text`` writes, and its decimal places."""
    return Decimal(text.replace(",", "")), len(text.partition(".")[2])
