"""A trie of token runs seen before, which guesses what follows, and how far guessing on is worth its pass."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
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

    def first(self, count: int) -> Draft:
        """Return the first ``count`` guesses."""
        return Draft(self.tokens[:count], self.parents[:count])


class Trust:
    """How often the likeliest token after a known run was right, by the length of the run: learned as text comes.

    Longer runs are trusted more from the start, and each token that comes moves what is believed. Without it counts of
    one, which most are, would say that everything is certain.
    """

    def __init__(self, longest: int) -> None:
        """``longest``: runs beyond it count as that long."""
        self._tried = [_PRIOR] * (longest + 1)
        self._right = [_PRIOR * size / (size + 2) for size in range(longest + 1)]

    def __call__(self, size: int) -> float:
        """Return the share of right guesses after a run of ``size`` tokens, as a factor on what counts say."""
        size = min(size, len(self._tried) - 1)
        return min(1.0, self._right[size] / self._tried[size])

    def see(self, size: int, share: float, *, right: bool) -> None:
        """Learn whether the guess that had ``share`` of the counts after a run of ``size`` tokens was right."""
        size = min(size, len(self._tried) - 1)
        self._tried[size] = self._tried[size] * _FADE + share
        self._right[size] = self._right[size] * _FADE + right


_PRIOR = 4.0
"""Guesses that what is believed at first weighs as much as."""
_GAIN = 1.1
"""Tokens for each pass that a pass costs, below which guessing is left alone: chances and costs are not exact."""
_FADE = 0.98
"""Share of what was learned that is left after another guess: texts change."""


class Trie:
    """Runs of up to ``depth`` tokens with how often they came.

    Over ``most`` nodes every count is halved, and what came once is forgotten: the trie follows what is being done.
    """

    def __init__(self, *, depth: int = 24, match: int = 12, most: int = 300_000) -> None:
        """Nothing seen. ``match`` is the longest ending that is looked up; two tokens are the shortest."""
        self._depth = depth
        self._match = match
        self._most = most
        self._root = _Node()
        self._nodes = 0
        self.trust = Trust(match)

    def __len__(self) -> int:
        """How many nodes there are."""
        return self._nodes

    def add(self, tokens: Sequence[int], begin: int = 0) -> None:
        """Learn ``tokens`` from index ``begin`` on; those before it are known already."""
        before = tokens[max(0, begin - self._depth + 1) : begin]
        # The runs that end here, the shortest last.
        ends = [node for size in range(len(before), 0, -1) if (node := self._at(before, size)) is not None]
        for token in tokens[begin:]:
            ends = [self._after(node, token) for node in (*ends[-self._depth + 1 :], self._root)]
            for node in ends:
                node.seen += 1
        if self._nodes > self._most:
            self._nodes = _halve(self._root)

    def see(self, tokens: Sequence[int]) -> None:
        """Learn the last of ``tokens``, and whether it would have been the guess."""
        size, node = self._longest(tokens[-self._match - 1 : -1])
        if node is not None:
            token, best = max(node.after.items(), key=lambda item: item[1].seen)
            total = sum(child.seen for child in node.after.values())
            self.trust.see(size, best.seen / total, right=token == tokens[-1])
        self.add(tokens, len(tokens) - 1)

    def draft(
        self, tokens: Sequence[int], *, most: int, width: int, cost: Callable[[int], float] = lambda count: 1.0
    ) -> Draft:
        """Guess what follows ``tokens``: at most ``most`` tokens, likeliest first, with at most ``width`` ends.

        ``cost`` tells what a pass takes that checks so many guesses, in passes without any; there are as many guesses
        as give most tokens for what they cost, by what is known of how often guesses are right.
        """
        size, node = self._longest(tokens[-self._match :])
        if node is None:
            return Draft()
        draft, chances = self._grown(tokens[-self._match :], size, node, most=most, width=width)
        best, count, come = _GAIN, 0, 1.0
        for number, chance in enumerate(chances, start=1):
            come += chance
            if come / cost(number) > best:
                best, count = come / cost(number), number
        return draft.first(count)

    def _grown(
        self, ending: Sequence[int], size: int, root: _Node, *, most: int, width: int
    ) -> tuple[Draft, list[float]]:
        """Take the likeliest node again and again, and return the chance of each: the product of trusted shares."""
        draft, chances = Draft(), list[float]()
        ends = 0
        has_child: set[int] = set()
        heap: list[tuple[float, int, int, _Node, int, int]] = []
        order = 0

        def push(node: _Node, index: int, chance: float, deep: int) -> None:
            nonlocal order
            total = sum(child.seen for child in node.after.values()) or 1
            chance *= self.trust(size + deep)
            for token, child in node.after.items():
                order += 1
                heapq.heappush(heap, (-chance * child.seen / total, order, token, child, index, deep))

        push(root, -1, 1.0, 0)
        while heap and len(draft.tokens) < most:
            chance, _, token, node, parent, deep = heapq.heappop(heap)
            # A first child goes on with its parent's end; any other, and each one at the root, makes another end.
            branches = parent < 0 or parent in has_child
            if branches and ends == width:
                continue
            ends += branches
            has_child.add(parent)
            draft.tokens.append(token)
            draft.parents.append(parent)
            chances.append(-chance)
            index = len(draft.tokens) - 1
            if not node.after:
                # No run is longer; what follows is known of a shorter ending of it.
                said = [*ending, *(draft.tokens[at] for at in draft.path(index))]
                node = self._longest(said[-self._match :])[1] or node
            push(node, index, -chance, deep + 1)
        return draft, chances

    def _longest(self, ending: Sequence[int]) -> tuple[int, _Node | None]:
        for size in range(len(ending), 1, -1):
            node = self._at(ending, size)
            if node is not None and node.after:
                return size, node
        return 0, None

    def _at(self, tokens: Sequence[int], size: int) -> _Node | None:
        """Return the node of the last ``size`` tokens."""
        if size > len(tokens):
            return None
        node: _Node | None = self._root
        for token in tokens[len(tokens) - size :]:
            node = node.after.get(token) if node is not None else None
        return node

    def _after(self, node: _Node, token: int) -> _Node:
        found = node.after.get(token)
        if found is None:
            found = node.after[token] = _Node()
            self._nodes += 1
        return found


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
