"""A report as one HTML page: no script, nothing from elsewhere, light or dark as the reader has it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from . import plots
from .compare import Comparison
from .figures import Figure, failure
from .log import RunRow
from .markup import Markup, join, table, tag
from .shown import (
    CHANGES,
    FAILURES,
    MEASURES,
    Section,
    Shown,
    changes,
    further,
    made,
    measures,
    named,
    plainly,
    short,
    turns,
)
from .stats import Difference, Interval
from .style import STYLE

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_LETTERS = {"C": "right", "I": "wrong", "P": "partly", "N": "no answer"}
_INSTALL = "pip install 'shuntyard[report]'"
_COLUMNS = (*MEASURES[:2], "", *MEASURES[2:])


def page(sections: Sequence[Section], *, at: datetime) -> str:
    """Return the page. What models said is escaped, and the page forbids scripts and anything from outside."""
    runs = sum(len(section.runs) for section in sections)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"Evaluation: {', '.join(dict.fromkeys(section.suite for section in sections))}"),
        tag("style", Markup(STYLE)),
    )
    told = f"{_count(runs, 'run')} of {_count(len(sections), 'suite')}, written {at:%-d %B %Y, %H:%M} UTC"
    body = tag(
        "body",
        tag("header", tag("h1", "Evaluation"), tag("p", told), _overview(sections), _legend_of_signs()),
        *(_section(section, number) for number, section in enumerate(sections)),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _legend_of_signs() -> Markup:
    text = (
        "Figures are shares of cases that are right, with the 95 % interval of a bootstrap over cases. In the small "
        "bars the band is the interval, the dot the figure, and upright strokes are baselines that need no model. "
        "Tokens are those of a mean case, seconds the median and the 95th percentile of a case, cost is that of "
        "the whole run."
    )
    return tag("p", text, class_="aside")


def _overview(sections: Sequence[Section]) -> Markup:
    rows = []
    for number, section in enumerate(sections):
        for at, run in enumerate(section.runs):
            suite = tag("a", section.suite, href=f"#s{number}") if at == 0 else ""
            rows.append((suite, _series(at, run.name), *_figure(run, run.whole, at)))
    return table(("Suite", "Run", *_COLUMNS), rows, words=2)


def _figure(run: Shown, figure: Figure | None, series: int) -> tuple[str, ...]:
    """A figure in the columns of its table, with a small bar behind the share."""
    if figure is None:
        return ("0", *[""] * len(MEASURES))
    cases, share, *rest = measures(run, figure)
    return (cases, share, _bar(figure.mean, series, list(figure.baselines.values())), *rest)


def _section(section: Section, number: int) -> Markup:
    drawn = plots.available()
    parts: list[str] = [tag("h2", section.suite, tag("small", f"version {section.version}"))]
    if section.notes:
        parts.append(tag("p", section.notes, class_="aside"))
    parts.append(tag("p", *(_series(at, run.name) for at, run in enumerate(section.runs)), class_="legend"))
    if drawn and any(run.figures for run in section.runs):
        parts += _plots(section)
    elif not drawn:
        parts.append(tag("p", "Plots are left out; ", tag("code", _INSTALL), " brings what draws.", class_="aside"))
    parts += [_by_category(run, at) for at, run in enumerate(section.runs)]
    if section.comparisons:
        parts.append(tag("h3", "Compared case by case"))
        parts += [_compared(comparison, section) for comparison in section.comparisons]
    parts.append(tag("h3", "What was not right"))
    parts += [_failures(run, at) for at, run in enumerate(section.runs)]
    parts.append(tag("h3", "How it was made"))
    parts += [_made(run, at) for at, run in enumerate(section.runs)]
    return tag("section", *parts, id=f"s{number}")


def _plots(section: Section) -> list[Markup]:
    """What there is to draw, each under its title."""
    sure = [(at, run) for at, run in enumerate(section.runs) if run.calibration is not None]
    errors = [f"{run.name}: {run.calibration.ece:.3f}" for _, run in sure if run.calibration is not None]
    drawings = (
        ("Figures", plots.by_category(section), ""),
        ("Cost and quality", plots.cost_and_quality(section), "The dashed line joins runs that no cheaper one beats."),
        ("Latency", plots.latency(section), ""),
        (
            "Calibration",
            plots.reliability(sure),
            f"On the dashed line outputs are right as often as they say. Mean distance: {'; '.join(errors)}.",
        ),
    )
    return [
        tag("figure", tag("h3", title), Markup(svg), tag("figcaption", caption) if caption else Markup())
        for title, svg, caption in drawings
        if svg
    ]


def _by_category(run: Shown, series: int) -> Markup:
    if not run.figures:
        return join((tag("h3", _series(series, run.name)), tag("p", "No case has ended yet.")))
    names, more = further(run)
    rows = [
        (named(figure.category), *_figure(run, figure, series), *others)
        for figure, others in zip(run.figures, more, strict=True)
    ]
    found = table(("Category", *_COLUMNS, *names), rows, last=_sum(rows))
    return join((tag("h3", _series(series, run.name)), found))


def _sum(rows: Sequence[object]) -> str:
    return "sum" if len(rows) > 1 else ""


def _compared(comparison: Comparison, section: Section) -> Markup:
    names = {run.log.header.run: _series(at, run.name) for at, run in enumerate(section.runs)}
    series = [run.log.header.run for run in section.runs].index(comparison.second)
    widest = max(abs(bound) for row in comparison.rows for bound in (row.difference.low, row.difference.high)) or 1.0
    rows = []
    for row in comparison.rows:
        cases, before, after, change, *rest = changes(row)
        change = tag("b", change) if _clear(row.difference) else change
        bar = _difference(row.difference, series, widest)
        rows.append((named(row.category), cases, before, after, change, bar, *rest))
    against = tag("span", "against", class_="aside")
    title = tag("h4", names[comparison.second], against, names[comparison.first], class_="legend")
    left = comparison.only_first + comparison.only_second
    note = tag("p", f"{_count(left, 'case')} of only one of them left out.", class_="aside") if left else Markup()
    return join((title, table(("Category", *CHANGES[:4], "", *CHANGES[4:]), rows, last=_sum(rows)), note))


def _clear(found: Difference) -> bool:
    return found.low > 0 or found.high < 0


def _failures(run: Shown, series: int) -> Markup:
    if not run.failed:
        return tag("p", _series(series, run.name), ": nothing.")
    told = f": {run.failed:,} of {len(run.log.rows):,}"
    if run.failed > len(run.failures):
        told += f"; {FAILURES} of them, evenly from the categories, are here"
    cases = [_case(row) for row in run.failures]
    if run.failed > len(run.failures):
        command = tag("code", f"shuntyard eval show {run.log.header.run} --wrong")
        cases.append(tag("p", command, " lists them all.", class_="aside"))
    return tag("details", tag("summary", _series(series, run.name), told), *cases, class_="group")


def _case(row: RunRow) -> Markup:
    why = failure(row) or row.score.explanation or "no reason is given"
    said = [
        tag("dt", "Wanted"),
        tag("dd", short(plainly(row.target))),
        tag("dt", "Taken as the answer"),
        tag("dd", short(row.score.answer) or "nothing"),
    ]
    talk = [
        tag("div", tag("span", who, class_="who"), tag("pre", short(text)), class_="turn") for who, text in turns(row)
    ]
    heading = tag(
        "summary",
        tag("span", _LETTERS[row.score.letter], class_=f"letter {row.score.letter}"),
        tag("code", f"{row.id}{f' · epoch {row.epoch + 1}' if row.epoch else ''}"),
        tag("span", named(row.category) if row.category else "", class_="kind"),
        tag("span", short(why, 200), class_="why"),
    )
    return tag("details", heading, tag("p", short(why), class_="why"), tag("dl", *said), *talk, class_="case")


def _made(run: Shown, series: int) -> Markup:
    header = run.log.header
    facts = [part for name, value in made(run) for part in (tag("dt", name), tag("dd", value))]
    rows = [
        (use.source, use.file, use.origin, use.licence, f"{use.bytes:,}", tag("code", use.sha256))
        for use in header.data
    ]
    head = ("Source", "File", "From", "Licence", "Bytes", "SHA-256")
    data = table(head, rows, words=4) if rows else Markup()
    told = (tag("dl", *facts, class_="facts"), data)
    return tag("details", tag("summary", _series(series, run.name)), *told, class_="group")


def _series(number: int, name: str) -> Markup:
    return tag("span", tag("i", class_=f"dot s{number % plots.SERIES}"), name, class_="series")


def _bar(found: Interval, series: int, baselines: Sequence[float]) -> Markup:
    """A figure on the way from 0 to 100 %."""
    strokes = "".join(f'<path class="base" d="M{_x(value)} 2v12"/>' for value in baselines)
    return Markup(
        f'<svg class="bar s{series % plots.SERIES}" viewBox="0 0 124 16" aria-hidden="true">'
        f'<path class="track" d="M2 8H122"/>{strokes}'
        f'<path class="band" d="M{_x(found.low)} 8H{_x(found.high)}"/>'
        f'<circle cx="{_x(found.value)}" cy="8" r="3.5"/></svg>'
    )


def _difference(found: Difference, series: int, widest: float) -> Markup:
    """A difference around none."""
    low, value, high = (_x(0.5 + share / (2 * widest)) for share in (found.low, found.value, found.high))
    return Markup(
        f'<svg class="bar s{series % plots.SERIES}" viewBox="0 0 124 16" aria-hidden="true">'
        f'<path class="base" d="M62 1v14"/><path class="band" d="M{low} 8H{high}"/>'
        f'<circle cx="{value}" cy="8" r="3.5"/></svg>'
    )


def _x(share: float) -> str:
    return f"{2 + 120 * share:.1f}"
