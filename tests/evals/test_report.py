"""Reports: whole in themselves, right in their figures, and no text of a model becomes a tag."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from report_parts import PLANNED, RAW, drawn, log, row, several

from shuntyard.errors import StoreUnwritable, UsageError
from shuntyard.evals import plots
from shuntyard.evals.case import Case, Output, Score
from shuntyard.evals.log import RunLog
from shuntyard.evals.report import write
from shuntyard.evals.shown import FAILURES, sections

EVIL = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</pre></details></body><h1>gone</h1>",
    "<!-- ]]> <svg onload=alert(1)>",
    "javascript:alert(1)",
    "[x](javascript:alert(1)) ![p](https://example.org/p.png) | a | b |",
    "``` ` `` \n\n# heading <b>bold</b>",
    "&lt;script&gt; \x00\x1b[31m \u202e reversed",
    "$\\frac{broken$",
]
ELEMENTS = {
    *"html head meta title style body header h1 h2 h3 h4 p a small section span i b table thead tbody tr th td".split(),
    *"div figure figcaption details summary code dl dt dd pre svg path circle defs g use text clippath rect br".split(),
}


class Reader(HTMLParser):
    """Collects what a browser would see, and complains of tags that do not fit."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes += [(key, value or "") for key, value in attrs]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def texts(runs: list[RunLog], folder: Path) -> tuple[str, str]:
    html, md = write(runs, folder)
    assert sorted(folder.iterdir()) == [html, md]
    return html.read_text(encoding="utf-8"), md.read_text(encoding="utf-8")


def evil_run() -> RunLog:
    """Everything that a model, a scorer or a person's suite may say is hostile."""
    rows = [
        row(
            Case(id=f"c{at}{text}", category=text, input=text, target={text: text}),
            Output(
                text=f"{text}\ud800",
                error=text if at % 2 else "",
                transcript=({"role": text, "content": text}, {"call": text, "result": {text: text}}, {text: text}),
            ),
            Score(value=0.5 * (at % 2), answer=f"{text}\ud800", explanation=text, parts={text: 0.5}),
            baselines={text: 0.5},
        )
        for at, text in enumerate(EVIL)
    ]
    return log(rows, suite="evil", model="<i>m</i>")


def test_what_models_say_is_no_markup(tmp_path: Path) -> None:
    html, md = texts([evil_run()], tmp_path)
    found = Reader(html)
    assert found.names <= ELEMENTS
    assert not [key for key, _ in found.attributes if key.startswith("on")]
    said = "".join(found.text)
    assert "<script>alert(1)</script>" in said
    assert "</pre></details></body><h1>gone</h1>" in said
    assert "Content-Security-Policy" in {value for _, value in found.attributes}
    for line in md.splitlines():
        bare = re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", line)
        bare = re.sub(r"\\.", "", bare)
        assert not re.search(r"<\w|\]\(|!\[", bare), line
        assert "\n# heading" not in md


def test_nothing_comes_from_elsewhere(tmp_path: Path) -> None:
    html, _ = texts(several(), tmp_path)
    found = Reader(html)
    linked = [value for key, value in found.attributes if key in {"src", "href", "xlink:href", "data", "action"}]
    assert all(value.startswith("#") for value in linked)
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert not found.names & {"script", "link", "iframe", "object", "img", "base"}


def test_figures_are_those_of_the_runs(tmp_path: Path) -> None:
    runs = several()
    html, md = texts(runs, tmp_path)
    seen = " ".join("".join(Reader(html).text).split())
    for section in sections(runs):
        for run in section.runs:
            assert run.name in seen
            for figure in run.figures:
                assert f"{100 * figure.mean.value:.1f} %" in seen
                assert f"{100 * figure.mean.low:.1f} to {100 * figure.mean.high:.1f}" in md
        for comparison in section.comparisons:
            for compared in comparison.rows:
                change = f"{100 * compared.difference.value:+.1f}".replace("-", "−")
                assert (change if change[1:] != "0.0" else "0.0") in seen
    assert "no call (baseline)" in seen
    assert runs[0].header.configuration.model_sha256 in seen
    for told in ("5a" * 32, "Apache-2.0", "xllamacpp 2026.8", "2026-11-21", "SHUNTYARD_DATA"):
        assert told in html and told in md


def test_runs_of_a_suite_stand_together_and_are_compared_in_pairs() -> None:
    bfcl, gsm8k = sections(several())
    assert (len(bfcl.runs), len(bfcl.comparisons)) == (4, 6)
    assert (len(gsm8k.runs), len(gsm8k.comparisons)) == (1, 0)
    many = [log(drawn(RAW, count=5, seed=at), seed=at, minutes=at) for at in range(7)]
    (section,) = sections(many)
    assert [comparison.first for comparison in section.comparisons] == [many[0].header.run] * 6
    assert len({run.name for run in section.runs}) == 7
    (twins,) = sections([log(drawn(RAW, count=5)), log(drawn(RAW, count=5), minutes=1)])
    assert len({run.name for run in twins.runs}) == 2


def test_runs_without_a_common_case_stand_beside_each_other(tmp_path: Path) -> None:
    runs = [log(drawn({"simple": 0.5})), log(drawn({"multiple": 0.5}), minutes=1)]
    html, _ = texts(runs, tmp_path)
    assert "Compared case by case" not in html


def test_versions_of_a_suite_are_kept_apart() -> None:
    first, second = log(drawn(RAW, count=5)), log(drawn(RAW, count=5), minutes=1)
    newer = RunLog(
        second.path, second.header.model_copy(update={"version": 2}), second.sessions, second.rows, second.end, 0
    )
    assert [section.version for section in sections([first, newer])] == [1, 2]


def test_failures_are_shown_evenly_and_counted_whole() -> None:
    (section,) = sections([log(drawn(RAW | {"simple": 0.0}, count=100))])
    (run,) = section.runs
    assert run.failed == sum(row.score.value < 1 for row in run.log.rows) > len(run.failures) == FAILURES
    assert {row.category for row in run.failures} == set(RAW)


def test_a_run_that_was_cut_off_and_one_without_rows_say_so(tmp_path: Path) -> None:
    cut = log(drawn({"": 0.5}, count=30), finished=False)
    html, md = texts([cut], tmp_path / "a")
    assert "cut off after 30 of 30 results" in html and "cut off" in md
    html, md = texts([log([], finished=False)], tmp_path / "b")
    assert "No case has ended yet." in html and "No case has ended yet." in md


def test_plots_are_drawn_in_the_colours_of_the_page(tmp_path: Path) -> None:
    html, _ = texts(several(), tmp_path)
    drawings = re.findall(r'<svg viewBox=.*?role="img".*?</svg>', html, re.DOTALL)
    titles = [re.search('aria-label="([^"]+)"', drawing)[1] for drawing in drawings]  # type: ignore[index]
    assert titles == [
        "Figures by category",
        "Cost and quality",
        "Latency",
        "Figures by category",
        "Latency",
        "Calibration",
    ]
    for drawing in drawings:
        ElementTree.fromstring(drawing.replace("xlink:href", "href"))
        assert set(re.findall(r"#[0-9a-f]{6}\b", drawing)) <= {"#ffffff", "#000000"}, "a colour that no theme changes"
    assert "var(--s0)" in drawings[0] and "var(--s3)" in drawings[0]
    assert "Mean distance" in html


def test_dollars_are_drawn_where_something_costs() -> None:
    runs = [log(drawn(PLANNED, price=price), model=f"m{price}", minutes=price) for price in (2, 9)]
    (section,) = sections(runs)
    assert "dollars of a case" in plots.cost_and_quality(section)
    (free,) = sections([log(drawn(PLANNED)), log(drawn(PLANNED), minutes=1)])
    assert "dollars" not in plots.cost_and_quality(free)


def test_without_matplotlib_the_tables_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "available", lambda: False)
    html, _ = texts(several(), tmp_path)
    assert "pip install &#x27;shuntyard[report]&#x27;" in html
    assert 'role="img"' not in html
    assert "parallel_multiple" in html


def test_equal_runs_give_equal_reports_but_for_the_time(tmp_path: Path) -> None:
    first, second = (texts(several(), tmp_path / name)[0] for name in ("a", "b"))
    hide = re.compile(r"written [^<]* UTC")
    assert hide.sub("", first) == hide.sub("", second)


def test_no_runs_and_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="eval run SUITE"):
        write([], tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnwritable, match="cannot be written"):
        write(several()[:1], tmp_path / "file" / "report")
