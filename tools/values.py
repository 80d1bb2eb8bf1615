"""Results as JSON data: what a tool may return and how it is stored."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from ..errors import ToolError

_DEPTH = 64
_EXACT = 2**53


def to_json(value: Any, *, tool: str = "tool") -> Any:
    """Return ``value`` as JSON data, or raise ToolError naming the part that is none.

    Dates become ISO text, decimals and fractions numbers, NaN and infinities None, paths text with
    forward slashes, dataclasses and pydantic models objects, tuples and sets lists.
    """
    return _convert(value, tool, "result", 0)


def _convert(value: Any, tool: str, where: str, depth: int) -> Any:
    if depth > _DEPTH:
        raise ToolError(f"{tool}: {where[:40]!r} is nested deeper than {_DEPTH} levels or contains itself; flatten it.")
    if value is None or (isinstance(value, bool | str) and not isinstance(value, Enum)):
        return value
    if isinstance(value, Enum):
        return _convert(value.value, tool, where, depth + 1)
    if isinstance(value, int | float | Decimal | Fraction):
        return _number(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta | UUID):
        return str(value)
    if isinstance(value, PurePath):
        return value.as_posix()
    if isinstance(value, BaseModel):
        return _convert(value.model_dump(mode="json"), tool, where, depth + 1)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return _convert(fields, tool, where, depth + 1)
    if isinstance(value, Mapping):
        return {
            _key(key, tool, where): _convert(item, tool, f"{where}.{key}", depth + 1) for key, item in value.items()
        }
    if isinstance(value, Iterable) and not isinstance(value, bytes | bytearray | memoryview):
        items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
        return [_convert(item, tool, f"{where}[{index}]", depth + 1) for index, item in enumerate(items)]
    raise ToolError(
        f"{tool}: {where} is {type(value).__name__} {value!r:.60}, which is not JSON data; return text or numbers."
    )


def _key(key: Any, tool: str, where: str) -> str:
    if isinstance(key, str | int | float | Decimal | bool | Enum | date):
        plain = _convert(key, tool, where, 0)
        return plain if isinstance(plain, str) else str(plain)
    raise ToolError(f"{tool}: {where} has the key {key!r:.60}, which is not text; return text keys.")


def _number(value: int | float | Decimal | Fraction) -> int | float | None:
    if isinstance(value, int):
        return int(value)
    if isinstance(value, Fraction):
        return value.numerator if value.denominator == 1 else float(value)
    if not math.isfinite(value):
        return None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() and abs(value) >= _EXACT else float(value)
    return float(value)


def tidy(number: float) -> float:
    """Drop binary noise: 0.30000000000000004 becomes 0.3; numbers that carry more digits stay as they are."""
    if not math.isfinite(number) or number == 0:
        return number
    short = float(f"{number:.12g}")
    return short if abs(short - number) <= 5e-14 * abs(number) else number


def only(value: Any) -> Any:
    """Unwrap a 1×1 result: ``[{"n": 5}]``, ``[5]`` and ``{"n": 5}`` are 5; anything else is itself."""
    for _ in range(3):
        if isinstance(value, Mapping) and len(value) == 1:
            value = next(iter(value.values()))
        elif isinstance(value, list | tuple) and len(value) == 1:
            value = value[0]
        else:
            break
    return value


def row_of(value: Any) -> Mapping[str, Any] | None:
    """The row that a value is: an object of several fields, alone or in a list of one; else None."""
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, Mapping) and len(value) > 1 else None


def is_datetime_at_midnight(value: Any) -> bool:
    """True for a timestamp that carries no time of day, as ``date_trunc`` returns it."""
    return isinstance(value, datetime) and value.time() == time(0) and value.tzinfo is None
