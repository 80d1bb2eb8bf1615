"""``shuntyard runs``."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import UsageError
from . import out
from .kept import Kept, opened
from .options import Options, takes
from .root import single

if TYPE_CHECKING:
    from ..memory.runs import RunRow

app = single()

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds", "": "days"}


@app.command()
@takes(Options)
def runs(
    options: Options,
    action: Annotated[Literal["list", "prune"], typer.Argument(help="What to do with them.")] = "list",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="list: how many, newest first.")] = 20,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="30d", help="prune: runs older than this (d, h, m, s).")
    ] = None,
    keep: Annotated[int | None, typer.Option("--keep", min=0, help="prune: all but the newest N.")] = None,
) -> int:
    """List earlier runs, or prune them. What was learnt from a pruned run stays."""
    age = read_age(older_than) if older_than is not None else timedelta(0)
    if action == "prune" and older_than is None and keep is None:
        raise UsageError("prune needs --older-than or --keep; to delete every ended run say --keep 0.")
    with opened(options.settings()) as kept:
        return _prune(kept, options, age, keep or 0) if action == "prune" else _list(kept, options, limit)


def read_age(text: str) -> timedelta:
    """Read ``30d``, ``12h``, ``90m``, ``45s``; a bare number is days. Raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([dhms]?)", text.strip())
    if match is None:
        raise UsageError(f"--older-than {text!r} is no age; write it like 30d, 12h or 90m.")
    try:
        return timedelta(**{_UNITS[match[2]]: float(match[1])})
    except OverflowError:
        raise UsageError(f"--older-than {text!r} is longer than time lasts; write it like 30d.") from None


def status_of(row: RunRow) -> str:
    """The run's status; ``interrupted`` when its process is gone."""
    return "interrupted" if row.interrupted else row.status


def when(seconds: float) -> str:
    """Local date and minute."""
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def _list(kept: Kept, options: Options, limit: int) -> int:
    found = kept.runs.list(limit)
    if options.json:
        rows = [
            {
                "run": row.run,
                "task": row.task,
                "status": status_of(row),
                "started": row.started,
                "ended": row.ended,
                "cost": str(row.result.cost) if row.result else None,
                "tokens": row.result.usage.total if row.result else None,
            }
            for row in found
        ]
        out.result_json(rows)
    elif not found:
        out.note('no runs yet; begin with: shuntyard run "TASK"')
    else:
        lines = [
            (
                row.run,
                status_of(row),
                when(row.started),
                out.money(row.result.cost) if row.result else "",
                " ".join(row.task.split())[:200],
            )
            for row in found
        ]
        out.result(out.table(lines, header=("RUN", "STATUS", "STARTED", "COST", "TASK")))
    return 0


def _prune(kept: Kept, options: Options, age: timedelta, keep: int) -> int:
    pruned = kept.runs.prune(older_than=age, keep=keep)
    if options.json:
        out.result_json(pruned.model_dump(mode="json"))
    else:
        files = f" and {pruned.blobs} file{'' if pruned.blobs == 1 else 's'} of big values" if pruned.blobs else ""
        runs = f"{pruned.runs} run{'' if pruned.runs == 1 else 's'}"
        out.result(f"pruned {runs}{files}, {out.size(pruned.bytes)} freed")
    return 0
