"""What a report shows: runs gathered by suite, with their figures, comparisons and failures, and numbers as words."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain, combinations, zip_longest
from typing import Any

from ..errors import UsageError
from .compare import Compared, Comparison, compare
from .figures import ALL, Figure, figures
from .log import RunLog, RunRow
from .stats import Calibration, calibration, quantiles

FAILURES = 40
"""Failures of a run that are shown, evenly from its categories."""
LONGEST = 4000
"""Characters of a text that are shown."""
_CONFIDENT = 10
"""Fewer outputs with a confidence make no calibration."""
_PAIRWISE = 4
"""More runs of a suite are compared with the first only."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One run."""

    log: RunLog
    name: str
    """Tells it apart from the others of its suite."""
    figures: tuple[Figure, ...]
    """By category, the one over all last; empty when no case has ended."""
    latency: Mapping[str, Mapping[str, float]]
    """p50 and p95 of the seconds, by category."""
    calibration: Calibration | None
    failures: tuple[RunRow, ...]
    """Those shown, at most ``FAILURES``."""
    failed: int
    """All of them."""

    @property
    def whole(self) -> Figure | None:
        """The figure over all cases."""
        return self.figures[-1] if self.figures else None


@dataclass(frozen=True, slots=True)
class Section:
    """The runs of one version of a suite."""

    suite: str
    version: int
    notes: str
    runs: tuple[Shown, ...]
    comparisons: tuple[Comparison, ...]


def sections(runs: Sequence[RunLog]) -> list[Section]:
    """Gather runs by suite, in the order given. Raises UsageError when there are none."""
    if not runs:
        raise UsageError("there is no run to report on; `shuntyard eval run SUITE` makes one.")
    found: dict[tuple[str, int], list[RunLog]] = {}
    for log in runs:
        found.setdefault((log.header.suite, log.header.version), []).append(log)
    return [_section(suite, version, logs) for (suite, version), logs in found.items()]


def _section(suite: str, version: int, logs: Sequence[RunLog]) -> Section:
    names = _names(logs)
    return Section(
        suite=suite,
        version=version,
        notes=logs[-1].header.notes,
        runs=tuple(_shown(log, name) for log, name in zip(logs, names, strict=True)),
        comparisons=tuple(_comparisons(logs)),
    )


def _names(logs: Sequence[RunLog]) -> list[str]:
    """Titles; where several are equal with what differs, or else the run's id."""
    titles = Counter(log.title for log in logs)
    longer = {id(log): f"{log.title} · {_differing(log)}" for log in logs}
    counts = Counter(longer.values())
    found = []
    for log in logs:
        name = log.title if titles[log.title] == 1 else longer[id(log)]
        found.append(name if titles[log.title] == 1 or counts[name] == 1 else f"{log.title} · {log.header.run}")
    return found


def _differing(log: RunLog) -> str:
    made = log.header.configuration
    return f"temperature {made.temperature:g}, seed {made.seed}"


def _shown(log: RunLog, name: str) -> Shown:
    failures = [row for row in log.rows if row.score.value < 1]
    sure = [(row.output.confidence, row.score.value) for row in log.rows if row.output.confidence is not None]
    by_category: dict[str, list[float]] = {}
    for row in log.rows:
        for category in {row.category, ALL}:
            by_category.setdefault(category, []).append(row.output.seconds)
    return Shown(
        log=log,
        name=name,
        figures=tuple(figures(log.rows)),
        latency={key: quantiles(found, (0.5, 0.95)) for key, found in by_category.items()},
        calibration=calibration(*zip(*sure, strict=True)) if len(sure) >= _CONFIDENT else None,
        failures=tuple(_evenly(failures)[:FAILURES]),
        failed=len(failures),
    )


def _evenly(rows: Sequence[RunRow]) -> list[RunRow]:
    """The categories take turns."""
    by_category: dict[str, list[RunRow]] = {}
    for row in rows:
        by_category.setdefault(row.category, []).append(row)
    turns = zip_longest(*(by_category[name] for name in sorted(by_category)))
    return [row for row in chain.from_iterable(turns) if row is not None]


def _comparisons(logs: Sequence[RunLog]) -> Iterator[Comparison]:
    pairs = combinations(logs, 2) if len(logs) <= _PAIRWISE else ((logs[0], other) for other in logs[1:])
    for first, second in pairs:
        if {row.digest for row in first.rows if not row.unsolved} & {
            row.digest for row in second.rows if not row.unsolved
        }:
            yield compare(first, second)


MEASURES = ("Cases", "Right", "95 % interval", "Tokens", "p50", "p95", "Cost")
"""Columns of every table of figures."""


def measures(run: Shown, figure: Figure) -> tuple[str, ...]:
    """Return a figure in the columns ``MEASURES``."""
    took = run.latency[figure.category]
    return (
        f"{figure.cases:,}",
        percent(figure.mean.value),
        f"{100 * figure.mean.low:.1f} to {100 * figure.mean.high:.1f}",
        f"{figure.usage.total / figure.rows:,.0f}",
        seconds(took["p50"]),
        seconds(took["p95"]),
        dollars(figure.cost),
    )


def further(run: Shown) -> tuple[list[str], list[list[str]]]:
    """Return the columns that only some runs have, with a row for each figure: pass@k, parts, baselines, errors."""
    columns: dict[str, list[str]] = {}
    for at, figure in enumerate(run.figures):
        found = {f"pass@{k}": percent(each.value) for k, each in figure.passes.items()}
        found |= {name: percent(value) for name, value in figure.parts.items()}
        found |= {f"{name} (baseline)": percent(value) for name, value in figure.baselines.items()}
        if figure.errors:
            found["Errors"] = ", ".join(f"{count} {code}" for code, count in figure.errors.items())
        for name, text in found.items():
            columns.setdefault(name, [""] * len(run.figures))[at] = text
    return list(columns), [[texts[at] for texts in columns.values()] for at in range(len(run.figures))]


CHANGES = ("Cases", "Before", "After", "Points", "95 % interval", "p", "Better / worse")
"""Columns of a comparison."""


def changes(row: Compared) -> tuple[str, ...]:
    """Return a category of a comparison in the columns ``CHANGES``."""
    found = row.difference
    return (
        f"{found.n:,}",
        percent(row.first.value),
        percent(row.second.value),
        points(found.value),
        f"{points(found.low)} to {points(found.high)}",
        f"{found.p:.3f}" if found.p >= 0.001 else "< 0.001",
        f"{found.better} / {found.worse}",
    )


def percent(value: float) -> str:
    """Return ``72.5 %``."""
    return f"{100 * value:.1f} %"


def points(value: float) -> str:
    """Return ``+12.5``, with a real minus sign, and none of both at ``0.0``."""
    text = f"{100 * value:+.1f}".replace("-", "−")
    return text if text[1:] != "0.0" else "0.0"


def seconds(value: float) -> str:
    """Return ``0.42 s``, ``12.3 s`` or ``3 min 20 s``."""
    if value < 120:
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def dollars(cost: Decimal | None) -> str:
    """Return ``$1.23``, more digits for small sums; ``unknown`` without a price."""
    if cost is None:
        return "unknown"
    if not cost:
        return "$0"
    return f"${cost:,.2f}" if cost >= 1 else f"${cost:.3g}"


def named(category: str) -> str:
    """Return a category as it is shown."""
    return category or "all"


def short(text: str, limit: int = LONGEST) -> str:
    """Return ``text``, or its beginning and how much is left out."""
    left = len(text) - limit
    return text if left <= 0 else f"{text[:limit]} … ({left:,} more characters)"


def plainly(value: Any) -> str:
    """Return JSON data as text: a string as it is, the rest as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def turns(row: RunRow) -> Iterator[tuple[str, str]]:
    """Who said or did what in a case, in order; without a transcript the input and the answer."""
    if not row.output.transcript:
        yield "input", plainly(row.input)
        yield "answer", row.output.text or plainly(row.output.value)
    for part in row.output.transcript:
        rest = {key: value for key, value in part.items() if key not in ("role", "content", "call", "result")}
        if "role" in part:
            yield str(part["role"]), plainly(part.get("content", ""))
        if "call" in part:
            yield "call", plainly(part["call"])
        if "result" in part:
            yield "result", plainly(part["result"])
        if rest:
            yield "also", plainly(rest)


def made(run: Shown) -> list[tuple[str, str]]:
    """Under what conditions a run was made."""
    header, configuration = run.log.header, run.log.header.configuration
    session = run.log.sessions[-1] if run.log.sessions else None
    told = [
        ("Run", header.run),
        ("Begun", f"{header.started:%Y-%m-%d %H:%M} UTC"),
        ("Model", configuration.model),
        ("Model SHA-256", configuration.model_sha256),
        ("Solver", configuration.solver),
        ("Engine", configuration.engine),
        ("Shuntyard", configuration.shuntyard),
        ("Temperature, seed", f"{configuration.temperature:g}, {configuration.seed}"),
        ("Machine", header.machine),
        ("State", _state(run)),
        ("At once", str(session.concurrency) if session is not None else ""),
        ("By the clock", seconds(run.log.end.seconds) if run.log.end is not None else ""),
    ]
    if run.whole is not None:
        usage = run.whole.usage
        told.append(("Tokens", f"{usage.prompt:,} read ({usage.cached:,} cached), {usage.completion:,} written"))
    return [(name, value) for name, value in told if value]


def _state(run: Shown) -> str:
    if run.log.finished or not run.log.sessions:
        return "finished"
    return f"cut off after {len(run.log.rows):,} of {run.log.sessions[-1].cases:,} results"
