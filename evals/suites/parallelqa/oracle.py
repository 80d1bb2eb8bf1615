"""Labels as plans and as answers: what a solver without mistakes would hand in."""

from __future__ import annotations

import ast
from typing import Any

from ....planner.build import Call, PlanBuilder
from ....steps import Plan
from .facts import SUBJECTS
from .label import Label, Search, searches
from .plans import FACTS

_WRITTEN = {
    "max": "max({})",
    "min": "min({})",
    "mean": "avg({})",
    "gap": "abs({0} - {1})",
    "spread": "max({}) - min({})",
    "ratio": "max({}) / min({})",
    "extremes": "max({}) + min({})",
    "millions": "{0} / 1000000",
}
_SIGNS = {ast.Add: "+", ast.Mult: "*", ast.Div: "/"}


def answer(label: Label) -> str:
    """Run a label over the recorded facts."""
    found = label.value(FACTS)
    return found if isinstance(found, str) else f"{found:.10g}"


def plan(label: Label, *, task: str) -> Plan:
    """Return the plan of a label: every search, then one calculation a step; a choice of a name is left open."""
    builder = _Builder(task)
    for item in label.searches:
        builder.search(item)
    for part in label.terms if label.names else [label.root]:
        builder.part(part)
    return builder.plan.build()


class _Builder:
    """Writes a label's expression as calls."""

    def __init__(self, task: str) -> None:
        self.plan = PlanBuilder(task)
        self.found: dict[Search, Call] = {}

    def search(self, item: Search) -> None:
        query = f"{item.quantity} of {SUBJECTS[item.subject].name}"
        self.found[item] = self.plan.call("search", query=query)

    def part(self, node: ast.expr) -> Any:
        """A number, or a reference to the call that yields it."""
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name | ast.Attribute):
            return self.found[next(searches(node))]
        if isinstance(node, ast.BinOp):
            return self.calculate(f"{{0}} {_SIGNS[type(node.op)]} {{1}}", [self.part(node.left), self.part(node.right)])
        assert isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        return self.calculate(_WRITTEN[node.func.id], [self.part(item) for item in node.args])

    def calculate(self, pattern: str, values: list[Any]) -> Call:
        """A calculation of ``pattern``, where ``{}`` is all values and ``{1}`` the second."""
        parts: list[Any] = []
        for piece in pattern.replace("{", "\0{").replace("}", "}\0").split("\0"):
            if piece == "{}":
                parts += [part for value in values for part in (value, ", ")][:-1]
            else:
                parts.append(values[int(piece[1:-1])] if piece.startswith("{") else piece)
        return self.plan.call("calculator", expression=self.plan.text(*_joined(parts)))


def _joined(parts: list[Any]) -> list[Any]:
    """Numbers as text, so that only references stand beside texts."""
    return [str(part) if isinstance(part, int | float) else part for part in parts if part != ""]
