"""Questions to people and their answers, kept with the run that waits for them."""

from __future__ import annotations

import secrets
import time
from typing import Any

from ..errors import UnknownName
from ..messages import Frozen
from ..steps import StepKey
from . import tables
from .store import Store

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


class Question(Frozen):
    """One call that a rule wants a person to decide on."""

    id: str
    run: str
    revision: int
    path: str
    tool: str
    reason: str
    preview: str
    """The arguments, redacted and shortened."""
    asked: float
    """Unix time."""
    allowed: bool | None = None
    """None while nobody has decided."""
    by: str = ""
    decided: float | None = None


class SqlApprovals:
    """Approvals in the store."""

    def __init__(self, store: Store) -> None:
        """Write to ``store``."""
        self._store = store

    async def find(self, key: StepKey, digest: str) -> bool | None:
        """Return what a person decided on exactly this call, None when nobody has."""
        with self._store.read() as connection:
            row = connection.execute(_same(key, digest)).one_or_none()
        return None if row is None or row.allowed is None else bool(row.allowed)

    async def ask(self, key: StepKey, digest: str, tool: str, reason: str, preview: str) -> str:
        """Put the question and return its id; the same question keeps its id and its answer."""
        with self._store.write() as connection:
            row = connection.execute(_same(key, digest)).one_or_none()
            if row is not None:
                return str(row.id)
            id = "".join(secrets.choice(_ALPHABET) for _ in range(8))
            values = {
                "id": id,
                "run": key.run,
                "revision": key.revision,
                "path": key.path,
                "digest": digest,
                "tool": tool,
                "reason": reason,
                "preview": preview,
                "asked": time.time(),
                "decided_by": "",
            }
            connection.execute(tables.approvals.insert(), values)
        return id

    def questions(self, run: str | None = None) -> list[Question]:
        """Return every question, oldest first, of one run or of all."""
        query = tables.approvals.select().order_by(tables.approvals.c.asked)
        if run is not None:
            query = query.where(tables.approvals.c.run == run)
        with self._store.read() as connection:
            return [_question(row) for row in connection.execute(query)]

    def list_pending(self, run: str | None = None) -> list[Question]:
        """Return the questions that nobody has decided yet, oldest first."""
        return [question for question in self.questions(run) if question.allowed is None]

    def decide(self, id: str, allow: bool, *, by: str = "person") -> Question:
        """Answer a question; a later answer replaces an earlier one until the call has run.

        Raises UnknownName when there is no such question.
        """
        approvals = tables.approvals.c
        with self._store.write() as connection:
            change = tables.approvals.update().where(approvals.id == id)
            connection.execute(change, {"allowed": int(allow), "decided_by": by, "decided": time.time()})
            row = connection.execute(tables.approvals.select().where(approvals.id == id)).one_or_none()
        if row is None:
            raise UnknownName("approval", id, [question.id for question in self.list_pending()])
        return _question(row)


def _same(key: StepKey, digest: str) -> Any:
    approvals = tables.approvals.c
    return tables.approvals.select().where(
        approvals.run == key.run,
        approvals.revision == key.revision,
        approvals.path == key.path,
        approvals.digest == digest,
    )


def _question(row: Any) -> Question:
    return Question(
        id=row.id,
        run=row.run,
        revision=row.revision,
        path=row.path,
        tool=row.tool,
        reason=row.reason,
        preview=row.preview,
        asked=row.asked,
        allowed=None if row.allowed is None else bool(row.allowed),
        by=row.decided_by,
        decided=row.decided,
    )
