"""A report as Markdown: the tables of the page, for a repository or a pull request.

What models said stands in code spans, where no renderer makes links, pictures or tags of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from .compare import Comparison
from .figures import failure
from .markup import SEEN
from .shown import CHANGES, MEASURES, Section, Shown, changes, further, made, measures, named, short

_FAILURES = 20


def markdown(sections: Sequence[Section], *, at: datetime) -> str:
    """Return the report as GitHub-flavoured Markdown."""
    lines = ["# Evaluation", "", f"Written {at:%-d %B %Y, %H:%M} UTC. Figures are shares of cases that are right, with"]
    lines.append("the 95 % interval of a bootstrap over cases; tokens are those of a mean case, cost is the run's.")
    for section in sections:
        lines += ["", *_section(section)]
    return "\n".join(lines) + "\n"


def _section(section: Section) -> Iterator[str]:
    yield f"## {_plain(section.suite)} (version {section.version})"
    if section.notes:
        yield from ("", _plain(section.notes))
    for run in section.runs:
        yield from ("", f"### {_plain(run.name)}", "")
        yield from _figures(run)
    for comparison in section.comparisons:
        yield from ("", *_comparison(comparison, section))
    for run in section.runs:
        yield from ("", *_failures(run))
    for run in section.runs:
        yield from ("", *_made(run))


def _figures(run: Shown) -> Iterator[str]:
    if not run.figures:
        yield "No case has ended yet."
        return
    names, more = further(run)
    rows = (
        (_plain(named(figure.category)), *measures(run, figure), *map(_plain, others))
        for figure, others in zip(run.figures, more, strict=True)
    )
    yield from _table(("Category", *MEASURES, *map(_plain, names)), rows)


def _comparison(comparison: Comparison, section: Section) -> Iterator[str]:
    names = {run.log.header.run: run.name for run in section.runs}
    yield f"### {_plain(names[comparison.second])} against {_plain(names[comparison.first])}"
    yield ""
    yield from _table(("Category", *CHANGES), ((_plain(named(row.category)), *changes(row)) for row in comparison.rows))


def _failures(run: Shown) -> Iterator[str]:
    if not run.failed:
        yield f"Nothing was wrong in {_plain(run.name)}."
        return
    shown = run.failures[:_FAILURES]
    some = f"; {len(shown)} of them" if run.failed > len(shown) else ""
    yield f"### Not right in {_plain(run.name)}: {run.failed:,} of {len(run.log.rows):,}{some}"
    yield ""
    rows = (
        (row.score.letter, _code(row.id), _code(row.score.answer), _code(failure(row) or row.score.explanation))
        for row in shown
    )
    yield from _table(("", "Case", "Answer", "Why"), rows, words=4)


def _made(run: Shown) -> Iterator[str]:
    yield f"### How {_plain(run.name)} was made"
    yield ""
    yield from _table(("", ""), ((name, _code(value)) for name, value in made(run)), words=2)
    if run.log.header.data:
        yield ""
        rows = (
            (_code(f"{use.source}/{use.file}"), _code(use.origin), _plain(use.licence), f"`{use.sha256}`")
            for use in run.log.header.data
        )
        yield from _table(("File", "From", "Licence", "SHA-256"), rows, words=4)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'|'.join('---' if at < words else '---:' for at in range(len(head)))}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _plain(text: str) -> str:
    """A text of ours or a person's own, in which no sign means anything."""
    return re.sub(r"([\\`*_\[\]<>|#&])", r"\\\1", _flat(text))


def _code(text: str) -> str:
    """A text of anyone's as a code span, cut to what a table bears."""
    flat = short(_flat(text), 160).replace("|", "\\|")
    if not flat:
        return ""
    fence = "`" * (max((len(run) for run in re.findall("`+", flat)), default=0) + 1)
    pad = " " if "`" in (flat[0], flat[-1]) else ""
    return f"{fence}{pad}{flat}{pad}{fence}"


def _flat(text: str) -> str:
    return " ".join(text.translate(SEEN).split())
