"""Plots of a report as SVG texts to stand in a page: colours are the page's, so that they follow its theme.

They are drawn with matplotlib (extra ``report``), which is imported when there is something to draw.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from .figures import Figure
from .shown import Section, Shown, named, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SERIES = 6
"""Colours for runs; more runs begin again."""
_INK, _MUTED, _LINE = "#010101", "#020202", "#030303"
_NAMES = {_INK: "var(--ink)", _MUTED: "var(--muted)", _LINE: "var(--line)"}
_WIDTH = 9.2
"""Inches; the page scales to its width."""


def available() -> bool:
    """True when matplotlib is installed."""
    return find_spec("matplotlib") is not None


def by_category(section: Section) -> str:
    """Figures of all runs by category, with intervals; baselines as upright strokes."""
    categories = list(dict.fromkeys(figure.category for run in section.runs for figure in run.figures))
    runs = len(section.runs)

    def draw(axes: Axes) -> None:
        for at, run in enumerate(section.runs):
            for figure in run.figures:
                place = categories.index(figure.category) + (at - (runs - 1) / 2) * 0.72 / max(runs, 2)
                _point(axes, figure, place, at)
        for figure in (figure for run in section.runs[:1] for figure in run.figures):
            for value in figure.baselines.values():
                place = categories.index(figure.category)
                axes.plot([100 * value] * 2, [place - 0.4, place + 0.4], color=_MUTED, lw=1, ls=(0, (2, 2)))
        for place in range(len(categories) - 1):
            axes.axhline(place + 0.5, color=_LINE, lw=0.6)
        axes.set_yticks(range(len(categories)), [_label(name) for name in categories])
        axes.set_ylim(len(categories) - 0.5, -0.5)
        axes.set_xlim(-1, 101)
        axes.set_xlabel("share right, %, with 95 % interval")
        axes.tick_params(axis="y", length=0)

    height = 0.9 + len(categories) * max(0.34, 0.17 * runs)
    return _svg("Figures by category", draw, height=height)


def _point(axes: Axes, figure: Figure, place: float, series: int) -> None:
    mean = figure.mean
    axes.plot([100 * mean.low, 100 * mean.high], [place, place], color=_colour(series), lw=2.4, alpha=0.45)
    axes.plot([100 * mean.value], [place], "o", color=_colour(series), ms=5)


def cost_and_quality(section: Section) -> str:
    """The figure over all against tokens, seconds and, where something costs, dollars of a case."""
    wholes = [(at, whole) for at, run in enumerate(section.runs) if (whole := run.whole) is not None]
    measures: list[tuple[str, list[float | None]]] = [
        ("tokens of a case", [whole.usage.total / whole.rows for _, whole in wholes]),
        ("seconds of a case", [whole.seconds for _, whole in wholes]),
        ("dollars of a case", [None if w.cost is None else float(w.cost) / w.rows for _, w in wholes]),
    ]
    shown = [(name, costs) for name, costs in measures if sum(bool(cost) for cost in costs) > 1]

    def panel(costs: Sequence[float | None], name: str, first: bool) -> Callable[[Axes], None]:
        def draw(axes: Axes) -> None:
            known = [(cost, at, whole) for cost, (at, whole) in zip(costs, wholes, strict=True) if cost]
            for cost, at, whole in known:
                mean = whole.mean
                axes.plot([cost, cost], [100 * mean.low, 100 * mean.high], color=_colour(at), lw=2.4, alpha=0.45)
                axes.plot([cost], [100 * mean.value], "o", color=_colour(at), ms=7)
            front = _front([(cost, 100 * whole.mean.value) for cost, _, whole in known])
            axes.step(*zip(*front, strict=True), where="post", color=_MUTED, lw=1, ls=(0, (3, 3)), zorder=0)
            _log(axes, [cost for cost, _, _ in known])
            axes.set_ylim(0, 100)
            axes.set_xlabel(name)
            if first:
                axes.set_ylabel("share right, %")
            axes.yaxis.grid(True, color=_LINE, lw=0.6)

        return draw

    panels = [panel(costs, name, at == 0) for at, (name, costs) in enumerate(shown)]
    return _svg("Cost and quality", *panels, height=3.1) if panels else ""


def _front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no cheaper one is as good as."""
    best = -1.0
    found = []
    for cost, value in sorted(points, key=lambda point: (point[0], -point[1])):
        if value > best:
            found.append((cost, value))
            best = value
    return found


def latency(section: Section) -> str:
    """Share of the cases that had an answer within so many seconds, for each run."""
    runs = [(at, sorted(row.output.seconds for row in run.log.rows)) for at, run in enumerate(section.runs)]
    timed = [(at, found) for at, found in runs if found and found[-1] > 0]

    def draw(axes: Axes) -> None:
        for at, found in timed:
            shares = [100 * (number + 1) / len(found) for number in range(len(found))]
            axes.step([found[0], *found], [0, *shares], where="post", color=_colour(at), lw=1.6)
        _log(axes, [value for _, found in timed for value in found if value > 0])
        axes.set_ylim(0, 100)
        axes.set_xlabel("seconds")
        axes.set_ylabel("answered by then, %")
        axes.yaxis.grid(True, color=_LINE, lw=0.6)

    return _svg("Latency", draw, height=2.8) if timed else ""


def reliability(runs: Sequence[tuple[int, Shown]]) -> str:
    """How often outputs were right against how sure they were, and how many were how sure."""
    told = [(at, run.calibration) for at, run in runs if run.calibration is not None]

    def diagram(axes: Axes) -> None:
        axes.plot([0, 100], [0, 100], color=_MUTED, lw=1, ls=(0, (3, 3)))
        for at, found in told:
            x = [100 * each.confidence for each in found.bins]
            y = [100 * each.value for each in found.bins]
            axes.plot(x, y, color=_colour(at), lw=1, alpha=0.5)
            sizes = [18 + 160 * each.n / found.n for each in found.bins]
            axes.scatter(x, y, s=sizes, color=_colour(at), linewidths=0, zorder=3)
        axes.set_xlim(-2, 102)
        axes.set_ylim(-4, 104)
        axes.set_xlabel("how sure, %")
        axes.set_ylabel("right, %")

    def counts(axes: Axes) -> None:
        from matplotlib.ticker import MaxNLocator

        width = 9.0 / max(len(told), 1)
        for place, (at, found) in enumerate(told):
            x = [100 * each.low + 0.5 + place * width for each in found.bins]
            heights = [100 * each.n / found.n for each in found.bins]
            axes.bar(x, heights, width=width, align="edge", color=_colour(at), alpha=0.75)
        axes.set_xlim(-2, 102)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_xlabel("how sure, %")
        axes.set_ylabel("share of the outputs, %")

    return _svg("Calibration", diagram, counts, height=3.1) if told else ""


def _label(category: str) -> str:
    """A category's name, in one line and kept from being read as a formula."""
    text = "".join(sign if sign.isprintable() else " " for sign in named(category))
    return short(text, 40).replace("$", r"\$")


def _colour(series: int) -> str:
    return f"#a1b2c{series % SERIES}"


def _log(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis of plain numbers, with room around what is shown."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = min(values), max(values)
    axes.set_xscale("log")
    axes.set_xlim(low / 1.6, high * 1.6)
    close = high / low < 300
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if close else (1,), numticks=12))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))


def _svg(title: str, *panels: Callable[[Axes], None], height: float) -> str:
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Canvas

    rules: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": title,
        "font.size": 9,
        "text.color": _INK,
        "axes.labelcolor": _MUTED,
        "axes.edgecolor": _LINE,
        "xtick.color": _LINE,
        "ytick.color": _LINE,
        "xtick.labelcolor": _MUTED,
        "ytick.labelcolor": _INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
    }
    with rc_context(rules), warnings.catch_warnings():
        # The letters are the page's: those that the measuring font lacks are no matter.
        warnings.filterwarnings("ignore", message="Glyph")
        canvas = Canvas(figsize=(_WIDTH, height), layout="constrained")
        canvas.patch.set_alpha(0)
        for number, panel in enumerate(panels, 1):
            axes = canvas.add_subplot(1, len(panels), number)
            axes.patch.set_alpha(0)
            axes.tick_params(length=0, pad=5)
            panel(axes)
        text = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        canvas.savefig(text, format="svg", metadata=nothing)
    return _themed(text.getvalue(), title)


def _themed(svg: str, title: str) -> str:
    """Leave the drawing only, named for those who do not see it, in the page's colours and letters."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', rf'<svg viewBox="\1" role="img" aria-label="{title}">', svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    svg = re.sub(r"#a1b2c(\d)", r"var(--s\1)", svg)
    for colour, name in _NAMES.items():
        svg = svg.replace(colour, name)
    return svg
