"""Evaluations as text and as plain JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from . import out

if TYPE_CHECKING:
    from ..evals.compare import Comparison
    from ..evals.figures import Figure
    from ..evals.gate import Passed
    from ..evals.harness import Result
    from ..evals.log import RunHeader, RunLog, RunRow
    from ..evals.stats import Interval
    from ..evals.suite import Suite

ALL = "all"


def suites(found: Sequence[Suite]) -> str:
    """Return a table of suites; the solver in front is the one that is used when none is named."""
    lines = []
    for suite in found:
        solvers = sorted(suite.solvers, key=lambda name: name != suite.solver)
        data = ", ".join(f"{source.folder} ({source.licence})" for source in suite.sources)
        lines.append((suite.name, " ".join(solvers), data, suite.about))
    return out.table(lines, header=("SUITE", "SOLVERS", "DATA", ""))


def suite_json(suite: Suite) -> dict[str, Any]:
    """Return what is known of a suite before it runs."""
    return {
        "name": suite.name,
        "about": suite.about,
        "version": suite.version,
        "solver": suite.solver,
        "solvers": {name: info.about for name, info in suite.solvers.items()},
        "sources": [source.model_dump(mode="json") for source in suite.sources],
        "sample": suite.sample,
        "timeout": suite.timeout,
        "baselines": list(suite.baselines),
        "notes": suite.notes,
    }


def runs(headers: Sequence[RunHeader]) -> str:
    """Return a table of runs, newest first."""
    lines = []
    for header in headers[:30]:
        made = header.configuration
        lines.append((header.run, f"{header.started.astimezone():%Y-%m-%d %H:%M}", made.solver, made.model))
    return out.table(lines, header=("RUN", "STARTED", "SOLVER", "MODEL"))


def figures(found: Sequence[Figure]) -> str:
    """Return a table: a line per category with the figure, its interval, what a case took, baselines and parts."""
    baselines = list(dict.fromkeys(name for figure in found for name in figure.baselines))
    parts = list(dict.fromkeys(name for figure in found for name in figure.parts))
    passes = sorted({k for figure in found for k in figure.passes if k > 1})
    header = (
        *("CATEGORY", "CASES", "FIGURE", "95 %"),
        *(f"PASS@{k}" for k in passes),
        *("TOKENS/CASE", "S/CASE", "COST", "ERRORS"),
        *(name.upper() for name in (*baselines, *parts)),
    )
    lines = [
        (
            figure.category or ALL,
            str(figure.cases),
            percent(figure.mean.value),
            bounds(figure.mean),
            *(percent(figure.passes[k].value) if k in figure.passes else "" for k in passes),
            f"{figure.usage.total / figure.rows:,.0f}",
            f"{figure.seconds:.2f}",
            out.money(figure.cost),
            " ".join(f"{code} {count}" for code, count in figure.errors.items()),
            *(percent(figure.baselines[name]) if name in figure.baselines else "" for name in baselines),
            *(percent(figure.parts[name]) if name in figure.parts else "" for name in parts),
        )
        for figure in found
    ]
    return out.table(lines, header=header)


def result_json(result: Result) -> dict[str, Any]:
    """Return a run's outcome as one object."""
    return {
        **log_json(result.log),
        "rows": len(result.rows),
        "new": result.new,
        "seconds": result.seconds,
        "figures": [figure.model_dump(mode="json") for figure in result.figures],
    }


def log_json(log: RunLog) -> dict[str, Any]:
    """Return a run's conditions and figures, without its rows."""
    from ..evals.figures import figures as sum_up

    return {
        **log.header.model_dump(mode="json", exclude={"type", "format"}),
        "log": str(log.path),
        "finished": log.finished,
        "selection": log.sessions[-1].selection.model_dump(mode="json") if log.sessions else None,
        "figures": [figure.model_dump(mode="json") for figure in sum_up(log.rows)],
    }


def last_lines(result: Result) -> Iterator[str]:
    """What the person should know or do next."""
    from ..evals.figures import failure

    header = result.log.header
    kept = len(result.rows) - result.new
    before = f" ({kept} were there)" if kept else ""
    yield f"run {header.run}: {len(result.rows)} rows{before}, {result.seconds:.1f} s; {result.log.title}"
    if header.notes:
        yield f"note: {header.notes}"
    if kept and len({session.code for session in result.log.sessions}) > 1:
        yield "note: the program was changed since the log was begun; --fresh runs every case with what it is now"
    failed = [row for row in result.rows if failure(row)]
    if failed:
        yield f"{len(failed)} with errors, the first: {failed[0].id}: {failure(failed[0])}"
    if any(row.score.value < 1 for row in result.rows):
        yield f"  what went wrong: shuntyard eval show {header.run} --wrong"


def comparison(found: Comparison, limit: int) -> str:
    """Return two runs side by side, then the cases that changed."""
    lines = []
    for row in found.rows:
        change = row.difference
        lines.append(
            (
                row.category or ALL,
                str(change.n),
                f"{percent(row.first.value)} ({bounds(row.first)})",
                f"{percent(row.second.value)} ({bounds(row.second)})",
                f"{change.value * 100:+.1f}",
                f"{change.low * 100:+.1f} to {change.high * 100:+.1f}",
                f"{change.p:.3f}",
                f"{change.better} / {change.worse}",
            )
        )
    head = ("CATEGORY", "CASES", "A", "B", "B - A", "95 %", "P", "BETTER / WORSE")
    text = [f"A  {found.first}  {found.first_title}", f"B  {found.second}  {found.second_title}", ""]
    text.append(out.table(lines, header=head))
    for flip in found.flips[:limit]:
        text.append(f"  {flip.id}  {flip.category}  {percent(flip.first)} -> {percent(flip.second)}")
    if len(found.flips) > limit:
        text.append(f"  and {len(found.flips) - limit} more; --cases {len(found.flips)} shows all")
    for name, count in ((found.first, found.only_first), (found.second, found.only_second)):
        if count:
            text.append(f"{count} cases that only {name} has are left out")
    return "\n".join(text)


def gates(passed: Sequence[Passed]) -> str:
    """Return a table of gates, those that failed with the reason."""
    lines = [
        (
            "ok" if each.ok else "FAIL",
            each.gate.suite,
            each.gate.solver,
            each.gate.model,
            each.gate.category or ALL,
            percent(each.gate.floor),
            "" if each.value is None else percent(each.value),
            each.why or each.run,
        )
        for each in passed
    ]
    return out.table(lines, header=("", "SUITE", "SOLVER", "MODEL", "CATEGORY", "AT LEAST", "IS", ""))


def rows(log: RunLog, found: Sequence[RunRow]) -> str:
    """Return a table of cases."""
    several = any(row.epoch for row in log.rows)
    lines = [
        (
            row.id + (f" #{row.epoch}" if several else ""),
            row.category,
            row.score.letter,
            f"{row.score.value:.2f}",
            f"{row.output.seconds:.2f}",
            str(row.output.usage.total),
            _one_line(row.score.explanation or row.score.answer, 160),
        )
        for row in found
    ]
    return out.table(lines, header=("CASE", "CATEGORY", "", "SCORE", "SECONDS", "TOKENS", ""))


def transcript(row: RunRow) -> str:
    """Return one case as a person reads it: what was asked, said and done, what was wanted, and the verdict."""
    epoch = f" epoch {row.epoch}" if row.epoch else ""
    parts = "".join(f" · {name} {percent(value)}" for name, value in row.score.parts.items())
    usage = f"{row.output.usage.total:,} tokens · {row.output.seconds:.2f} s · {out.money(row.output.cost)}"
    lines = [
        f"case    {row.id}{epoch}  {row.category}  ({row.split})",
        f"score   {row.score.letter} {row.score.value:.2f}{parts} · {usage}",
    ]
    lines += _block("input", row.input) + _block("target", row.target)
    for turn in row.output.transcript:
        if "call" in turn:
            lines += _block("call", turn["call"]) + _block("result", turn.get("result"))
        else:
            lines += _block(str(turn.get("role", "?")), turn.get("content"))
    lines += _block("answer", row.output.text)
    if row.output.value is not None:
        lines += _block("value", row.output.value)
    for title, text in (
        ("taken", row.score.answer),
        ("why", row.score.explanation),
        ("error", row.output.error or row.error),
    ):
        if text:
            lines += _block(title, text)
    return "\n".join(lines)


def _block(title: str, value: Any) -> list[str]:
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    first, *rest = text.splitlines() or [""]
    return ["", f"{title.ljust(9)} {first}".rstrip(), *(f"{' ' * 10}{line}".rstrip() for line in rest)]


def _one_line(text: str, length: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= length else flat[: length - 1] + "…"


def percent(value: float) -> str:
    """``82.5 %``."""
    return f"{value * 100:.1f} %"


def bounds(found: Interval) -> str:
    """``71.0 to 92.5``."""
    return f"{found.low * 100:.1f} to {found.high * 100:.1f}"
