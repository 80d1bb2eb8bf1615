"""Lines of a plan on their way to the scheduler while the plan is still being written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from ..planner.frontier import identity
from ..planner.passes import optimise
from ..planner.passes.merge import MERGE
from ..steps import Effect, Node, Plan, ToolSpec


class Early:
    """Offers each line as it will stand in the plan: one that repeats an earlier call is left out at once.

    Merging looks backwards only, so what is offered does not change when more lines come.
    """

    def __init__(
        self, offer: Callable[[Node], None], specs: Mapping[str, ToolSpec], *, finished: Collection[str] = ()
    ) -> None:
        """Hand lines to ``offer``; ``finished`` are ids of an earlier revision."""
        self._offer = offer
        self._specs = specs
        self._finished = finished
        self._nodes: list[Node] = []
        self._offered: dict[str, Node] = {}

    def __call__(self, node: Node) -> None:
        """Take the next line."""
        self._nodes.append(node)
        last = self._merged(Plan(task="", nodes=tuple(self._nodes))).nodes[-1]
        if last.id == node.id:
            self._offered[last.id] = last
            self._offer(last)

    def begun(self, plan: Plan) -> frozenset[str]:
        """Ids of reads of the closed ``plan`` that may have begun; a line that was changed since has not."""
        return frozenset(
            node.id
            for node in self._merged(plan).nodes
            if node.effect is Effect.READ
            and node.id in self._offered
            and identity(node) == identity(self._offered[node.id])
        )

    def _merged(self, plan: Plan) -> Plan:
        return optimise(plan, self._specs, finished=self._finished, passes=(MERGE,)).plan
