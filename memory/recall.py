"""Earlier trajectories, findable again: by words (BM25 in FTS5) and by meaning (embeddings), scored together.

Both scores are normalised to 0..1 before they are added, so a similarity means the same in a small
memory and in a large one. Numbers, quotations and file names are masked first: what makes a plan
worth showing again is the kind of task. Vectors lie in SQL; the index is only a faster way to them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from anyio import to_thread

from ..errors import ShuntyardError
from ..protocols import Embedder
from ..steps import Hint, Plan, Trajectory
from . import tables, wording
from .index import ChromaIndex
from .store import Store
from .vectors import cosines, pack

FLOOR = 0.5
"""Below this similarity nothing is offered. With MiniLM, other tasks stay under it, paraphrases mostly above."""
INDEX_FROM = 2000
"""From so many vectors on the index is used; fewer are compared exactly and faster."""
_CANDIDATES = 50
_BACKFILL = 16
_PRIOR = 20
"""Imagined other tasks, so that word weights make sense while there are few real ones."""


class TrajectoryMemory:
    """Recall in the store. Without an embedder it finds by words alone."""

    def __init__(
        self,
        store: Store,
        embedder: Embedder | None = None,
        *,
        index: ChromaIndex | None = None,
        index_from: int = INDEX_FROM,
        floor: float = FLOOR,
    ) -> None:
        """Read and write ``store``; ``index`` (by default the one of the store's home) is closed by ``close``."""
        self._store = store
        self._embedder = embedder
        self._index = index or ChromaIndex(store)
        self._index_from = index_from
        self._floor = floor

    async def recall(self, task: str, catalogue: str, *, limit: int = 2) -> Sequence[Hint]:
        """Return the most similar tasks that were done, best first; none below the floor."""
        return await to_thread.run_sync(self._recall, task, catalogue, limit)

    async def learn(self, trajectory: Trajectory) -> None:
        """Keep a finished run, in one transaction with its vector; done again, a task replaces its older run."""
        masked = wording.masked(trajectory.task)
        vector = None
        if trajectory.outcome == "done":
            vector = await to_thread.run_sync(self._embed, [masked])
        self._write(trajectory, masked, vector)
        if vector is not None:
            await to_thread.run_sync(self._catch_up)

    def forget(self, run: str) -> bool:
        """Remove what was learnt from ``run``; False when nothing was."""
        with self._store.write() as connection:
            removed = connection.execute(tables.trajectories.delete().where(tables.trajectories.c.run == run)).rowcount
        return removed > 0

    def close(self) -> None:
        """Release the index."""
        self._index.close()

    def _write(self, trajectory: Trajectory, masked: str, vector: list[list[float]] | None) -> None:
        known = tables.trajectories.c
        normal = wording.normal(trajectory.task)
        values = {
            "run": trajectory.run,
            "task": trajectory.task,
            "normal": normal,
            "masked": masked,
            "terms": " ".join(wording.terms(masked)),
            "catalogue": trajectory.catalogue,
            "outcome": trajectory.outcome,
            "plan": trajectory.plan.model_dump_json(),
            "answer": trajectory.answer,
            "usage": trajectory.usage.model_dump_json(),
            "cost": str(trajectory.cost),
            "learnt": time.time(),
        }
        same = (known.normal == normal) & (known.catalogue == trajectory.catalogue)
        same &= known.outcome == trajectory.outcome
        with self._store.write() as connection:
            connection.execute(tables.trajectories.delete().where(same | (known.run == trajectory.run)))
            id = connection.execute(tables.trajectories.insert(), values).lastrowid
            if vector is not None and self._embedder is not None:
                row = {"trajectory": id, "embedder": self._embedder.id, "vector": pack(vector[0])}
                connection.execute(tables.vectors.insert(), row)

    def _embed(self, texts: Sequence[str]) -> list[list[float]] | None:
        if self._embedder is None:
            return None
        try:
            return self._embedder.embed(texts)
        except (ShuntyardError, OSError):
            return None

    def _catch_up(self) -> None:
        """Embed some of what was learnt without this embedder, and bring a large index up to date."""
        assert self._embedder is not None
        by = self._embedder.id
        with self._store.read() as connection:
            missing = connection.execute(tables.UNEMBEDDED, {"by": by, "most": _BACKFILL}).all()
        vectors = self._embed([row.masked for row in missing]) if missing else None
        rows = [
            {"trajectory": row.id, "embedder": by, "vector": pack(vector)}
            for row, vector in zip(missing, vectors or [], strict=False)
        ]
        if rows:
            with self._store.write() as connection:
                for row in rows:
                    connection.execute(tables.IF_STILL_THERE, row)
        if self._vectors() >= self._index_from:
            self._index.refresh(by)

    def _vectors(self) -> int:
        by = "" if self._embedder is None else self._embedder.id
        with self._store.read() as connection:
            return int(connection.execute(tables.count(tables.vectors, tables.vectors.c.embedder == by)).scalar_one())

    def _recall(self, task: str, catalogue: str, limit: int) -> list[Hint]:
        masked = wording.masked(task)
        words = wording.terms(masked)
        vectors = self._embed([masked]) if self._vectors() else None
        vector = vectors[0] if vectors else None
        found = set(self._by_words(words))
        if vector is not None:
            found.update(self._by_meaning(vector))
        normal = wording.normal(task)
        rows = self._rows(found, normal)
        cosine = self._cosines(vector, rows)
        weights = self._weights({*words, *(term for row in rows for term in row.terms.split())})
        scored: list[tuple[float, bool, Any]] = []
        for row in rows:
            if row.normal == normal:
                scored.append((1.0, row.catalogue == catalogue, row))
                continue
            score = _overlap(words, row.terms.split(), weights)
            if row.id in cosine:
                score = (score + min(1.0, max(0.0, cosine[row.id]))) / 2
            scored.append((min(score, 0.999), False, row))
        scored.sort(key=lambda item: (item[0], item[1], item[2].learnt), reverse=True)
        return _hints(scored, self._floor, limit)

    def _by_words(self, words: Sequence[str]) -> list[int]:
        if not words:
            return []
        query = " OR ".join(f'"{word}"' for word in words[:64])
        with self._store.read() as connection:
            return [row.id for row in connection.execute(tables.MATCHES, {"query": query, "most": _CANDIDATES})]

    def _by_meaning(self, vector: Sequence[float]) -> list[int]:
        assert self._embedder is not None
        by = self._embedder.id
        if self._vectors() >= self._index_from:
            found = self._index.nearest(by, vector, _CANDIDATES)
            if found is not None:
                return found
        with self._store.read() as connection:
            rows = connection.execute(tables.vectors.select().where(tables.vectors.c.embedder == by)).all()
        ranked = sorted(
            zip(cosines(vector, [row.vector for row in rows]), rows, strict=True), key=lambda pair: -pair[0]
        )
        return [row.trajectory for _, row in ranked[:_CANDIDATES]]

    def _rows(self, ids: Iterable[int], normal: str) -> list[Any]:
        known = tables.trajectories.c
        query = tables.trajectories.select().where(
            known.outcome == "done", known.id.in_(ids) | (known.normal == normal)
        )
        with self._store.read() as connection:
            return list(connection.execute(query))

    def _cosines(self, vector: Sequence[float] | None, rows: Sequence[Any]) -> dict[int, float]:
        if vector is None or self._embedder is None:
            return {}
        kept = tables.vectors.c
        query = tables.vectors.select().where(
            kept.embedder == self._embedder.id, kept.trajectory.in_([row.id for row in rows])
        )
        with self._store.read() as connection:
            found = connection.execute(query).all()
        values = cosines(vector, [row.vector for row in found])
        return {row.trajectory: value for row, value in zip(found, values, strict=True)}

    def _weights(self, words: set[str]) -> dict[str, float]:
        with self._store.read() as connection:
            total = connection.execute(tables.count(tables.trajectories)).scalar_one()
            rows = connection.execute(tables.FREQUENCIES, {"terms": sorted(words)}).all()
        often = {row.term: row.doc for row in rows}
        return {word: math.log((total + _PRIOR + 0.5) / (often.get(word, 0) + 0.5)) for word in words}


def _overlap(one: Sequence[str], other: Sequence[str], weights: Mapping[str, float]) -> float:
    """Return the weight of the shared words over that of all: 1 for the same words, 0 for none in common."""
    whole = math.sqrt(sum(weights[word] for word in one) * sum(weights[word] for word in other))
    return sum(weights[word] for word in set(one) & set(other)) / whole if whole > 0 else 0.0


def _hints(scored: Sequence[tuple[float, bool, Any]], floor: float, limit: int) -> list[Hint]:
    hints: list[Hint] = []
    seen: set[str] = set()
    for score, exact, row in scored:
        if score < floor or len(hints) >= limit:
            break
        plan = Plan.model_validate_json(row.plan)
        if row.normal not in seen and plan.nodes:
            seen.add(row.normal)
            hints.append(Hint(run=row.run, task=row.task, plan=plan, similarity=round(score, 4), exact=exact))
    return hints
