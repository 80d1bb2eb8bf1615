"""How far an evaluation is, on stderr: a bar on a terminal, else plain lines, and never silent for ten seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from ..events import Event
from . import out

if TYPE_CHECKING:
    from ..evals.harness import Progress

EVERY = 5.0
"""Seconds between two plain lines."""


class Display(Protocol):
    """Takes what is told of a run."""

    def progress(self, progress: Progress) -> None:
        """Take how far the cases are."""

    def event(self, event: Event) -> None:
        """Take what the model's source does: fetching, loading."""


class Silent:
    """Shows nothing."""

    def progress(self, progress: Progress) -> None:
        """Nothing."""

    def event(self, event: Event) -> None:
        """Nothing."""


class Lines:
    """One line when a phase begins, then one every five seconds."""

    def __init__(self) -> None:
        """Nothing said yet."""
        self._phases: set[str] = set()
        self._last = 0.0

    def progress(self, progress: Progress) -> None:
        """Say it unless something was said just now."""
        ended = progress.row is not None and progress.done == progress.total
        self._say(progress.phase, f"{progress.phase}: {words(progress)}" if progress.total else progress.phase, ended)

    def event(self, event: Event) -> None:
        """Say what the model's source does."""
        if what := source_words(event):
            self._say(what.partition(":")[0], what, False)

    def _say(self, phase: str, text: str, at_once: bool) -> None:
        now = time.monotonic()
        if at_once or phase not in self._phases or now - self._last >= EVERY:
            self._phases.add(phase)
            self._last = now
            out.note(text)


class Bar:
    """A bar with rich."""

    def __init__(self, bar: Any) -> None:
        """Draw on ``bar``, a rich Progress that has begun."""
        self._bar = bar
        self._task = bar.add_task("", total=None, told="")

    def progress(self, progress: Progress) -> None:
        """Redraw."""
        self._bar.update(
            self._task,
            description=progress.phase,
            total=progress.total or None,
            completed=progress.done,
            told=words(progress) if progress.total else "",
        )

    def event(self, event: Event) -> None:
        """Show what the model's source does in place of the phase."""
        if what := source_words(event):
            self._bar.update(self._task, description=what)


def words(progress: Progress) -> str:
    """``12/40 · 83.3 % · 2 errors · about 3 min left``."""
    parts = [f"{progress.done}/{progress.total}"]
    if progress.done:
        parts.append(f"{progress.mean:.1%}".replace("%", " %"))
    if progress.errors:
        parts.append(f"{progress.errors} error{'' if progress.errors == 1 else 's'}")
    if progress.eta is not None and progress.done < progress.total:
        parts.append(f"about {lasting(progress.eta)} left")
    return " · ".join(parts)


def lasting(seconds: float) -> str:
    """Seconds for people: ``40 s``, ``3 min``, ``1 h 20 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def source_words(event: Event) -> str:
    """``fetching NAME: 40 %``; empty for events that concern a single case."""
    if event.type != "progress" or event.run or not event.what.startswith(("fetching", "loading", "checking")):
        return ""
    if event.total:
        return f"{event.what}: {event.done / event.total:.0%}"
    return f"{event.what}: {event.done:.0f} s" if event.what.startswith("loading") else event.what


@contextmanager
def display(*, quiet: bool) -> Iterator[Display]:
    """Give the display that fits stderr, and end it after."""
    if quiet:
        yield Silent()
        return
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    console = Console(stderr=True)
    if console.is_dumb_terminal:
        yield Lines()
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
    with Progress(*columns, console=console) as bar:
        yield Bar(bar)
