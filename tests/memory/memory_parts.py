from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from decimal import Decimal

from shuntyard.messages import Usage
from shuntyard.steps import Node, Plan, Trajectory

TASKS = (
    "What is the total amount of all orders in orders.csv?",
    "Find the customer with the highest total spending in customers.csv",
    "Count the lines with ERROR in server.log",
    "How many words are in notes.txt?",
    "Convert 120 miles to kilometres",
)


class Letters:
    """Embeds by trigrams of letters: deterministic, and spelled-alike texts lie close."""

    def __init__(self, id: str = "letters-64") -> None:
        self.id = id
        self.embedded: list[str] = []

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.embedded.extend(texts)
        return [self._one(text) for text in texts]

    def _one(self, text: str) -> list[float]:
        values = [0.0] * 64
        for i in range(len(text) - 2):
            values[hashlib.sha256(text[i : i + 3].encode()).digest()[0] % 64] += 1.0
        length = math.sqrt(sum(value * value for value in values)) or 1.0
        return [value / length for value in values]


def trajectory(task: str, run: str, **changes: object) -> Trajectory:
    plan = Plan(task=task, nodes=(Node(id="n1", tool="now", args={"note": run}),))
    base = Trajectory(
        run=run, task=task, plan=plan, catalogue="c1", outcome="done", answer="42", usage=Usage(), cost=Decimal("0.1")
    )
    return base.model_copy(update=changes)
