"""A trie of token runs seen before, which guesses what follows."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Node:
    seen: int = 0
    after: dict[int, _Node] = field(default_factory=dict)


@dataclass(slots=True)
class Draft:
    """A tree of guessed tokens, parents before children."""

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    """Index of each token's parent; -1 is the token that is already certain."""

    def leaves(self) -> list[int]:
        """Indices that nothing follows."""
        inner = set(self.parents)
        return [index for index in range(len(self.tokens)) if index not in inner]

    def path(self, index: int) -> list[int]:
        """Indices from the root down to ``index``."""
        found = []
        while index >= 0:
            found.append(index)
            index = self.parents[index]
        return found[::-1]

    def child(self, index: int, token: int) -> int:
        """Return the child of ``index`` that is ``token``; -1 when it was not guessed."""
        for other, (parent, guess) in enumerate(zip(self.parents, self.tokens, strict=True)):
            if parent == index and guess == token:
                return other
        return -1


class Trie:
    """Runs of up to ``depth`` tokens with how often they came.

    Over ``most`` nodes every count is halved, and what came once is forgotten: the trie follows what is being done.
    """

    def __init__(self, *, depth: int = 12, match: int = 4, most: int = 200_000) -> None:
        """Nothing seen. ``match`` is the longest ending that is looked up; two tokens are the shortest."""
        self._depth = depth
        self._match = match
        self._most = most
        self._root = _Node()
        self._nodes = 0

    def __len__(self) -> int:
        """How many nodes there are."""
        return self._nodes

    def add(self, tokens: Sequence[int], begin: int = 0) -> None:
        """Learn ``tokens`` from index ``begin`` on; those before it are known already."""
        for end in range(begin + 1, len(tokens) + 1):
            for start in range(max(0, end - self._depth), end):
                self._see(tokens[start:end])
        if self._nodes > self._most:
            self._nodes = _halve(self._root)

    def draft(self, tokens: Sequence[int], *, most: int, width: int) -> Draft:
        """Guess what follows ``tokens``: at most ``most`` tokens, likeliest first, with at most ``width`` ends."""
        for size in range(min(self._match, len(tokens)), 1, -1):
            node = self._find(tokens[-size:])
            if node is not None and node.after:
                return _grow(node, most, width)
        return Draft()

    def _see(self, run: Sequence[int]) -> None:
        node = self._root
        for token in run:
            if token not in node.after:
                node.after[token] = _Node()
                self._nodes += 1
            node = node.after[token]
        node.seen += 1

    def _find(self, run: Sequence[int]) -> _Node | None:
        node: _Node | None = self._root
        for token in run:
            node = node.after.get(token) if node is not None else None
        return node


def _grow(root: _Node, most: int, width: int) -> Draft:
    """Take the likeliest node again and again; the likelihood of a run is the product of its shares."""
    draft = Draft()
    ends = 0
    has_child: set[int] = set()
    heap: list[tuple[float, int, int, _Node, int]] = []
    order = 0

    def push(node: _Node, index: int, chance: float) -> None:
        nonlocal order
        total = sum(child.seen for child in node.after.values()) or 1
        for token, child in node.after.items():
            order += 1
            heapq.heappush(heap, (-chance * child.seen / total, order, token, child, index))

    push(root, -1, 1.0)
    while heap and len(draft.tokens) < most:
        chance, _, token, node, parent = heapq.heappop(heap)
        # A first child goes on with its parent's end; any other, and each one at the root, makes another end.
        branches = parent < 0 or parent in has_child
        if branches and ends == width:
            continue
        ends += branches
        has_child.add(parent)
        draft.tokens.append(token)
        draft.parents.append(parent)
        push(node, len(draft.tokens) - 1, -chance)
    return draft


def _halve(node: _Node) -> int:
    """Halve the counts below ``node``, drop what is left with none, and return how many nodes stay."""
    stay = 0
    for token, child in list(node.after.items()):
        child.seen //= 2
        below = _halve(child)
        if child.seen or below:
            stay += 1 + below
        else:
            del node.after[token]
    return stay
