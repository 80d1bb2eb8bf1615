"""``shuntyard resume``."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import UsageError
from ..steps import Assumption
from .drive import drive
from .kept import id_of
from .options import RunOptions, takes
from .root import single

app = single()


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
    found = id_of(run, options.settings())
    return drive(options, lambda agent: agent.resume(found, assume=settled, retry_failed=not keep_failed))


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
