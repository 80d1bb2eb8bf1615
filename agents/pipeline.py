"""The product in one expression: every step of every run goes through this, out and back the same way.

    record(guard(budget(dispatch)))

``record`` (memory) replays what is finished and commits what comes back; ``guard`` decides whether the
call may happen; ``budget`` (router) places model calls, reserves their worst case and settles it;
``dispatch`` calls the model, or the tool where the executor of the rooms runs it.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..guard.gate import guarded
from ..memory.journal import recorded
from ..protocols import Approver, Handler
from ..router.budget import budgeted
from .dispatch import dispatch
from .rooms import Rooms


def pipeline(
    rooms: Rooms,
    run: str,
    *,
    approver: Approver | None = None,
    assume: Mapping[str, str] | None = None,
    retry_failed: bool = False,
) -> Handler:
    """Return the handler of one run.

    ``assume`` settles effects in doubt (node path → ``done`` or ``not-done``); ``retry_failed`` runs
    recorded failures again.
    """
    record = recorded(rooms.journal, run, assume=assume or {}, retry_failed=retry_failed)
    guard = guarded(
        rooms.gate,
        rooms.specs,
        rooms.approvals,
        approver,
        approve=rooms.settings.approve,
        redact=rooms.redactor.text,
        check=rooms.tools.check,
    )
    budget = budgeted(
        rooms.catalogue,
        rooms.ledger,
        model=rooms.settings.model,
        fallback=rooms.settings.fallback,
        costs={name: spec.cost for name, spec in rooms.specs.items() if spec.cost},
        before=rooms.runs.spent,
    )
    return record(guard(budget(dispatch(rooms.catalogue, rooms.executor))))
