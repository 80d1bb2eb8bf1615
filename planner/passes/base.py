"""What a pass is, what it is told, and what it tells."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ...messages import Frozen
from ...steps import Effect, Node, Plan, ToolSpec


class Change(Frozen):
    """What became of one node, and why."""

    kind: Literal["merged", "batched", "removed", "changed"]
    node: str
    """Its id before the pass."""
    into: str = ""
    """Where its result is now, as a reference: ``n1`` or ``n1[2]``; empty unless merged or batched."""
    reason: str
    """One line, for people."""


class PassTrace(Frozen):
    """What one pass did to a plan."""

    name: str
    promises: str
    changes: tuple[Change, ...] = ()


class Trace(Frozen):
    """What all passes did to a plan, in their order."""

    passes: tuple[PassTrace, ...] = ()
    renamed: dict[str, str] = {}
    """Reference to the result of each node that was merged or batched, by its old id, unless it was left out later."""

    @property
    def changes(self) -> tuple[Change, ...]:
        """Every change, pass by pass."""
        return tuple(change for each in self.passes for change in each.changes)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a pass may know beside the plan."""

    specs: Mapping[str, ToolSpec]
    begun: frozenset[str] = frozenset()
    """Ids of calls that have begun; they stay in the plan as they are."""
    finished: frozenset[str] = frozenset()
    """The ones of an earlier revision: what they found may be old by now."""

    def effectful(self, node: Node) -> bool:
        """True unless the tool is known and only reads; of a body, unless all its tools do."""
        if node.body is not None:
            return any(map(self.effectful, node.body.nodes))
        spec = self.specs.get(node.tool)
        return spec is None or spec.effect is not Effect.READ

    def stability(self, node: Node) -> Literal["pure", "stable", "fresh"]:
        """How far an equal call gives the same; an effect and an unknown tool never do."""
        # Bodies are not merged with one another: each has turns of its own.
        return "fresh" if node.body is not None or self.effectful(node) else self.specs[node.tool].stability


def upstream(ids: Collection[str], above: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """``ids`` and all that they wait for, where ``above`` says what each of them waits for."""
    return frozenset(ids).union(*(above.get(id, frozenset()) for id in ids))


class Outcome(NamedTuple):
    """What a pass made of a plan."""

    plan: Plan
    changes: tuple[Change, ...] = ()
    renamed: Mapping[str, str] = {}
    """Results that stand elsewhere now: reference by id, all at once."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One improvement of plans: a function of the plan and the tools alone, that calls nothing."""

    name: str
    promises: str
    """What stays true, in one line."""
    apply: Callable[[Plan, Scope], Outcome]
