"""Several tokens per pass: guesses from a trie, verified together, kept as far as the model would have said the same.

After "Lookahead: An Inference Acceleration Framework for LLM with Lossless Generation Accuracy" (trie-based retrieval,
hierarchical multi-branch draft). Branches are sequences that share the memory of what is certain, the first of them the
answer's own, and one pass computes them all. A pass of more tokens costs more on a processor, so there are as many
guesses as give most tokens for what they cost here, and none where guesses are seldom right. At any temperature a
token is chosen from the model's own logits; a guess only saves its pass. Logits of a pass of several tokens differ from
those of single ones in the last bits, so two tokens that tie may come out the other way round.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from .binding import Row, Tokens
from .decode import Cursor, Report, Sampler, Step, Want, shared_start
from .pace import SIZES, Pace
from .trie import Draft, Trie


class Lookahead:
    """Keeps its trie from answer to answer. At most ``most`` guesses per pass, in at most ``width`` branches."""

    def __init__(self, cursor: Cursor, *, trie: Trie | None = None, most: int = 32, width: int = 4) -> None:
        """Share ``cursor`` with other methods of the same model; its sequences below ``width`` are used."""
        self._cursor = cursor
        # An empty one is false.
        self.trie = Trie() if trie is None else trie
        self._learned: list[int] = []
        self.pace: Pace | None = None
        """Measured before the first guess."""
        self.limit(most, width)

    def limit(self, most: int, width: int) -> None:
        """Change how many guesses and branches a pass has."""
        self._most = most
        self._width = min(width, self._cursor.llama.load.sequences)

    def forget(self) -> None:
        """Guess from nothing that was seen so far."""
        self.trie = Trie()
        self._learned = []

    def steps(self, prompt: Sequence[int], want: Want, report: Report) -> Iterator[Step]:
        """As Method."""
        sampler, tokens = Sampler(want), list(prompt)
        if self.pace is None:
            self.pace = self._measured()
        # What prompts share is learned once, or it would outweigh all else.
        self.trie.add(tokens, shared_start(tokens, self._learned))
        self._learned = tokens
        report.cached = self._cursor.known(tokens)
        row = self._cursor.goto(tokens)
        token = sampler(row)
        while True:
            yield Step(token, row)
            tokens.append(token)
            self.trie.see(tokens)
            room = self._cursor.llama.load.context - len(tokens)
            cost = self.pace.at(len(tokens))
            draft = self.trie.draft(tokens, most=min(self._most, room), width=self._width, cost=cost)
            begin = time.monotonic()
            rows = self._verify(tokens, draft)
            self.pace.note(len(draft.tokens), len(tokens), time.monotonic() - begin)
            report.passes += 1
            report.drafted += len(draft.tokens)
            # The walk is over before its first token is given away, since the caller may stop at any.
            path: list[int] = []
            found: list[Step] = []
            row = rows[0]
            token = sampler(row)
            while (child := draft.child(path[-1] if path else -1, token)) >= 0:
                found.append(Step(token, row))
                path.append(child)
                row = rows[child + 1]
                token = sampler(row)
            self._keep(tokens, draft, path)
            for step in found:
                report.accepted += 1
                yield step
                tokens.append(step.token)
                self.trie.see(tokens)

    def _measured(self) -> Pace:
        llama = self._cursor.llama
        if len(self._cursor.held) + max(SIZES) > llama.load.context:
            # The memory is full of the answer before.
            llama.cut(self._cursor.sequence)
            self._cursor.held.clear()
        return Pace.measured(llama, scratch=llama.load.sequences - 1)

    def _verify(self, tokens: list[int], draft: Draft) -> list[Row]:
        """Compute the last of ``tokens`` and every guess after it; return their logits in that order."""
        llama, at = self._cursor.llama, len(tokens) - 1
        ends = draft.leaves()
        branches: list[list[int]] = [[] for _ in draft.tokens]
        for branch, end in enumerate(ends):
            if branch:
                llama.cut(branch)
                llama.copy(0, branch)
            for index in draft.path(end):
                branches[index].append(branch)
        batch = Tokens()
        batch.add(tokens[-1], at, tuple(range(max(1, len(ends)))), output=True)
        for index, guess in enumerate(draft.tokens):
            batch.add(guess, at + len(draft.path(index)), tuple(branches[index]), output=True)
        return llama.run(batch)

    def _keep(self, tokens: list[int], draft: Draft, path: list[int]) -> None:
        """Let sequence 0 hold ``tokens`` and the guesses of ``path``, and the other branches nothing."""
        llama, begin = self._cursor.llama, len(tokens)
        ends = draft.leaves()
        branch = next((number for number, end in enumerate(ends) if path and path[-1] in draft.path(end)), 0)
        if ends:
            llama.cut(0, begin if branch else begin + len(path))
        if branch:
            llama.copy(branch, 0, begin, begin + len(path))
        for number in range(1, len(ends)):
            llama.cut(number)
        kept = [draft.tokens[index] for index in path]
        self._cursor.held[:] = [*tokens, *kept]
        self._cursor.read += 1 + len(draft.tokens)
