"""Who waits for whom while a plan runs: bookkeeping without any running, constant work per edge."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from ..steps import Node, digest_call
from .values import parents


class Frontier:
    """The nodes known so far and how many unfinished parents each still has.

    Nodes may be added in any order, also before their parents; a parent that never comes leaves its
    children waiting, which the scheduler notices when nothing moves any more.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.nodes: dict[str, Node] = {}
        self._open: dict[str, int] = {}
        self._children: dict[str, list[str]] = {}

    def add(self, node: Node, finished: Container[str]) -> bool:
        """Take ``node`` in; True when all it waits for has finished."""
        self.nodes[node.id] = node
        waits = [id for id in parents(node) if id not in finished]
        for id in waits:
            self._children.setdefault(id, []).append(node.id)
        self._open[node.id] = len(waits)
        return not waits

    def finish(self, id: str) -> list[Node]:
        """Note that ``id`` has finished and return the nodes that waited for nothing else."""
        ready = []
        for child in self._children.pop(id, ()):
            self._open[child] -= 1
            if self._open[child] == 0:
                ready.append(self.nodes[child])
        return ready


def identity(node: Node) -> str:
    """Digest of what ``node`` would do: its call, its condition and its list, not its policy or order."""
    return digest_call(node.tool, {"args": node.args, "when": node.when, "over": node.over})


def unchanged(old: Mapping[str, Node], new: Iterable[Node]) -> set[str]:
    """Ids whose call is the same in both, and whose inputs come from nodes that are the same too."""
    same: set[str] = set()
    for node in new:
        before = old.get(node.id)
        if before is None or not (before is node or identity(before) == identity(node)):
            continue
        if all(id in same or id not in old for id in parents(node)):
            same.add(node.id)
    return same
