"""Questions to people and their answers, kept with the run that waits for them.

Any number may be open at once. An answer holds for one call with exactly its arguments; it may give other
arguments in their place. Once the run has taken it and goes on, or the call was made, it stands.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue
from sqlalchemy import Connection, Row, select

from ..errors import UnknownName, UsageError
from ..messages import Frozen
from ..protocols import Edited
from ..steps import StepKey
from . import tables
from .liveness import executing
from .store import Store

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_MADE = {"intended", "done", "failed", "skipped", "doubt"}
"""States of a step whose call was made, or may have been."""


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
    args: dict[str, JsonValue] = {}
    """The planned arguments, redacted; very long ones are left out."""
    edited: dict[str, JsonValue] | None = None
    """Arguments that the answer puts in the place of planned ones; None: as planned."""
    whole: bool = False
    """``edited`` are all arguments of the call."""
    taken: float | None = None
    """Unix time at which the run took the answer to act on it."""


class SqlApprovals:
    """Approvals in the store."""

    def __init__(self, store: Store) -> None:
        """Write to ``store``."""
        self._store = store

    async def take(self, key: StepKey, digest: str) -> Edited | bool | None:
        """Return what a person decided on exactly this call, None when nobody has; an answer is marked as taken."""
        with self._store.read() as connection:
            row = connection.execute(_same(key, digest)).one_or_none()
        if row is None or row.allowed is None:
            return None
        with self._store.write() as connection:
            row = connection.execute(_same(key, digest)).one()
            if row.allowed is None:
                return None
            connection.execute(_change(row.id), {"taken": time.time()})
        if not row.allowed or row.edited is None:
            return bool(row.allowed)
        return Edited(**json.loads(row.edited), by=row.decided_by)

    async def ask(
        self, key: StepKey, digest: str, tool: str, reason: str, preview: str, *, args: Mapping[str, Any] | None = None
    ) -> str:
        """Put the question and return its id; the same question keeps its id and its answer, and has the new reason."""
        with self._store.write() as connection:
            row = connection.execute(_same(key, digest)).one_or_none()
            if row is not None:
                connection.execute(_change(row.id), {"reason": reason})
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
                "args": json.dumps(dict(args or {})),
            }
            connection.execute(tables.approvals.insert(), values)
        return id

    async def reopen(self, key: StepKey, digest: str) -> None:
        """Forget the answer to a question; it is open again."""
        with self._store.write() as connection:
            row = connection.execute(_same(key, digest)).one_or_none()
            if row is not None:
                connection.execute(_change(row.id), {**_answer(None), "taken": None})

    def get(self, id: str) -> Question:
        """Return one question; UnknownName when there is none."""
        with self._store.read() as connection:
            return _question(self._row(connection, id))

    def questions(self, run: str | None = None) -> list[Question]:
        """Return every question, oldest first, of one run or of all."""
        query = tables.approvals.select().order_by(tables.approvals.c.asked)
        if run is not None:
            query = query.where(tables.approvals.c.run == run)
        with self._store.read() as connection:
            return [_question(row) for row in connection.execute(query)]

    def list_pending(self, run: str | None = None) -> list[Question]:
        """Return the questions that wait for an answer, oldest first: not those whose call was made all the same.

        That happens when a flag or somebody at the terminal of a resumed run said yes.
        """
        steps, approvals = tables.steps.c, tables.approvals.c
        made = (
            select(steps.path)
            .where(steps.run == approvals.run, steps.revision == approvals.revision, steps.path == approvals.path)
            .where(steps.state.in_(_MADE))
            .exists()
        )
        query = tables.approvals.select().where(approvals.allowed.is_(None), ~made).order_by(approvals.asked)
        if run is not None:
            query = query.where(approvals.run == run)
        with self._store.read() as connection:
            return [_question(row) for row in connection.execute(query)]

    def decide(self, id: str, allow: bool, *, by: str = "person", edited: Edited | None = None) -> Question:
        """Answer a question, with other arguments if ``edited`` says so; a later answer replaces an earlier one.

        Nothing of an edit is checked here. Raises UnknownName when there is no such question, and UsageError
        when it is too late: the call was made, or the run has taken the answer and goes on.
        """
        changes = _answer(edited if allow else None)
        with self._store.write() as connection:
            row = self._row(connection, id)
            self._check_open(connection, row)
            connection.execute(
                _change(id),
                {**changes, "allowed": int(allow), "decided_by": by, "decided": time.time(), "taken": None},
            )
            return _question(self._row(connection, id))

    def _row(self, connection: Connection, id: str) -> Row[Any]:
        row = connection.execute(tables.approvals.select().where(tables.approvals.c.id == id)).one_or_none()
        if row is None:
            raise UnknownName("approval", id, [question.id for question in self.list_pending()])
        return row

    def _check_open(self, connection: Connection, row: Row[Any]) -> None:
        """Raise UsageError when an answer would come too late. Inside the transaction that writes it."""
        steps, runs = tables.steps.c, tables.runs.c
        newest = select(steps.state).where(steps.run == row.run, steps.revision == row.revision, steps.path == row.path)
        state = connection.execute(newest.order_by(steps.attempt.desc()).limit(1)).scalar_one_or_none()
        why = f"the call was made ({state})" if state in _MADE else ""
        if not why and row.taken is not None:
            run = connection.execute(select(runs.status, runs.owner).where(runs.id == row.run)).one()
            if executing(run.status, run.owner, here=row.run in self._store.claimed):
                why = "the run has taken the answer and is making the call"
        if why:
            answer = {None: "none", 1: "yes", 0: "no"}[row.allowed]
            raise UsageError(
                f"approval {row.id!r} cannot be answered any more: {row.path} {row.tool} of run {row.run}: {why}; "
                f"its answer was {answer}. Look what happened: shuntyard show {row.run}"
            )


def _change(id: str) -> Any:
    return tables.approvals.update().where(tables.approvals.c.id == id)


def _answer(edited: Edited | None) -> dict[str, Any]:
    """The columns of an answer that is open still, or with the arguments that it gives."""
    kept = None if edited is None else json.dumps({"args": dict(edited.args), "whole": edited.whole})
    return {"allowed": None, "decided_by": "", "decided": None, "edited": kept}


def _same(key: StepKey, digest: str) -> Any:
    approvals = tables.approvals.c
    return tables.approvals.select().where(
        approvals.run == key.run,
        approvals.revision == key.revision,
        approvals.path == key.path,
        approvals.digest == digest,
    )


def _question(row: Any) -> Question:
    edited = {} if row.edited is None else json.loads(row.edited)
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
        args=json.loads(row.args or "{}"),
        edited=edited.get("args"),
        whole=edited.get("whole", False),
        taken=row.taken,
    )
