"""Random plans with fan-in, maps and effects, and what each of their nodes must come to."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from pydantic import JsonValue

from ...steps import Node, Plan
from .tools import fold

Values: TypeAlias = Mapping[str, int | list[int]]

_KINDS = {"mix": 50, "spread": 12, "each": 12, "total": 10, "record": 10, "deliver": 6}
_WINDOW = 15
_SECONDS = (0.002, 0.02)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A plan and what an undisturbed, sequential evaluation makes of it."""

    plan: Plan
    values: Values
    """By node id."""
    effects: Mapping[str, int]
    """Value by step path: each must happen, once."""


@dataclass(slots=True)
class _Draft:
    chance: random.Random
    nodes: list[Node] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    lists: dict[str, list[int]] = field(default_factory=dict)
    effects: dict[str, int] = field(default_factory=dict)
    receipts: dict[str, int | list[int]] = field(default_factory=dict)
    """Values of effects that nobody may use: one in doubt that was settled has none."""
    unused: dict[str, None] = field(default_factory=dict)
    """Numbers that no node reads yet."""


def crash_plan(seed: int, *, size: int = 101) -> Wanted:
    """Return a random plan of ``size`` nodes; the last one depends on every number of it."""
    draft = _Draft(random.Random(seed))
    makers = {"mix": _mix, "spread": _spread, "each": _each, "total": _total, "record": _record, "deliver": _deliver}
    for _ in range(size - 1):
        kinds = [kind for kind in _KINDS if _possible(draft, kind)]
        (kind,) = draft.chance.choices(kinds, weights=[_KINDS[kind] for kind in kinds])
        makers[kind](draft)
    _add(draft, "mix", {"inputs": [_ref(id) for id in draft.unused], "add": 0}, after=list(draft.receipts)[-5:])
    draft.numbers[_last(draft)] = fold([draft.numbers[id] for id in draft.unused], 0)
    plan = Plan(task=f"crash plan {seed}", nodes=tuple(draft.nodes), origin="person")
    return Wanted(plan, {**draft.numbers, **draft.lists, **draft.receipts}, draft.effects)


def _possible(draft: _Draft, kind: str) -> bool:
    if kind in ("each", "total"):
        return bool(draft.lists)
    return kind == "mix" or len(draft.numbers) > 2


def _mix(draft: _Draft) -> None:
    used, add = _some(draft, draft.chance.randint(1, 3)), draft.chance.randrange(1000)
    after = draft.chance.sample(list(draft.receipts), k=1) if draft.receipts and draft.chance.random() < 0.3 else []
    _add(draft, "mix", {"inputs": [_ref(id) for id in used], "add": add}, after=after)
    _number(draft, fold([draft.numbers[id] for id in used], add))


def _spread(draft: _Draft) -> None:
    (used,), count = _some(draft, 1), draft.chance.randint(2, 6)
    _add(draft, "spread", {"start": _ref(used), "count": count})
    draft.lists[_last(draft)] = [fold([draft.numbers[used]], at) for at in range(count)]


def _each(draft: _Draft) -> None:
    """A map over a list: of a read, of an effect, or of one that may be repeated."""
    source = draft.chance.choice(list(draft.lists)[-3:])
    tool = draft.chance.choice(("mix", "mix", "record", "deliver"))
    items = draft.lists[source]
    args: dict[str, JsonValue] = {"inputs": [_ref("item")], "add": 5} if tool == "mix" else {"value": _ref("item")}
    _add(draft, tool, args, over=_ref(source))
    id = _last(draft)
    if tool != "mix":
        draft.effects.update({f"{id}[{at}]": value for at, value in enumerate(items)})
    if tool == "record":
        draft.receipts[id] = items
    else:
        draft.lists[id] = [fold([value], 5 if tool == "mix" else 1) for value in items]


def _total(draft: _Draft) -> None:
    source = draft.chance.choice(list(draft.lists)[-4:])
    _add(draft, "mix", {"inputs": _ref(source), "add": 3})
    _number(draft, fold(draft.lists[source], 3))


def _record(draft: _Draft) -> None:
    (used,) = _some(draft, 1)
    _add(draft, "record", {"value": _ref(used)})
    draft.receipts[_last(draft)] = draft.effects[_last(draft)] = draft.numbers[used]


def _deliver(draft: _Draft) -> None:
    (used,) = _some(draft, 1)
    _add(draft, "deliver", {"value": _ref(used)})
    draft.effects[_last(draft)] = draft.numbers[used]
    _number(draft, fold([draft.numbers[used]], 1))


def _some(draft: _Draft, count: int) -> list[str]:
    """Up to ``count`` of the last numbers; they count as used."""
    before = list(draft.numbers)[-_WINDOW:]
    used = draft.chance.sample(before, k=min(count, len(before)))
    for id in used:
        draft.unused.pop(id, None)
    return used


def _number(draft: _Draft, value: int) -> None:
    draft.numbers[_last(draft)] = value
    draft.unused[_last(draft)] = None


def _add(
    draft: _Draft,
    tool: str,
    args: Mapping[str, JsonValue],
    *,
    over: Mapping[str, JsonValue] | None = None,
    after: list[str] | None = None,
) -> None:
    seconds = round(draft.chance.uniform(*_SECONDS), 4)
    node = {"id": f"n{len(draft.nodes) + 1}", "tool": tool, "args": {**args, "seconds": seconds}}
    draft.nodes.append(Node.model_validate({**node, "over": over, "after": after or []}))


def _last(draft: _Draft) -> str:
    return draft.nodes[-1].id


def _ref(id: str) -> dict[str, JsonValue]:
    return {"$ref": id}
