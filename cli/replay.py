"""``shuntyard replay``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from . import out
from .drive import Watch, follow, last_lines
from .kept import id_of
from .options import RunOptions, takes
from .root import single

if TYPE_CHECKING:
    from ..agents.diff import NodeDiff, Replay, Sides

app = single()


@app.command()
@takes(RunOptions)
def replay(
    options: RunOptions,
    run: Annotated[str, typer.Argument(help="Id of the run, or the beginning of it; last for the newest.")] = "last",
    from_: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="NODE",
            help="Run this and all that follows for real: a node, n3[2].n5, or join.",
        ),
    ] = None,
) -> int:
    """Run a recorded run again and show what differs; exit code 0 when nothing does, 1 when something does.

    Without --from everything is answered from the record: no tool and no model is called.
    """
    found = id_of(run, options.settings())
    watch = Watch()
    done = follow(options, lambda agent: agent.replay(found, from_=from_ or ()), watch)
    if done is None:
        return 130
    if options.json:
        out.result_json(done.model_dump(mode="json"))
    elif options.events:
        out.result(done.model_dump_json())
    else:
        out.result("\n".join(_text(done)))
    for line in last_lines(done.result, watch.asked) if done.replay else ():
        out.note(line)
    if not options.quiet:
        out.note(_summary(done))
    return 0 if done.equal else 1


def _text(done: Replay) -> list[str]:
    wide = max((len(node.node) for node in done.nodes), default=0)
    lines = [line for node in done.nodes for line in _node(node, max(wide, len("answer")))]
    why = f": {done.result.failure.message}" if done.result.failure is not None else ""
    for what, before, after in (
        ("status", done.status_before, f"{done.status}{why if done.status != done.status_before else ''}"),
        ("answer", repr(done.answer_before), repr(done.answer)),
    ):
        differs = before != after
        lines.append(f"{what:{max(wide, 6)}}  {f'changed  {before} → {after}' if differs else 'same'}")
    return lines


def _node(node: NodeDiff, wide: int) -> list[str]:
    lines = [f"{node.node:{wide}}  {node.outcome:7}  {_told(node.value)}".rstrip()]
    if node.call is not None:
        lines.append(f"{'':{wide}}  called   {_told(node.call)}")
    return lines


def _told(sides: Sides | None) -> str:
    if sides is None:
        return ""
    both = " → ".join(side for side in (sides.before, sides.after) if side)
    return f"{sides.place}: {both}" if sides.place else both


def _summary(done: Replay) -> str:
    ran = sum(node.ran for node in done.nodes)
    differ = sum(not node.same for node in done.nodes)
    nodes = f"{len(done.nodes)} node{'' if len(done.nodes) == 1 else 's'}, {ran} of them run"
    verdict = "equal" if done.equal else "differs"
    where = f" · run {done.replay}" if done.replay else ""
    return f"{verdict} · {nodes}, {differ} differ{'s' if differ == 1 else ''} · replay of {done.run}{where}"
