"""``shuntyard resume`` and ``shuntyard approve``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from ..steps import Assumption
from . import out
from .drive import drive
from .kept import opened
from .options import Options, RunOptions, takes
from .root import single

if TYPE_CHECKING:
    from ..memory.approvals import Question

app = single()
approvals = single()


@app.command()
@takes(RunOptions)
def resume(
    options: RunOptions,
    run: Annotated[str, typer.Argument(help="Id of the run, or the beginning of it; 'last' for the newest.")],
    assume: Annotated[
        list[str] | None,
        typer.Option("--assume", metavar="PATH=done|not-done|failed", help="Settle a step in doubt; repeatable."),
    ] = None,
    keep_failed: Annotated[bool, typer.Option("--keep-failed", help="Leave failed steps of an ended run.")] = False,
) -> int:
    """Go on with a run that was stopped, interrupted or waits: nothing that is finished runs again."""
    settled = read_assumptions(assume or [])
    return drive(options, lambda agent: agent.resume(run, assume=settled, retry_failed=not keep_failed))


def read_assumptions(given: list[str]) -> dict[str, Assumption]:
    """Read ``n2=done`` pairs. Raises UsageError for anything else."""
    settled: dict[str, Assumption] = {}
    words: dict[str, Assumption] = {"done": "done", "not-done": "not-done", "failed": "failed"}
    for item in given:
        path, _, word = item.partition("=")
        if not path or word not in words:
            raise UsageError(
                f"--assume {item!r} is not PATH=done, PATH=not-done or PATH=failed; write it like --assume n2=done."
            )
        settled[path] = words[word]
    return settled


@approvals.command()
@takes(Options)
def approve(
    options: Options,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of questions; none: list.")] = None,
    deny: Annotated[bool, typer.Option("--deny", help="Answer no instead of yes.")] = False,
) -> int:
    """Answer questions that a run has put to a person; without ids list the open ones."""
    with opened(options.settings()) as kept:
        if not ids:
            return _list(kept.approvals.list_pending(), options)
        answered = [kept.approvals.decide(id, not deny) for id in ids]
    word = "denied" if deny else "approved"
    if options.json:
        out.result_json({word: [item.model_dump(mode="json") for item in answered]})
        return 0
    for item in answered:
        out.result(f"{word} {item.id}: {item.path} {item.tool} of run {item.run}")
    for run in dict.fromkeys(item.run for item in answered):
        out.note(f"go on with: shuntyard resume {run}")
    return 0


def _list(open_: Sequence[Question], options: Options) -> int:
    if options.json:
        out.result_json({"open": [item.model_dump(mode="json") for item in open_]})
        return 0
    if not open_:
        out.note("no open questions")
        return 0
    rows = [(item.id, item.run, item.path, item.tool, f"{item.reason} {item.preview}") for item in open_]
    out.result(out.table(rows, header=("ID", "RUN", "NODE", "TOOL", "WHY")))
    return 0
