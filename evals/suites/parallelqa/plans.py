"""A plan against a label: its searches, what flows where, and whether it computes the answer.

Order, numbering and how the arithmetic is cut into calls do not matter. What a plan computes is found by running it:
searches give made-up values and everything else runs on the product's own tools, so that a number that was guessed
or an operand that was left out gives another result than the label's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ....errors import ToolError
from ....planner.dag import ordered
from ....planner.validate import problems
from ....planner.values import elements, holds, parents, resolve
from ....steps import Bound, Node, Plan, StepResult
from ....tools.calculator import calculator
from ....tools.choose import choose
from ....tools.spec import FunctionTool
from ...case import Score
from .facts import SUBJECTS
from .label import Label, Search, Values
from .search import article, asked, mentioned, query_of, search

TOOLS: Mapping[str, FunctionTool[..., Any]] = {tool.spec.name: tool for tool in (search, calculator, choose)}
"""What every solver of this suite may call."""
SPECS = tuple(tool.spec for tool in TOOLS.values())
FACTS: Values = {
    Search(key, quantity): value for key, subject in SUBJECTS.items() for quantity, value in subject.facts.items()
}
PARTS = ("searches", "precision", "dependencies", "parallel", "arithmetic")
_WORLDS = ((1.1, 0.5), (0.9, 2.0))
_CLOSE = 0.005
"""Relative; lets a plan round its results."""
_FAR = 10.0


@dataclass(slots=True)
class _Reading:
    """A plan as the scorer sees it."""

    plan: Plan
    label: Label
    matched: dict[str, Search] = field(default_factory=dict)
    """By node id, the labelled search that a call counts for; one-to-one."""
    found: dict[str, Search] = field(default_factory=dict)
    """By node id, what a call finds: the same, and for a search that is made again what it found before."""
    above: dict[str, set[str]] = field(default_factory=dict)
    """By node id, all that must have finished before it."""
    ends: list[Node] = field(default_factory=list)
    """Calls whose result no other call uses."""

    @property
    def searching(self) -> list[Node]:
        return [node for node in self.plan.nodes if node.tool == search.spec.name]

    @property
    def computing(self) -> list[Node]:
        return [node for node in self.plan.nodes if node.tool != search.spec.name]

    def feeds(self, node: Node) -> set[Search]:
        """Labelled searches that reach a call."""
        return {self.found[id] for id in self.above[node.id] if id in self.found}


def judge(plan: Plan, labels: Sequence[Label]) -> Score:
    """Hold a plan against the labels of its question; the label that fits best counts.

    The value is 1 when every part is: ``searches`` (labelled searches that the plan makes; a query counts for one),
    ``precision`` (calls that are needed), ``dependencies`` (labelled steps of arithmetic for which some call is fed
    by all operands), ``parallel`` (searches that wait for no other search), ``arithmetic`` (the plan computes the
    answer). A choice between values may be left to whoever writes the answer, arithmetic may not.
    """
    if plan.refusal:
        return nothing(f"refused: {plan.refusal}", answered=False)
    if wrong := problems(plan, SPECS):
        return nothing("; ".join(wrong))
    return max((_judge(plan, label) for label in labels), key=lambda score: (score.value, sum(score.parts.values())))


def nothing(why: str, *, answered: bool = True) -> Score:
    """Return the score of a plan that cannot be judged any further."""
    return Score(value=0, answered=answered, explanation=why, parts=dict.fromkeys(PARTS, 0.0))


def _judge(plan: Plan, label: Label) -> Score:
    reading = _read(plan, label)
    missing = [item for item in label.searches if item not in reading.matched.values()]
    right, extra = _computes(reading)
    spare = [node for node in reading.searching if node.id not in reading.matched]
    spare += [node for node in reading.computing if node.id in extra or not reading.feeds(node)]
    fed = [reading.feeds(node) for node in reading.computing]
    loose = [step for step in label.calculations if not any(step <= found for found in fed)]
    ids = {node.id for node in reading.searching}
    late = [node for node in reading.searching if ids & reading.above[node.id]]
    parts = {
        "searches": 1 - len(missing) / len(label.searches),
        "precision": 1 - len(spare) / len(plan.nodes),
        "dependencies": 1 - len(loose) / len(label.calculations),
        "parallel": 1 - len(late) / len(ids) if ids else 0.0,
        "arithmetic": float(right),
    }
    said = [f"no search for {item}" for item in missing]
    said += [f"{node.id} is not needed" for node in spare]
    said += [f"nothing is fed by all of {', '.join(sorted(map(str, step)))}" for step in loose]
    said += [f"{node.id} waits for another search" for node in late]
    said += [] if right else [f"does not compute {label.text}"]
    size = f"{len(ids)} searches, {len(plan.nodes) - len(ids)} other calls"
    return Score(value=float(not said), answer=size, explanation="; ".join(said), parts=parts)


def _read(plan: Plan, label: Label) -> _Reading:
    reading = _Reading(ordered(plan), label)
    for node in reading.plan.nodes:
        direct = parents(node)
        reading.above[node.id] = set(direct).union(*(reading.above[id] for id in direct))
    used = {id for node in plan.nodes for id in parents(node)}
    reading.ends = [node for node in reading.plan.nodes if node.id not in used]
    offers = {node.id: [item for item in asked(query_of(node)) if item in label.searches] for node in reading.searching}
    reading.matched = _matching(offers)
    reading.found = {id: items[0] for id, items in offers.items() if items} | reading.matched
    return reading


def _matching(offers: Mapping[str, Sequence[Search]]) -> dict[str, Search]:
    """Return the largest one-to-one choice of a labelled search for each call (augmenting paths)."""
    taken: dict[Search, str] = {}

    def place(id: str, tried: set[Search]) -> bool:
        for item in offers[id]:
            if item not in tried:
                tried.add(item)
                if item not in taken or place(taken[item], tried):
                    taken[item] = id
                    return True
        return False

    for id in offers:
        place(id, set())
    return {id: item for item, id in taken.items()}


def _computes(reading: _Reading) -> tuple[bool, set[str]]:
    """Return whether the plan computes the answer, and the ends that are beside it."""
    if any(item not in reading.matched.values() for item in reading.label.searches):
        return False, set()
    if not reading.label.names:
        return _amounts(reading)
    right = _told(reading)
    if right is None:
        right = all(_shown(reading, values) for values in _worlds(reading.label))
    beside = {id for id, found in _ends(reading, FACTS).items() if not _fits(found, reading.label)}
    return right, beside if right else set()


def _amounts(reading: _Reading) -> tuple[bool, set[str]]:
    """A number: in both worlds some end is the answer, or the ends are what the answer is chosen from."""
    label = reading.label
    extra = {node.id for node in reading.ends if node.tool != search.spec.name}
    right = True
    for values in _worlds(label):
        ends = _ends(reading, values)
        hits = {id for id, found in ends.items() if any(_same(found, each) for each in label.results(values))}
        terms = label.amounts(values)
        if terms and all(any(_same(found, each) for found in ends.values()) for each in terms):
            hits |= {id for id, found in ends.items() if any(_same(found, each) for each in terms)}
        right = right and bool(hits)
        extra -= hits
    return right, extra if right else set()


def _told(reading: _Reading) -> bool | None:
    """Whether the ends tell the name, by saying it or by yes and no; None when they say nothing of the kind."""
    told: dict[tuple[Any, ...], set[str]] = {}
    for subject, values in _winners(reading.label):
        ends = _ends(reading, values)
        said = tuple(found for node in reading.computing if isinstance(found := _title(ends.get(node.id)), str | bool))
        texts = [each for each in said if isinstance(each, str)]
        if texts and mentioned(" ".join(texts)) != [subject]:
            return False
        told.setdefault(said, set()).add(subject)
    return True if all(len(subjects) == 1 for subjects in told.values()) else None


def _title(found: Any) -> Any:
    """An end as a name where it is an article that the plan has chosen."""
    return found.get("title") if isinstance(found, Mapping) else found


def _shown(reading: _Reading, values: Values) -> bool:
    """Whether all that is to be compared stands somewhere among the results."""
    found = _run(reading, values).values()
    return all(any(_same(each, amount) for each in found) for amount in reading.label.amounts(values))


def _fits(found: Any, label: Label) -> bool:
    """Whether an end of a plan can be a part of choosing a name; articles are judged as searches."""
    return (
        isinstance(found, bool)
        or not isinstance(found, int | float)
        or any(_same(found, amount) for amount in label.amounts(FACTS))
    )


def _ends(reading: _Reading, values: Values) -> dict[str, Any]:
    """Run the plan and return what its ends came to."""
    found = _run(reading, values)
    return {node.id: found[node.id] for node in reading.ends if node.id in found}


def _worlds(label: Label) -> Iterator[Values]:
    """Values that keep the order of the facts and nothing else: who knows the facts by heart is found out."""
    for power, factor in _WORLDS:
        yield {item: factor * FACTS[item] ** power for item in label.searches}


def _winners(label: Label) -> Iterator[tuple[str, Values]]:
    """For each subject of a naming label, values with which it is the answer by far."""
    for place, item in enumerate(label.searches):
        amounts = label.amounts(FACTS)
        for best in (max(amounts) * _FAR, min(amounts) / _FAR):
            values = {**FACTS, item: FACTS[item] * best / amounts[place]}
            if label.winner(values) == item.subject:
                yield item.subject, values


def _same(found: Any, wanted: float) -> bool:
    if isinstance(found, Mapping):
        found = found.get("number")
    if not isinstance(found, int | float) or isinstance(found, bool):
        return False
    return abs(found - wanted) <= _CLOSE * abs(wanted)


def _run(reading: _Reading, values: Values) -> dict[str, Any]:
    """Run the plan over ``values`` and return what came of each call.

    A call that fails, and what needs it, is left out. A search that no label asks for finds nothing.
    """
    results: dict[str, StepResult] = {}
    for node in reading.plan.nodes:
        if node.tool == search.spec.name:
            item = reading.found.get(node.id)
            if item is not None:
                results[node.id] = StepResult(value=article(item, values[item]))
            continue
        try:
            if holds(node, results):
                results[node.id] = StepResult(value=_call(node, results))
        except ToolError:
            continue
    return {id: result.value for id, result in results.items()}


def _call(node: Node, results: Mapping[str, StepResult]) -> Any:
    tool = TOOLS[node.tool]
    found = []
    for item in [None] if node.over is None else elements(node, results):
        args = resolve(node, results, tool.spec, item=item).args
        bound = {name: value for name, value in args.items() if isinstance(value, Bound)}
        found.append(tool.function(**tool.signature.validate(args, skip=bound), **bound))
    return found[0] if node.over is None else found
