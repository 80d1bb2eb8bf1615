"""``shuntyard run``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import PathRefused, UsageError
from ..steps import Plan
from .drive import drive
from .options import RunOptions, takes
from .root import single

app = single()


@app.command()
@takes(RunOptions)
def run(
    options: RunOptions,
    task: Annotated[str, typer.Argument(help="What you want done; - reads it from stdin.", show_default=False)] = "",
    plan: Annotated[
        Path | None,
        typer.Option("--plan", metavar="FILE", help="Run this plan (plan -o FILE, or a plan.py) instead of compiling."),
    ] = None,
) -> int:
    """Run a task: plan it, run the plan, print the answer."""
    given = read_plan(plan) if plan is not None else None
    words = read_task(task) if task or given is None else given.task
    return drive(options, lambda agent: agent.run(words, plan=given))


def read_task(task: str) -> str:
    """Return the task's words, from stdin for ``-``. Raises UsageError when there are none."""
    if task == "-":
        task = sys.stdin.read()
    if not task.strip():
        raise UsageError(f"the task is empty ({task!r}); say in a sentence what you want done.")
    return task.strip()


def read_plan(path: Path) -> Plan:
    """Read a plan file. Raises PathRefused when it cannot be read, PlanInvalid when it is no plan."""
    from ..planner.files import parse
    from ..planner.program import parse_program

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PathRefused(f"the plan {str(path)!r} cannot be read: {error}; write one with plan -o FILE.") from None
    return parse_program(text) if path.suffix == ".py" else parse(text)
