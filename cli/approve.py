"""``shuntyard approve``."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from . import out
from .edits import read_edited
from .kept import opened
from .options import ToolOptions, takes
from .root import single

if TYPE_CHECKING:
    from ..memory.approvals import Question
    from ..protocols import Edited

app = single()


@app.command()
@takes(ToolOptions)
def approve(
    options: ToolOptions,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID", help="Ids of questions; none: list.")] = None,
    deny: Annotated[bool, typer.Option("--deny", help="Answer no instead of yes.")] = False,
    edit: Annotated[
        list[str] | None,
        typer.Option("--edit", metavar="NAME=VALUE", help="Yes, with another argument; VALUE is JSON; repeatable."),
    ] = None,
    args: Annotated[
        str, typer.Option("--args", metavar="JSON|FILE", help="Yes, with these arguments and no others.")
    ] = "",
) -> int:
    """Answer questions that a run has put to a person; without ids list the open ones."""
    who = _who()
    edited = read_edited(edit or [], args, by=who)
    if edited is not None and (deny or len(ids or []) != 1):
        raise UsageError(f"--edit and --args answer one question with yes, not {_given(ids, deny)}; name one id.")
    if edited is not None and ids:
        answered = [_edited(options, ids[0], edited)]
    else:
        with opened(options.settings()) as kept:
            if not ids:
                return _list(kept.approvals.list_pending(), options)
            answered = [kept.approvals.decide(id, not deny, by=who) for id in ids]
    word = "denied" if deny else "approved"
    if options.json:
        out.result_json({word: [item.model_dump(mode="json") for item in answered]})
        return 0
    for item in answered:
        changed = f" with other {', '.join(item.edited)}" if item.edited is not None else ""
        out.result(f"{word} {item.id}: {item.path} {item.tool} of run {item.run}{changed}")
    for run in dict.fromkeys(item.run for item in answered):
        out.note(f"go on with: shuntyard resume {run}")
    return 0


def _edited(options: ToolOptions, id: str, edited: Edited) -> Question:
    """Have the tool and the policy look at the arguments first; both come with the agent."""
    import anyio

    from ..agents.agent import Agent

    settings = options.settings()

    async def go() -> Question:
        async with Agent(settings=settings) as agent:
            return await agent.approve(id, edited)

    return anyio.run(go)


def _who() -> str:
    """The name that the answer is kept under."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "person"


def _given(ids: Sequence[str] | None, deny: bool) -> str:
    return "with --deny" if deny else f"{len(ids or [])} questions"


def _list(open_: Sequence[Question], options: ToolOptions) -> int:
    if options.json:
        out.result_json({"open": [item.model_dump(mode="json") for item in open_]})
        return 0
    if not open_:
        out.note("no open questions")
        return 0
    rows = [(item.id, item.run, item.path, item.tool, f"{item.reason} {item.preview}") for item in open_]
    out.result(out.table(rows, header=("ID", "RUN", "NODE", "TOOL", "WHY")))
    return 0
