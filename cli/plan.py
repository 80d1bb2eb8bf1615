"""``shuntyard plan``."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import DeadlinePassed, PathRefused
from . import out
from .estimates import bounds_json, estimate_line, ranges_json
from .options import RunOptions, takes
from .root import single
from .run import read_task

if TYPE_CHECKING:
    from ..agents.forecast import Forecast

app = single()


@app.command()
@takes(RunOptions)
def plan(
    options: RunOptions,
    task: Annotated[str, typer.Argument(help="What you want done; - reads it from stdin.", show_default=False)] = "",
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print the DAG as a Mermaid diagram.")] = False,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Draw the DAG into FILE.")] = None,
    passes: Annotated[bool, typer.Option("--passes", help="Print what each pass changed in the plan.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the plan to FILE, to edit and run it.")
    ] = None,
) -> int:
    """Plan a task without running it: the DAG, the models that would be used, predicted cost and time."""
    from ..planner import files, render

    forecast = _forecast(options, read_task(task))
    if svg is not None:
        _write(svg, render.svg(forecast.plan))
    if output is not None:
        _write(output, files.dump(forecast.plan))
    if options.json:
        out.result_json(as_json(forecast))
    elif mermaid:
        out.result(render.mermaid(forecast.plan))
    elif not options.events:
        out.result("\n".join([as_text(forecast), *(["", *passes_text(forecast)] if passes else [])]))
    if forecast.plan.refusal:
        out.note(f"refused: {forecast.plan.refusal}")
        return 1
    return 0


def _forecast(options: RunOptions, task: str) -> Forecast:
    settings = options.settings()
    import anyio

    from ..agents.sinks import JsonlSink, progress_sink

    display = None if options.quiet else progress_sink(sys.stderr)
    sinks: list[Any] = [*([JsonlSink(sys.stdout)] if options.events else []), *([display] if display else [])]

    async def go() -> Forecast:
        from ..agents.agent import Agent

        with anyio.fail_after(settings.deadline):
            async with Agent(settings=settings, sinks=sinks) as agent:
                return await agent.plan(task)

    try:
        with redirect_stdout(sys.stderr):
            return anyio.run(go)
    except TimeoutError:
        raise DeadlinePassed(f"planning took longer than {settings.deadline:g} s; give --deadline more.") from None
    finally:
        if display is not None:
            display.close()


def as_json(forecast: Forecast) -> dict[str, Any]:
    """``nodes`` as ``id, tool, args, after``, with the models and the estimate."""
    from ..planner.files import node_record

    return {
        "task": forecast.plan.task,
        "run": forecast.run,
        "nodes": [{**node_record(node), "effect": node.effect.value} for node in forecast.plan.nodes],
        "refusal": forecast.plan.refusal,
        "planner": {**forecast.choice.model_dump(mode="json", exclude={"hints"}), "again": forecast.again},
        "passes": [each.model_dump(mode="json") for each in forecast.passes],
        "models": {role: decision.model for role, decision in forecast.decisions.items()},
        "estimate": {
            "cost": None if forecast.cost is None else str(forecast.cost),
            "tokens": forecast.tokens,
            "seconds": round(forecast.seconds, 3),
            "critical_path": round(forecast.critical_path, 3),
            **bounds_json(forecast.prediction.plan),
            "ranges": ranges_json(forecast.prediction),
        },
        "spent": {"cost": str(forecast.spent_cost), "tokens": forecast.spent_tokens},
        "hints": [{"run": hint.run, "task": hint.task, "similarity": hint.similarity} for hint in forecast.hints],
    }


def as_text(forecast: Forecast) -> str:
    """The DAG as a tree, with the models and the estimate below."""
    from ..planner.render import tree

    models = ", ".join(f"{role} by {decision.model}" for role, decision in forecast.decisions.items())
    bounds = forecast.prediction.plan
    played = f"{bounds.makespan:.1f} s of calls, {bounds.lower:.1f} to {bounds.upper:.1f} s with {bounds.concurrency}"
    return "\n".join(
        [
            tree(forecast.plan).rstrip(),
            "",
            f"planner   {_how(forecast)}",
            f"models    {models}",
            f"estimate  {estimate_line(forecast.prediction)}",
            f"schedule  {played} at once (critical path {bounds.span:.1f} s, one by one {bounds.work:.1f} s)",
            f"planning  took {forecast.spent_tokens:,} tokens, {out.money(forecast.spent_cost)}",
        ]
    )


def _how(forecast: Forecast) -> str:
    choice = forecast.choice
    named = f"{choice.planner} ({choice.reason})" if choice.reason else choice.planner
    return f"{named}, which goes on from the results of these calls" if forecast.again else named


def passes_text(forecast: Forecast) -> list[str]:
    """A line per pass and per change, as ``n3 merged into n1: the same query call as n1``."""
    lines = []
    for each in forecast.passes:
        lines.append(f"{each.name:<9} {each.promises}")
        for change in each.changes:
            into = f" into {change.into}" if change.into else ""
            lines.append(f"  {change.node} {change.kind}{into}: {change.reason}")
        lines += ["  nothing to do"] if not each.changes else []
    return lines


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise PathRefused(f"{str(path)!r} cannot be written: {error.strerror}; name another file.") from None
    out.note(f"wrote {path}")
