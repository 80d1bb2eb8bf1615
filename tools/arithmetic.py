"""Exact values and what can be done with them: fractions, dates, texts, lists."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Any

from ..errors import ToolError
from ..protocols import Pending
from .values import only, row_of

MAX_BITS = 4_096
"""Of a numerator or denominator; about 1,200 digits."""

COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.Is: operator.eq, ast.IsNot: operator.ne,
}  # fmt: skip
ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip
CONSTANTS = {"pi": Fraction(math.pi), "e": Fraction(math.e), "true": True, "false": False, "null": None, "none": None}


def plain(value: Any) -> Any:
    """An exact value as JSON data: whole numbers as int, others as the nearest float, dates as ISO text."""
    if isinstance(value, Fraction):
        if value.denominator == 1:
            return value.numerator
        try:
            return float(value)
        except OverflowError:
            raise ToolError("the result is too large; scale the numbers down.") from None
    if isinstance(value, date):
        return value.isoformat()
    return [plain(item) for item in value] if isinstance(value, list) else value


def lift(value: Any) -> Any:
    """JSON data as exact values: numbers as fractions, texts that are numbers or dates as such, 1×1 as its value.

    A row counts as its only number, so that ``$1`` may be a key with its total.
    """
    value = only(value)
    if (row := row_of(value)) is not None:
        value = _only_number(row)
    if isinstance(value, bool) or value is None or isinstance(value, date | Fraction | Pending):
        return value
    if isinstance(value, int):
        return bounded(Fraction(value))
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ToolError(f"{value!r} is not a number to calculate with.")
        return Fraction(repr(value))
    if isinstance(value, list | tuple):
        return [lift(item) for item in value]
    return _lift_text(value) if isinstance(value, str) else value


def _only_number(row: Mapping[str, Any]) -> Any:
    numbers = [item for item in row.values() if isinstance(item, int | float) and not isinstance(item, bool)]
    return numbers[0] if len(numbers) == 1 else row


def _lift_text(text: str) -> Any:
    bare = text.strip()
    if re.fullmatch(r"[+-]?(\d{1,3}(,\d{3})+|\d{1,400})?(\.\d{1,400})?([eE][+-]?\d{1,3})?%?", bare) and re.search(
        r"\d", bare
    ):
        parsed = Fraction(bare.rstrip("%").replace(",", ""))
        return bounded(parsed / 100 if bare.endswith("%") else parsed)
    if re.fullmatch(r"\d{4}-\d\d-\d\d([T ][\d:.]+)?", bare):
        try:
            return date.fromisoformat(bare) if len(bare) == 10 else datetime.fromisoformat(bare)
        except ValueError:
            return text
    return text


def truth(value: Any) -> bool:
    """What counts as yes: true, a number but zero, a filled list, a text but "", "no" and "false"."""
    if isinstance(value, str):
        return value.strip().lower() not in ("", "no", "false", "0", "none", "null")
    return bool(value)


def _counted(value: Any, other: Any) -> Any:
    """The length of a list that is compared with a number: ``$1 > 3`` asks whether there are more than three."""
    counts = isinstance(value, list) and isinstance(other, Fraction | int) and not isinstance(other, bool)
    return Fraction(len(value)) if counts else value


def compare(left: Any, action: ast.cmpop, right: Any) -> bool:
    """Compare like with like; ToolError for an order between unlike things."""
    if isinstance(action, ast.In | ast.NotIn):
        inside = _inside(left, right)
        return inside if isinstance(action, ast.In) else not inside
    left, right = _counted(left, right), _counted(right, left)
    if isinstance(left, bool) != isinstance(right, bool) and not isinstance(action, ast.Is | ast.IsNot):
        left, right = (truth(left), truth(right)) if isinstance(left, str) or isinstance(right, str) else (left, right)
    if isinstance(left, datetime) != isinstance(right, datetime) and isinstance(left, date) and isinstance(right, date):
        left, right = _moment(left), _moment(right)
    equality = isinstance(action, ast.Eq | ast.NotEq | ast.Is | ast.IsNot)
    if not equality and (left is None or right is None or isinstance(left, str) != isinstance(right, str)):
        raise ToolError(
            f"{plain(left)!r:.60} and {plain(right)!r:.60} cannot be compared by size; compare like with like."
        )
    return bool(COMPARE[type(action)](left, right))


def _inside(left: Any, right: Any) -> bool:
    if isinstance(right, str):
        return str(plain(left)) in right
    return left in right if isinstance(right, list) else left == right


def _moment(value: date) -> datetime:
    return value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)


def dates(left: Any, right: Any, action: ast.operator) -> Any:
    """Days between two dates, or a date some days away."""
    if isinstance(action, ast.Sub) and isinstance(left, date) and isinstance(right, date):
        gap = _moment(left) - _moment(right)
        return Fraction(gap.days) + Fraction(gap.seconds, 86_400)
    if isinstance(action, ast.Add) and isinstance(right, date):
        left, right = right, left
    if isinstance(action, ast.Add | ast.Sub) and isinstance(left, date) and not isinstance(right, date):
        days = timedelta(days=float(number(right)))
        return left + days if isinstance(action, ast.Add) else left - days
    raise ToolError("dates can only be subtracted from one another, or have days added or taken away.")


def number(value: Any) -> Fraction:
    """The value as a number; ToolError when it is none."""
    if isinstance(value, bool):
        return Fraction(int(value))
    if isinstance(value, Fraction):
        return value
    what = "nothing (null)" if value is None else f"{plain(value)!r:.80}"
    mend = ""
    if isinstance(value, list):
        mend = f" but a list of {len(value)}: take one number of it, e.g. with sum(...), avg(...) or max(...)"
    elif isinstance(value, Mapping):
        mend = f" but a row: name one of its fields {', '.join(value)}"
    raise ToolError(f"{what} is not a number{mend}.")


def bounded(value: Fraction) -> Fraction:
    """The value itself; ToolError when it has too many digits to go on with."""
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise ToolError("a number gets too long to calculate with; scale the numbers down or round.")
    return value


def power(base: Fraction, exponent: Fraction) -> Fraction:
    """Base to the exponent, exact for whole exponents; ToolError before a huge one is computed."""
    if exponent.denominator == 1:
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if bits * abs(exponent) > MAX_BITS and base not in (0, 1, -1):
            raise ToolError(f"a power with the exponent {plain(exponent)} is too large; scale the numbers down.")
        return base ** int(exponent) if base not in (1, -1) else base ** int(exponent % 2)
    if base < 0:
        raise ToolError("a negative number has no such root.")
    return _root(base) if exponent == Fraction(1, 2) else Fraction(float(base) ** float(exponent))


def _root(value: Fraction) -> Fraction:
    if value < 0:
        raise ToolError(f"sqrt of {plain(value)} is not a number.")
    exact = Fraction(math.isqrt(value.numerator), math.isqrt(value.denominator))
    return exact if exact * exact == value else Fraction(math.sqrt(value))


def _numbers(arguments: list[Any]) -> list[Fraction]:
    flat: list[Any] = []
    for item in arguments:
        flat += item if isinstance(item, list) else [item]
    return [number(lift(only(item))) for item in flat if item is not None]


def _over(action: Callable[[list[Any]], Any]) -> Callable[[str, list[Any]], Any]:
    """A function of any number of values or of one list."""

    def call(name: str, arguments: list[Any]) -> Any:
        flat = [part for item in arguments for part in (item if isinstance(item, list) else [item])]
        if name in ("min", "max") and flat and all(isinstance(item, date) for item in flat):
            return action(flat)
        numbers = _numbers(arguments)
        if not numbers:
            raise ToolError(f"{name} of nothing is not a number.")
        return action(numbers)

    return call


def _fixed(count: int, action: Callable[..., Any], *, least: int | None = None) -> Callable[[str, list[Any]], Any]:
    def call(name: str, arguments: list[Any]) -> Any:
        if not (count if least is None else least) <= len(arguments) <= count:
            raise ToolError(f"{name} takes {count} argument{'s' if count > 1 else ''}, not {len(arguments)}.")
        return action(*arguments)

    return call


def _round(value: Any, digits: Any = Fraction(0)) -> Fraction:
    """Half away from zero, as people and SQL round."""
    places = int(number(digits))
    if abs(places) > 30:
        raise ToolError(f"round to {places} digits is not sensible; use at most 30.")
    scaled = abs(number(value)) * Fraction(10) ** places
    whole = Fraction(math.floor(scaled + Fraction(1, 2)))
    return (whole if value >= 0 else -whole) / Fraction(10) ** places


def _median(numbers: list[Fraction]) -> Fraction:
    ordered = sorted(numbers)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _count(value: Any) -> Fraction:
    return Fraction(len(value) if isinstance(value, list | str | dict) else 1)


def _as_date(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    raise ToolError(f"{plain(value)!r:.60} is not a date; write '2024-01-31'.")


def _real(action: Callable[[float], float]) -> Callable[[str, list[Any]], Any]:
    return _fixed(1, lambda value: Fraction(action(float(number(value)))))


def _average(numbers: list[Fraction]) -> Fraction:
    return sum(numbers, Fraction(0)) / len(numbers)


FUNCTIONS: Mapping[str, Callable[[str, list[Any]], Any]] = {
    "round": _fixed(2, _round, least=1),
    "min": _over(min),
    "max": _over(max),
    "sum": _over(lambda numbers: sum(numbers, Fraction(0))),
    "avg": _over(_average),
    "mean": _over(_average),
    "median": _over(_median),
    "abs": _fixed(1, lambda value: abs(number(value))),
    "sqrt": _fixed(1, lambda value: _root(number(value))),
    "floor": _fixed(1, lambda value: Fraction(math.floor(number(value)))),
    "ceil": _fixed(1, lambda value: Fraction(math.ceil(number(value)))),
    "int": _fixed(1, lambda value: Fraction(math.trunc(number(value)))),
    "float": _fixed(1, number),
    "pow": _fixed(2, lambda base, exponent: power(number(base), number(exponent))),
    "percent": _fixed(2, lambda part, whole: number(part) * 100 / number(whole)),
    "log": _real(math.log),
    "log10": _real(math.log10),
    "exp": _real(math.exp),
    "len": _fixed(1, _count),
    "count": _fixed(1, _count),
    "date": _fixed(1, _as_date),
    "days": _fixed(2, lambda first, last: dates(last, first, ast.Sub())),
    "year": _fixed(1, lambda value: Fraction(_as_date(value).year)),
    "month": _fixed(1, lambda value: Fraction(_as_date(value).month)),
    "day": _fixed(1, lambda value: Fraction(_as_date(value).day)),
}
