"""A planner's moves as rows: the plan, and beside it what the planner noted."""

from __future__ import annotations

import json
import time
from typing import Any

from ..moves import Move
from ..steps import Plan


def row_of(run: str, move: Move) -> dict[str, Any]:
    """Return the row of ``move``; its answer is not in it, that stands with the run."""
    return {
        "run": run,
        "revision": move.plan.revision,
        "plan": move.plan.model_dump_json(),
        "made": time.time(),
        "again": int(move.again),
        "memo": json.dumps(move.memo, ensure_ascii=False) if move.memo else None,
    }


def move_of(row: Any) -> Move:
    """Read a row of ``plans`` back."""
    memo = json.loads(row.memo) if row.memo else {}
    return Move(plan=Plan.model_validate_json(row.plan), again=bool(row.again), memo=memo)
