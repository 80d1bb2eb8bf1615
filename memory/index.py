"""The vector index: a Chroma collection per embedder, holding ids and vectors only, rebuilt from SQL at will.

Chroma's files do not survive two processes, so one owner at a time uses them, by a lock that ends with
its process; the others compare vectors exactly in SQL. What the index says is looked up again in SQL,
so a stale one can only miss things. On opening it must find samples of its own vectors, else it is rebuilt.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from ..errors import ShuntyardError
from . import tables
from .store import Store
from .vectors import unpack

_T = TypeVar("_T")
_BATCH = 1000
_SAMPLES = 8
_NEAR = 1e-3
"""Cosine distance within which a half-precision vector has found itself."""


class ChromaIndex:
    """Nearest neighbours among the vectors of a store. Blocking: call it in a thread."""

    def __init__(self, store: Store) -> None:
        """Use the folder ``index`` in the store's home; nothing is opened or imported before it is needed."""
        self._store = store
        self._folder = store.home / "index"
        self._mutex = threading.Lock()
        self._owner = FileLock(store.home / "index.lock", timeout=0, thread_local=False)
        self._client: Any = None
        self._ready: dict[str, Any] = {}
        self._broken = False

    def nearest(self, embedder: str, vector: Sequence[float], most: int) -> list[int] | None:
        """Return trajectory ids, nearest first, after applying what is outstanding.

        None when another process owns the index or it cannot be made to work.
        """

        def ask() -> list[int]:
            collection = self._current(embedder)
            if not collection.count():
                return []
            most_there = min(most, collection.count())
            found = collection.query(query_embeddings=[list(vector)], n_results=most_there, include=[])
            return [int(id) for id in found["ids"][0]]

        return self._owning(ask)

    def refresh(self, embedder: str) -> bool:
        """Apply what is outstanding; False when another process owns the index or it cannot be made to work."""
        return self._owning(lambda: self._current(embedder)) is not None

    def close(self) -> None:
        """Close the files and let another process own them."""
        with self._mutex:
            self._drop()
            self._owner.release(force=True)

    def _owning(self, action: Callable[[], _T]) -> _T | None:
        with self._mutex:
            if self._broken:
                return None
            try:
                if not self._owner.is_locked:
                    self._owner.acquire()
            except (Timeout, OSError):
                return None
            try:
                return action()
            except ShuntyardError:
                raise
            except Exception:
                # Chroma has no common error class, and damaged files raise from deep inside it.
                return self._once_more(action)

    def _once_more(self, action: Callable[[], _T]) -> _T | None:
        try:
            self._drop()
            shutil.rmtree(self._folder, ignore_errors=True)
            return action()
        except ShuntyardError:
            raise
        except Exception:
            self._broken = True
            self._drop()
            return None

    def _drop(self) -> None:
        self._ready.clear()
        if self._client is not None:
            client, self._client = self._client, None
            client.close()

    def _open(self) -> Any:
        if self._client is None:
            import chromadb
            from chromadb.config import Settings

            # Chroma remembers a folder that failed to open until the process ends: a new start, a new name.
            folder = next(self._folder.glob("*/"), self._folder / secrets.token_hex(4))
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._client = chromadb.PersistentClient(str(folder), Settings(anonymized_telemetry=False))
        return self._client

    def _current(self, embedder: str) -> Any:
        """Return the collection with every change applied; checked the first time."""
        collection = self._ready.get(embedder)
        first = collection is None
        if collection is None:
            collection = self._collection(embedder)
        expected = self._apply(collection, embedder)
        if collection.count() != expected or (first and not self._finds_itself(collection, embedder)):
            self._open().delete_collection(_name(embedder))
            collection = self._collection(embedder)
            expected = self._fill(collection, embedder)
            if collection.count() != expected or not self._finds_itself(collection, embedder):
                raise RuntimeError("the index does not find its own vectors")
        self._ready[embedder] = collection
        return collection

    def _collection(self, embedder: str) -> Any:
        return self._open().get_or_create_collection(
            _name(embedder),
            embedding_function=None,
            metadata={"applied": -1},
            configuration={"hnsw": {"space": "cosine"}},
        )

    def _apply(self, collection: Any, embedder: str) -> int:
        """Bring the collection to one state of the database; returns how many vectors that has."""
        applied = int((collection.metadata or {}).get("applied", -1))
        if applied < 0:
            return self._fill(collection, embedder)
        waiting = tables.outbox.c
        query = tables.outbox.select().where(waiting.embedder == embedder, waiting.seq > applied).order_by(waiting.seq)
        kept = tables.vectors.c
        there: list[Any] = []
        with self._store.read() as connection:
            expected = int(connection.execute(tables.count(tables.vectors, kept.embedder == embedder)).scalar_one())
            rows = connection.execute(query).all()
            # Several changes of one vector collapse into its present state.
            touched = list(dict.fromkeys(row.trajectory for row in rows))
            for start in range(0, len(touched), _BATCH):
                batch = touched[start : start + _BATCH]
                vectors = tables.vectors.select().where(kept.embedder == embedder, kept.trajectory.in_(batch))
                there.extend(connection.execute(vectors).all())
        gone = set(touched) - {row.trajectory for row in there}
        for start in range(0, len(there), _BATCH):
            _put(collection, there[start : start + _BATCH])
        if gone:
            collection.delete(ids=[str(id) for id in sorted(gone)])
        if rows:
            self._mark(collection, embedder, rows[-1].seq)
        return expected

    def _fill(self, collection: Any, embedder: str) -> int:
        kept = tables.vectors.c
        count = 0
        with self._store.read() as connection:
            last = int(connection.execute(tables.LAST_SEQ).scalar_one())
            query = tables.vectors.select().where(kept.embedder == embedder).order_by(kept.trajectory)
            for rows in connection.execute(query).partitions(_BATCH):
                _put(collection, rows)
                count += len(rows)
        self._mark(collection, embedder, last)
        return count

    def _mark(self, collection: Any, embedder: str, seq: int) -> None:
        collection.modify(metadata={"applied": seq})
        waiting = tables.outbox.c
        with self._store.write() as connection:
            connection.execute(tables.outbox.delete().where(waiting.embedder == embedder, waiting.seq <= seq))

    def _finds_itself(self, collection: Any, embedder: str) -> bool:
        with self._store.read() as connection:
            rows = connection.execute(tables.SAMPLE, {"by": embedder, "most": _SAMPLES}).all()
        if not rows:
            return True
        found = collection.query(
            query_embeddings=[list(unpack(row.vector)) for row in rows], n_results=1, include=["distances"]
        )
        return all(distances and distances[0] < _NEAR for distances in found["distances"])


def _put(collection: Any, rows: Sequence[Any]) -> None:
    collection.upsert(ids=[str(row.trajectory) for row in rows], embeddings=[list(unpack(row.vector)) for row in rows])


def _name(embedder: str) -> str:
    return f"v{hashlib.sha256(embedder.encode()).hexdigest()[:24]}"
