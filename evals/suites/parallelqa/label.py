"""One label: which facts a question needs and the arithmetic that joins them, as an expression that can be run."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from .facts import SUBJECTS

MILLION = 1_000_000


class Search(NamedTuple):
    """One fact to look up."""

    subject: str
    """Key of the subject."""
    quantity: str

    def __str__(self) -> str:
        """``Mariana Trench (depth)``."""
        return f"{SUBJECTS[self.subject].name} ({self.quantity})"


Values: TypeAlias = Mapping[Search, float]

FUNCTIONS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "max": max,
    "min": min,
    "mean": lambda values: math.fsum(values) / len(values),
    "gap": lambda values: abs(values[0] - values[1]),
    "spread": lambda values: max(values) - min(values),
    "ratio": lambda values: max(values) / min(values),
    "extremes": lambda values: max(values) + min(values),
    "millions": lambda values: values[0] / MILLION,
}
_OPERATORS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: lambda left, right: left + right,
    ast.Mult: lambda left, right: left * right,
    ast.Div: lambda left, right: left / right,
}
_NAMING = {"most": max, "least": min}
"""Choices whose answer is the subject, not the value."""
_CHOOSING = {*_NAMING, "max", "min"}


@dataclass(frozen=True, slots=True)
class Label:
    """What a right plan does, in whatever order and however the arithmetic is cut into calls."""

    text: str
    root: ast.expr
    searches: tuple[Search, ...]
    """In the order of the expression, each once."""
    calculations: tuple[frozenset[Search], ...]
    """For every step of the arithmetic, the searches that feed it. Two steps are independent when neither
    contains the other. A choice at the end is left out: whoever writes the answer may make it."""

    @property
    def names(self) -> bool:
        """The answer is the name of a subject."""
        return _function(self.root) in _NAMING

    @property
    def terms(self) -> tuple[ast.expr, ...]:
        """What the last choice is between; empty when the label does not end in one."""
        return tuple(self.root.args) if isinstance(self.root, ast.Call) and self.chooses else ()

    @property
    def chooses(self) -> bool:
        """The last step only picks one of its values."""
        return _function(self.root) in _CHOOSING

    def value(self, values: Values) -> float | str:
        """Run the label: the answer as a number, or the name of a subject."""
        if not self.names:
            return float(evaluate(self.root, values))
        return SUBJECTS[self.winner(values)].name

    def winner(self, values: Values) -> str:
        """Key of the subject that a naming label chooses."""
        pick = _NAMING[_function(self.root)]
        best = pick(self.terms, key=lambda term: evaluate(term, values))
        return next(searches(best)).subject

    def amounts(self, values: Values) -> tuple[float, ...]:
        """Return the value of each term."""
        return tuple(evaluate(term, values) for term in self.terms)

    def results(self, values: Values) -> tuple[float, ...]:
        """Numbers that count as the answer: with ``millions`` the plain count too, which reads the same."""
        value = evaluate(self.root, values)
        return (value, value * MILLION) if _function(self.root) == "millions" else (value,)


def parse(text: str) -> Label:
    """Read a label; ValueError names what is not known."""
    root = ast.parse(text, mode="eval").body
    found = tuple(dict.fromkeys(searches(root)))
    evaluate(root, dict.fromkeys(found, 1.0), naming=True)
    choosing = _function(root) in _CHOOSING
    steps = [
        frozenset(searches(node))
        for node in ast.walk(root)
        if isinstance(node, ast.Call | ast.BinOp) and not (choosing and node is root)
    ]
    return Label(text, root, found, tuple(dict.fromkeys(steps)))


def searches(node: ast.expr) -> Iterator[Search]:
    """Yield the facts that a part of a label needs, from left to right; ValueError for an unknown one."""
    if isinstance(node, ast.Name | ast.Attribute):
        yield _search(node)
    elif isinstance(node, ast.BinOp):
        yield from searches(node.left)
        yield from searches(node.right)
    elif isinstance(node, ast.Call):
        for item in node.args:
            yield from searches(item)


def evaluate(node: ast.expr, values: Values, *, naming: bool = False) -> float:
    """Return the value of a part of a label; with ``naming`` also of ``most`` and ``least``: the chosen value."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return node.value
    if isinstance(node, ast.Name | ast.Attribute):
        return values[_search(node)]
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](evaluate(node.left, values), evaluate(node.right, values))
    name = _function(node)
    if isinstance(node, ast.Call) and (name in FUNCTIONS or (naming and name in _NAMING)):
        return (FUNCTIONS.get(name) or _NAMING[name])([evaluate(item, values) for item in node.args])
    raise ValueError(f"{ast.unparse(node)!r} is no part of a label; use subjects, numbers, + * / and {list(FUNCTIONS)}")


def _function(node: ast.expr) -> str:
    return node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""


def _search(node: ast.Name | ast.Attribute) -> Search:
    text = ast.unparse(node)
    key, _, quantity = text.partition(".")
    subject = SUBJECTS.get(key)
    if subject is None or (quantity and quantity not in subject.facts):
        raise ValueError(f"{text!r} is no fact; write a key of SUBJECTS, or key.quantity")
    return Search(key, quantity or next(iter(subject.facts)))
