"""The DAGs that are run: layered ones of sleeping tools, chains and fans of empty ones, and large ones."""

from __future__ import annotations

import random

from ...planner.dag import critical_path
from ...steps import Node, Plan

SHAPES = ("uniform", "heavy")


def layered(seed: int, layers: int, wide: int, shape: str) -> Plan:
    """A random DAG: each node waits for one to three nodes of the layer before.

    ``uniform`` nodes take 20 to 100 ms; of ``heavy`` ones 85 % take 10 to 40 ms and 15 % 200 to 400 ms.
    """
    chance = random.Random(seed)
    nodes: list[Node] = []
    for layer in range(layers):
        for _ in range(wide):
            before = [node.id for node in nodes[(layer - 1) * wide : layer * wide]] if layer else []
            used = chance.sample(before, k=min(len(before), chance.randint(1, 3)))
            nodes.append(_node(len(nodes) + 1, used, _duration(chance, shape)))
    return Plan(task="layered", nodes=tuple(nodes))


def chain(size: int) -> Plan:
    """Nodes that each wait for the one before and take no time."""
    return Plan(task="chain", nodes=tuple(_node(at + 1, [f"n{at}"] if at else [], 0) for at in range(size)))


def fan(size: int) -> Plan:
    """One node and ``size`` that wait for it."""
    return Plan(task="fan", nodes=tuple(_node(at + 1, ["n1"] if at else [], 0) for at in range(size + 1)))


def large(size: int, *, window: int = 100) -> Plan:
    """A random DAG of empty nodes that wait for one to three of the last ``window``."""
    chance = random.Random(size)
    nodes = []
    for at in range(size):
        before = range(max(0, at - window), at)
        used = chance.sample(before, k=min(len(before), chance.randint(1, 3)))
        nodes.append(_node(at + 1, [f"n{one + 1}" for one in used], 0))
    return Plan(task="large", nodes=tuple(nodes))


def seconds(node: Node) -> float:
    """How long ``node`` sleeps."""
    value = node.args["seconds"]
    assert isinstance(value, (int, float))
    return float(value)


def path_seconds(plan: Plan) -> float:
    """The critical path: no scheduler can be faster."""
    return critical_path(plan, {node.id: seconds(node) for node in plan.nodes})[1]


def _node(number: int, used: list[str], seconds: float) -> Node:
    inputs = [{"$ref": id} for id in used]
    return Node.model_validate({"id": f"n{number}", "tool": "sleep", "args": {"seconds": seconds, "inputs": inputs}})


def _duration(chance: random.Random, shape: str) -> float:
    if shape == "heavy" and chance.random() < 0.15:
        return chance.uniform(0.2, 0.4)
    return chance.uniform(0.01, 0.04) if shape == "heavy" else chance.uniform(0.02, 0.1)
