"""``calculator``: arithmetic on numbers and dates, exact as long as it can be.

Numbers are fractions until the end, so 0.1 + 0.2 is 0.3. Nothing is ever executed: the expression is
parsed and only the operators and functions below are known.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Mapping
from datetime import date
from fractions import Fraction
from typing import Any, cast

from ..errors import ToolError
from ..protocols import Ctx, Pending
from ..steps import Bound
from .arithmetic import (
    ARITHMETIC,
    CONSTANTS,
    FUNCTIONS,
    bounded,
    compare,
    dates,
    lift,
    number,
    plain,
    power,
    truth,
)
from .spec import tool

MAX_CHARACTERS = 4_000
_SIGNS = {ord("×"): "*", ord("·"): "*", ord("÷"): "/", ord("−"): "-", ord("^"): "**", ord("≤"): "<=", ord("≥"): ">="}


async def _check(args: Mapping[str, Any], ctx: Ctx) -> list[str]:
    return syntax_problems("calculator", args.get("expression"))


@tool(seconds=0.001, binds=("expression",), stability="pure", check=_check)
def calculator(expression: str | Bound) -> int | float | bool | str | None:
    """Return the value of an arithmetic expression: a number, true or false, or a date for date arithmetic.

    Args:
        expression: Uses + - * / // % ** ( ) comparisons, round, min, max, sum, avg, median, count, abs, sqrt,
            floor, ceil, percent(part, whole); dates as '2024-01-31': their difference is a number of days.
    """
    value = evaluate(expression)
    if isinstance(value, list):
        raise ToolError(f"{_text(expression)!r:.80} is a list; write 1200, not 1,200, or use sum(...), max(...).")
    return cast("int | float | bool | str | None", plain(value))


def evaluate(expression: str | Bound) -> Any:
    """Return the exact value of an expression; ToolError says what is wrong with it."""
    tree, names = _parse(expression)
    try:
        return _Evaluator(names, _shown(expression)).value(tree.body)
    except RecursionError:
        raise ToolError("the expression is nested too deeply; write it flatter.") from None
    except ZeroDivisionError:
        raise ToolError(f"{_text(expression)!r} divides by zero.") from None
    except (TypeError, ValueError, OverflowError, ArithmeticError) as error:
        raise ToolError(f"{_text(expression)!r} cannot be calculated: {error}.") from None


def syntax_problems(tool_name: str, expression: Any) -> list[str]:
    """Problems of an expression that can be seen before its values are known."""
    if not isinstance(expression, str | Bound):
        return []
    try:
        tree, names = _parse(expression)
        evaluator = _Evaluator(names, _shown(expression))
        for node in ast.walk(tree):
            evaluator.known(node)
            evaluator.suits(node)
        if not any(isinstance(value, Pending) for value in names.values()):
            evaluate(expression)
    except ToolError as error:
        return [f"{tool_name}: {error.message}"]
    return []


def _columns(value: Any) -> Mapping[str, str]:
    """Columns and types of a result to come, where they are known and it is taken as a whole."""
    whole = isinstance(value, Pending) and "." not in value.ref
    return (value.columns or {}) if whole else {}


def _text(expression: str | Bound) -> str:
    return expression.text if isinstance(expression, Bound) else expression


def _shown(expression: str | Bound) -> list[str]:
    """The names of earlier results, longest first, so that ``$1`` does not take a part of ``$10``."""
    return sorted(expression.values, key=len, reverse=True) if isinstance(expression, Bound) else []


def _parse(expression: str | Bound) -> tuple[ast.Expression, dict[str, Any]]:
    text = _text(expression)
    if len(text) > MAX_CHARACTERS:
        raise ToolError(f"the expression has {len(text)} characters; write at most {MAX_CHARACTERS}.")
    names: dict[str, Any] = {}
    values = expression.values if isinstance(expression, Bound) else {}
    for name in _shown(expression):
        key = f"__v{len(names)}__"
        # A reference that the planner put into quotes means the value, not its name.
        quoted = rf"(['\"]){re.escape(name)}\1|{re.escape(name)}(?![0-9])"
        text, _ = re.subn(quoted, key, text)
        names[key] = values[name]
    text = _normal(text)
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        shown = _text(expression)
        missing = re.search(r"\$\w+", text)
        mend = (
            f"{missing[0]} is no earlier result"
            if missing
            else "use numbers, results, + - * / ( ) and functions such as round(x, 2)"
        )
        raise ToolError(f"{shown!r:.200} is not an arithmetic expression; {mend}.") from None
    return tree, names


def _normal(text: str) -> str:
    """The spellings of people and of SQL as Python's."""
    parts = re.split(r"('[^']*'|\"[^\"]*\")", text)
    for index in range(0, len(parts), 2):
        part = parts[index].translate(_SIGNS)
        part = part.replace("<=", "<= ").replace("<>", "!=").replace("&&", " and ").replace("||", " or ")
        part = re.sub(r"(\d+(?:\.\d+)?)\s*%\s*of\b", r"(\1/100) *", part, flags=re.IGNORECASE)
        part = re.sub(r"(?<=[\d)_])\s*%(?=\s*(?:$|[)*/,]|[+-]\s))", "/100", part)
        part = re.sub(r"::\s*[A-Za-z]\w*(?:\s*\([\d\s,]*\))?", "", part)
        part = re.sub(r"(?<![<>=!])=(?!=)", "==", part)
        part = re.sub(r"\b(AND|OR|NOT|IN|IS|TRUE|FALSE|NULL)\b", lambda match: match[0].lower(), part)
        parts[index] = part
    return "".join(parts)


class _Evaluator:
    """Walks the tree; every kind of node that is not named here is refused."""

    def __init__(self, names: Mapping[str, Any], shown: list[str]) -> None:
        self._names = names
        self._shown = shown
        self._steps = 0

    def _write(self, node: ast.AST) -> str:
        """A part of the expression as it was written, with the names of the results."""
        text = ast.unparse(node)
        for index, name in enumerate(self._shown):
            text = text.replace(f"__v{index}__", name)
        return text

    def known(self, node: ast.AST) -> None:
        """Refuse names and functions that do not exist, without values."""
        if isinstance(node, ast.Call):
            if not isinstance(node.func, ast.Name) or node.func.id.lower() not in FUNCTIONS or node.keywords:
                raise ToolError(
                    f"there is no function {self._write(node.func)!r}; the functions are {', '.join(FUNCTIONS)}"
                )
        elif isinstance(node, ast.Name) and node.id not in self._names:
            if node.id.lower() not in CONSTANTS and node.id.lower() not in FUNCTIONS:
                raise ToolError(f"{node.id!r} is no number and no earlier result; put text into quotes.")

    def suits(self, node: ast.AST) -> None:
        """Refuse results to come that will be texts where a number is due."""
        if isinstance(node, ast.BinOp):
            sides = [node.left, node.right]
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Lt | ast.Gt | ast.LtE | ast.GtE):
            sides = [node.left, *node.comparators]
        else:
            return
        kinds = [
            _columns(self._names[side.id]) for side in sides if isinstance(side, ast.Name) and side.id in self._names
        ]
        texts = [columns for columns in kinds if columns and set(columns.values()) == {"VARCHAR"}]
        if texts and (isinstance(node, ast.BinOp) or len(texts) < len(sides)):
            raise ToolError(
                f"{self._write(node)!r:.80} calculates with {next(iter(texts[0]))}, which is a text; take a column "
                "that holds numbers."
            )

    def value(self, node: ast.expr) -> Any:
        self._steps += 1
        handler = getattr(self, f"_on_{type(node).__name__.lower()}", None)
        if handler is None or self._steps > MAX_CHARACTERS:
            raise ToolError(f"{self._write(node)!r:.80} is not arithmetic; use numbers, operators and functions.")
        result = handler(node)
        return bounded(result) if isinstance(result, Fraction) else result

    def _on_constant(self, node: ast.Constant) -> Any:
        if isinstance(node.value, bytes | complex) or node.value is Ellipsis:
            raise ToolError(f"{node.value!r:.80} is not arithmetic; use numbers.")
        return lift(node.value)

    def _on_name(self, node: ast.Name) -> Any:
        if node.id in self._names:
            return lift(self._names[node.id])
        self.known(node)
        return CONSTANTS[node.id.lower()]

    def _on_attribute(self, node: ast.Attribute) -> Any:
        return lift(self._raw(node))

    def _on_subscript(self, node: ast.Subscript) -> Any:
        return lift(self._raw(node))

    def _raw(self, node: ast.expr) -> Any:
        """An earlier result, or a field or element of it, as it came."""
        if isinstance(node, ast.Name) and node.id in self._names:
            return self._names[node.id]
        if not isinstance(node, ast.Attribute | ast.Subscript):
            raise ToolError(f"{self._write(node)!r:.80} has no fields; use an earlier result.")
        key = node.attr if isinstance(node, ast.Attribute) else plain(self.value(node.slice))
        whole = self._raw(node.value)
        row: Any = whole[0] if isinstance(whole, list) and len(whole) == 1 and isinstance(key, str) else whole
        try:
            if isinstance(row, list | Mapping):
                return operator.getitem(cast(Any, row), key)
            raise KeyError(key)
        except (KeyError, IndexError, TypeError):
            names = ", ".join(map(str, row)) if isinstance(row, Mapping) else f"{row!r:.60}"
            raise ToolError(f"the earlier result has no {key!r}; it has {names}.") from None

    def _on_list(self, node: ast.List) -> Any:
        return [self.value(item) for item in node.elts]

    _on_tuple = _on_list

    def _on_unaryop(self, node: ast.UnaryOp) -> Any:
        value = self.value(node.operand)
        if isinstance(node.op, ast.Not):
            return not truth(value)
        return -number(value) if isinstance(node.op, ast.USub) else number(value)

    def _on_binop(self, node: ast.BinOp) -> Any:
        left, right = self.value(node.left), self.value(node.right)
        if isinstance(node.op, ast.Pow):
            return power(number(left), number(right))
        action = ARITHMETIC.get(type(node.op))
        if action is None:
            raise ToolError(f"{self._write(node)!r:.80} uses an operator that is not arithmetic.")
        if isinstance(left, date) or isinstance(right, date):
            return dates(left, right, node.op)
        if isinstance(node.op, ast.Add) and isinstance(left, str) and isinstance(right, str):
            raise ToolError(f"{left!r:.40} and {right!r:.40} are texts; the calculator adds numbers.")
        return Fraction(action(number(left), number(right)))

    def _on_boolop(self, node: ast.BoolOp) -> Any:
        if isinstance(node.op, ast.And):
            return all(truth(self.value(item)) for item in node.values)
        return any(truth(self.value(item)) for item in node.values)

    def _on_ifexp(self, node: ast.IfExp) -> Any:
        return self.value(node.body if truth(self.value(node.test)) else node.orelse)

    def _on_compare(self, node: ast.Compare) -> Any:
        left = self.value(node.left)
        for action, comparator in zip(node.ops, node.comparators, strict=True):
            right = self.value(comparator)
            if not compare(left, action, right):
                return False
            left = right
        return True

    def _on_call(self, node: ast.Call) -> Any:
        self.known(node)
        name = ast.unparse(node.func).lower()
        arguments = [self.value(item) for item in node.args]
        return FUNCTIONS[name](name, arguments)
