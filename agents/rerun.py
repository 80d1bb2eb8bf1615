"""Which steps of a replay are run: those that were named, also inside of bodies, and all that depends on them."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from ..errors import UnknownName
from ..planner.values import parents, refs
from ..steps import Node, Plan, StepKey

JOIN = "join"
"""Stands beside node ids: the answer alone is asked for again."""
_PLACE = re.compile(r"(n[1-9][0-9]*)(?:\[([0-9]+)\])?")


class Place(NamedTuple):
    """A node, or one element or turn of it."""

    id: str
    at: int | None = None


Path: TypeAlias = tuple[Place, ...]
"""From the outside in: ``n3[2].n5`` is n5 in the third turn of n3; without a number, in every turn."""


def read_path(text: str) -> Path:
    """Return the places of a path as the journal writes it; empty when it is none of a node."""
    found = [_PLACE.fullmatch(part) for part in text.split(".")]
    return tuple(Place(each[1], int(each[2]) if each[2] else None) for each in found if each) if all(found) else ()


def node_of(path: str) -> str:
    """The node of the plan that a step belongs to, also from inside of bodies."""
    return path.partition(".")[0].partition("[")[0]


@dataclass(frozen=True, slots=True)
class Rerun:
    """Tells which steps are run: some of a plan's revision, its answer, and all that comes after."""

    revision: int
    nodes: tuple[Node, ...] = ()
    starts: tuple[Path, ...] = ()
    recorded: frozenset[tuple[int, str]] = frozenset()

    @classmethod
    def of(cls, names: Sequence[str], plans: Mapping[int, Plan], run: str, *, recorded: Collection[StepKey]) -> Rerun:
        """Return what depends on ``names``: ids of nodes, also of calls in bodies, paths of the journal, ``join``.

        Nothing when there are none. Raises UnknownName for what is not in the plans, or a turn that was not made.
        """
        if not names:
            return cls(sys.maxsize)
        # A plan that was extended holds its first nodes still: where a node stood first, it ran.
        first = {node.id: revision for revision in sorted(plans, reverse=True) for node in plans[revision].nodes}
        last = max(plans, default=0)
        around = {id: path for plan in plans.values() for id, path in _around(plan.nodes)}
        top = sorted(first, key=lambda id: int(id[1:]))
        known = [*top, *([JOIN] if first else []), *(id for id in around if id not in first)]
        places = {(key.revision, key.path) for key in recorded}
        starts: list[Path] = []
        for name in dict.fromkeys(names):
            path = read_path(name)
            if len(path) == 1 and path[0].id in around:
                path = (*around[path[0].id][:-1], path[0])
            if not (name == JOIN and first) and not (path and _there(path, around, places)):
                have = ", ".join(known) or "no plan"
                turns = "; one turn is named as in n3[2].n5" if len(around) > len(first) else ""
                raise UnknownName("node", name, known, mend=f"Run {run} has {have}{turns}.")
            starts += [path] if path else []
        revision = min([first[path[0].id] for path in starts], default=last)
        return cls(revision, plans[revision].nodes, tuple(starts), frozenset(places))

    def __call__(self, key: StepKey) -> bool:
        """Return whether the step is run."""
        if key.revision != self.revision:
            return key.revision > self.revision
        if key.path.startswith(JOIN):
            return True
        path = read_path(key.path)
        return bool(path) and _run(self.nodes, self.starts, path, made=(key.revision, key.path) in self.recorded)


def _around(nodes: Sequence[Node], outside: Path = ()) -> Iterator[tuple[str, Path]]:
    """Every id with the path that leads to it."""
    for node in nodes:
        path = (*outside, Place(node.id))
        yield node.id, path
        if node.body is not None:
            yield from _around(node.body.nodes, path)


def _there(path: Path, around: Mapping[str, Path], recorded: Collection[tuple[int, str]]) -> bool:
    """True for a path that the plans have, in turns that are on record."""
    if [place.id for place in around.get(path[-1].id, ())] != [place.id for place in path]:
        return False
    return all(place.at is None for place in path) or any(_within(path, read_path(each)) for _, each in recorded)


def _within(start: Path, path: Path) -> bool:
    """True for a step at ``start``, or inside of it."""
    pairs = zip(start, path, strict=False)
    return len(path) >= len(start) and all(one.id == other.id and one.at in (None, other.at) for one, other in pairs)


def _run(nodes: Sequence[Node], starts: Sequence[Path], path: Path, *, made: bool) -> bool:
    """Whether the step ``path`` of ``nodes`` is run when ``starts`` are; ``made``: it is on record."""
    place, rest = path[0], path[1:]
    whole = {start[0].id for start in starts if start == (Place(start[0].id),)}
    touched = whole | {start[0].id for start in starts}
    for node in nodes:
        if touched & set(parents(node)):
            touched.add(node.id)
            whole.add(node.id)
    if place.id in whole or place.id not in touched:
        return place.id in whole
    if not made:
        # Nothing could answer a turn that was not made before.
        return True
    mine = [start for start in starts if start[0].id == place.id]
    body = next(node.body for node in nodes if node.id == place.id)
    if body is None or (place,) in mine:
        return (place,) in mine
    within = [start[1:] for start in mine if len(start) > 1 and start[0].at in (None, place.at)]
    if any(start[0].at is None or start[0].at < (place.at or 0) for start in mine) and place.at:
        within += [(Place(inner.id),) for inner in body.nodes if _goes_on(inner)]
    return _run(body.nodes, within, rest, made=made)


def _goes_on(node: Node) -> bool:
    """True for a call of a body that uses what the turn before gave."""
    own = node if node.body is None else node.model_copy(update={"args": {"": node.body.start}, "body": None})
    return any(text.startswith("last") for text in refs(own))
