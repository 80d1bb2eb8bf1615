"""The live display of a run on a terminal: the DAG as it grows, with times, costs and what happens now."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from ..events import Event
from .board import Board, Row, amount, short

_ICONS = {
    "planned": ("○", "dim"),
    "done": ("✓", "green"),
    "failed": ("✗", "red"),
    "skipped": ("–", "dim"),
    "denied": ("⊘", "red"),
    "waiting": ("?", "yellow"),
    "spent": ("$", "yellow"),
    "doubt": ("?", "red"),
    "cancelled": ("■", "yellow"),
}
_URGENT = {"running": 0, "failed": 1, "denied": 1, "waiting": 1, "done": 3}
_ASCII = {"○": "o", "✓": "+", "✗": "x", "–": "-", "⊘": "!", "■": "#"}


class QuietConsole(Console):
    """A console that goes silent when its pipe breaks; rich's own would end the process."""

    def on_broken_pipe(self) -> None:
        """Write no more."""
        self.quiet = True


class LiveSink:
    """Draws the run on ``console`` (stderr by default) eight times a second; the last state stays.

    A thread draws, so a busy run costs the display nothing but smoothness. ``pause`` frees the terminal
    for a question.
    """

    def __init__(self, console: Console | None = None) -> None:
        """Draw nothing before the first event."""
        self._console = console or QuietConsole(stderr=True)
        self._board = Board()
        self._lock = threading.RLock()
        self._live: Live | None = None
        self._closed = False
        self._paused = False
        self._spinner = Spinner("dots" if self._unicode else "line", style="cyan")

    @property
    def _unicode(self) -> bool:
        return (self._console.encoding or "ascii").lower().startswith("utf")

    def __call__(self, event: Event) -> None:
        """Take one event and return at once."""
        with self._lock:
            if self._closed:
                return
            line = self._board.take(event)
            keep = line and event.type not in _DRAWN
        try:
            if self._live is None and not self._paused:
                self._open()
            if keep and not self._paused:
                self._console.print(Text(line, style="dim"))
        except (OSError, ValueError):
            self.close()

    def begin(self) -> None:
        """Draw now instead of with the first event."""
        try:
            if self._live is None:
                self._open()
        except (OSError, ValueError):
            self.close()

    def close(self) -> None:
        """Draw the last state and release the terminal; before any event there is nothing to keep."""
        with self._lock:
            self._closed = True
            live, self._live = self._live, None
        if live is not None:
            with suppress(OSError, ValueError):
                live.vertical_overflow = "visible"
                live.transient = not self._board.run
                live.stop()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Clear the display while a person is asked something."""
        self._paused = True
        live, self._live = self._live, None
        if live is not None:
            live.transient = True
            live.stop()
        try:
            yield
        finally:
            self._paused = False
            if not self._closed:
                self._open()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the present state."""
        with self._lock:
            state = self._render(options.max_width, console.height)
        yield state

    def _open(self) -> None:
        live = Live(self, console=self._console, refresh_per_second=8, redirect_stdout=False)
        live.start()
        self._live = live

    def _render(self, width: int, height: int) -> Group:
        board = self._board
        rows = list(board.rows.values())
        hidden = 0
        if not self._closed and len(rows) > height - 4:
            # What goes on matters more than what is over; at the end everything is drawn.
            room = max(1, height - 4)
            rows = sorted(rows, key=lambda row: _URGENT.get(row.status, 2))[:room]
            rows.sort(key=list(board.rows.values()).index)
            hidden = len(board.rows) - len(rows)
        parts: list[Text | Table] = [self._line(row, width) for row in rows]
        if hidden:
            parts.append(Text(f"  and {hidden} more", style="dim"))
        if board.finished is None:
            parts.append(self._status(width))
        return Group(*parts)

    def _line(self, row: Row, width: int) -> Text:
        icon, style = self._icon(row)
        times = self._seconds(row)
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(f"{icon} ", style=style)
        text.append(f"{'  ' * row.depth}{row.id} ", style="bold")
        needs = f"← {' '.join(row.needs)}  " if row.needs and self._unicode else ""
        count = f" {row.items_done}/{row.items}" if row.items else ""
        room = max(12, width - 2 * row.depth - len(row.id) - len(needs) - len(times) - len(count) - 8)
        text.append(short(row.call or row.note, room))
        text.append(count, style="cyan")
        text.append(f"  {needs}", style="dim")
        text.append(times, style="dim")
        left = width - text.cell_len - 2
        if row.note and left > 10:
            text.append("  " + short(row.note, left), style="red" if row.status == "failed" else "dim")
        return text

    def _icon(self, row: Row) -> tuple[str, str]:
        if row.status == "running":
            frame = self._spinner.render(time.monotonic())
            return (frame.plain if isinstance(frame, Text) else "*"), "cyan"
        icon, style = _ICONS.get(row.status, ("·", ""))
        return (icon if self._unicode else _ASCII.get(icon, icon)), style

    def _seconds(self, row: Row) -> str:
        if row.status == "running":
            return f"{self._board.clock() - row.started:.1f} s"
        return f"{row.seconds:.2f} s" if row.started else ""

    def _status(self, width: int) -> Table:
        board = self._board
        grid = Table.grid(padding=(0, 1))
        cells: list[Spinner | Text | ProgressBar] = [self._spinner]
        progress = board.progress
        if progress is not None and progress.total > 0 and width >= 60:
            cells.append(Text(progress.what, no_wrap=True))
            cells.append(ProgressBar(total=progress.total, completed=progress.done, width=24))
            cells.append(Text(amount(progress).strip(), style="dim"))
        else:
            cells.append(Text(short(board.headline(), max(20, width - 30)), no_wrap=True))
            if board.tail and width >= 60:
                cells.append(Text(short(board.tail[-(width // 3) :], width // 3), style="dim", no_wrap=True))
        cells.append(Text(f"{board.usage.total:,} tok ${board.cost:.4f}", style="dim", no_wrap=True))
        grid.add_row(*cells)
        return grid


_DRAWN = {"node_planned", "planned", "step_done", "step_started", "run_done"}
"""Events that the drawing itself shows."""
