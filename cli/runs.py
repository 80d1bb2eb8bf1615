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
    action: Annotated[Literal["list", "prune", "compact"], typer.Argument(help="What to do with them.")] = "list",
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="RUN", help="compact: these runs; none: all that have ended.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="list: how many, newest first.")] = 20,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="30d", help="prune: runs older than this (d, h, m, s).")
    ] = None,
    keep: Annotated[int | None, typer.Option("--keep", min=0, help="prune: all but the newest N.")] = None,
) -> int:
    """List earlier runs; prune them, or compact them. What was learnt from a pruned run stays.

    A compacted run shows, resumes and replays as before, without the attempts that were made again.
    """
    if ids and action != "compact":
        raise UsageError(f"{action} takes no run, but was given {ids[0]!r}; see: shuntyard show {ids[0]}")
    age = read_age(older_than) if older_than is not None else timedelta(0)
    if action == "prune" and older_than is None and keep is None:
        raise UsageError("prune needs --older-than or --keep; to delete every ended run say --keep 0.")
    with opened(options.settings()) as kept:
        if action == "compact":
            return _compact(kept, options, ids or [])
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


def _compact(kept: Kept, options: Options, ids: list[str]) -> int:
    done = kept.compact(ids)
    if options.json:
        out.result_json(done.model_dump(mode="json"))
        return 0
    out.result(
        f"compacted {_count(done.runs, 'run')}: {_count(done.attempts, 'attempt')} dropped, "
        f"{_count(done.values, 'value')} moved to files, {out.size(done.bytes)} freed"
    )
    return 0


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _prune(kept: Kept, options: Options, age: timedelta, keep: int) -> int:
    pruned = kept.runs.prune(older_than=age, keep=keep)
    if options.json:
        out.result_json(pruned.model_dump(mode="json"))
    else:
        files = f" and {_count(pruned.blobs, 'file')} of big values" if pruned.blobs else ""
        out.result(f"pruned {_count(pruned.runs, 'run')}{files}, {out.size(pruned.bytes)} freed")
    return 0
