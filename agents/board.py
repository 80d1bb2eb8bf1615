"""The state of a run as a person follows it, folded from its events; displays only draw it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from ..events import (
    ApprovalAsked,
    Chosen,
    Event,
    FellBack,
    Guarded,
    NodePlanned,
    Planned,
    Progress,
    Recalled,
    Repaired,
    Replanned,
    Routed,
    RunDone,
    RunStarted,
    Speculated,
    Spent,
    StepDone,
    StepStarted,
    TextDelta,
)
from ..messages import Usage
from ..planner.render import call_text
from ..planner.values import parents
from ..steps import Node

PHASES = {
    "compile": "planning",
    "repair": "mending the plan",
    "replan": "extending the plan",
    "join": "answering",
    "answer": "answering",
}
"""What a person reads while a model works in this role."""


@dataclass(slots=True)
class Row:
    """One node of the plan."""

    id: str
    call: str
    """The node in one line, e.g. ``read_text(path="a.txt")``."""
    needs: tuple[str, ...] = ()
    """Ids of the nodes it waits for."""
    status: str = "planned"
    started: float = 0.0
    """Seconds of the board's clock; 0 before the first start."""
    seconds: float = 0.0
    note: str = ""
    items: int = 0
    """Elements of a map, or turns of a call in a body, that have started."""
    items_done: int = 0
    depth: int = 0
    """Bodies that it stands in."""


@dataclass(slots=True)
class Board:
    """Everything a display shows. ``take`` never raises for a valid event."""

    clock: Callable[[], float] = time.monotonic
    run: str = ""
    task: str = ""
    phase: str = "starting"
    since: float = 0.0
    """Start of the phase, on the clock."""
    tokens_now: int = 0
    """Pieces of text that the running model call has sent."""
    tail: str = ""
    """The line that a model is writing."""
    progress: Progress | None = None
    rows: dict[str, Row] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    cost: Decimal = Decimal(0)
    model: str = ""
    finished: RunDone | None = None

    def __post_init__(self) -> None:
        """Start the clock of the first phase."""
        self.since = self.clock()

    def take(self, event: Event) -> str:
        """Fold ``event`` in and return a line worth keeping for the person, or nothing."""
        handler = getattr(self, f"_{event.type}", None)
        line = handler(event) if handler is not None else None
        return line or ""

    def running(self) -> list[Row]:
        """Rows that are under way."""
        return [row for row in self.rows.values() if row.status == "running"]

    def headline(self) -> str:
        """What happens now, e.g. ``planning… 34 tokens, 3 s``."""
        if self.progress is not None:
            return f"{self.progress.what}{amount(self.progress)}, {self._waited()}"
        running = self.running()
        if self.phase in ("", "running") and running:
            return f"running {', '.join(row.id for row in running[:6])}, {self._waited()}"
        if self.tokens_now:
            return f"{self.phase}… {self.tokens_now} tokens, {self._waited()}"
        if self.phase in PHASES.values():
            return f"{self.phase}: the model reads the prompt, {self._waited()}"
        return f"{self.phase or 'working'}… {self._waited()}"

    def _waited(self) -> str:
        return f"{self.clock() - self.since:.0f} s"

    def _enter(self, phase: str) -> None:
        self.phase, self.since = phase, self.clock()
        self.tokens_now, self.tail, self.progress = 0, "", None

    def _run_started(self, event: RunStarted) -> str:
        self.run, self.task = event.run, event.task
        self._enter("resuming" if event.resumed else "starting")
        return f"{'resuming ' if event.resumed else ''}run {event.run}"

    def _progress(self, event: Progress) -> None:
        if self.progress is None or self.progress.what != event.what:
            self.since = self.clock()
        over = event.total > 0 and event.done >= event.total
        self.progress = None if over else event

    def _recalled(self, event: Recalled) -> str:
        best = event.hints[0]
        return f"remembers {short(best.task, 60)!r} ({best.similarity:.0%} alike, run {best.run})"

    def _chosen(self, event: Chosen) -> str:
        return f"planned by {event.planner}: {event.reason}" if event.reason else ""

    def _text_delta(self, event: TextDelta) -> None:
        self.progress = None
        self.tokens_now += 1
        self.tail = (self.tail + event.text).rpartition("\n")[2][-400:]

    def _node_planned(self, event: NodePlanned) -> str | None:
        return self._add(event.node)

    def _planned(self, event: Planned) -> str | None:
        kept = {node.id for node in event.plan.every()}
        lines = [line for line in (self._add(node) for node in event.plan.nodes) if line]
        for id in [id for id, row in self.rows.items() if id not in kept and row.status == "planned"]:
            del self.rows[id]
        self._enter("running")
        if event.plan.refusal:
            return f"refused: {event.plan.refusal}"
        count = len(event.plan.nodes)
        return "\n".join([*lines, f"planned {count} step{'' if count == 1 else 's'}{_origin(event)}"])

    def _repaired(self, event: Repaired) -> str:
        self.rows = {id: row for id, row in self.rows.items() if row.status != "planned"}
        return f"the plan has problems, asking again: {short('; '.join(event.problems), 160)}"

    def _guarded(self, event: Guarded) -> str | None:
        if event.verdict.decision in ("allow", "ask"):  # a question is shown when it is put
            return None
        self._note(event.path, event.verdict.reason)
        return f"{event.path} {event.tool}: {event.verdict.decision} ({event.verdict.rule}): {event.verdict.reason}"

    def _approval_asked(self, event: ApprovalAsked) -> str:
        self._note(event.path, f"waits for approval {event.approval}")
        return f"{event.path} {event.tool} needs approval {event.approval}: {event.reason} {short(event.preview, 120)}"

    def _routed(self, event: Routed) -> str | None:
        changed, self.model = event.decision.model != self.model, event.decision.model
        return f"model {event.decision.model}: {event.decision.reason}" if changed else None

    def _fell_back(self, event: FellBack) -> str:
        self.progress = None
        return f"{event.model} did not answer ({short(event.reason, 120)}); trying {event.to}"

    def _spent(self, event: Spent) -> None:
        self.cost, self.usage = event.cost, event.usage

    def _step_started(self, event: StepStarted) -> None:
        if event.kind == "model":
            self._enter(PHASES.get(event.name, event.name))
            return
        row = self._row(event.path)
        if row.status != "running":
            row.status, row.started = "running", self.clock()
        row.items += event.path != row.id and event.attempt == 1
        row.note = f"attempt {event.attempt}" if event.attempt > 1 else ""

    def _step_done(self, event: StepDone) -> str | None:
        if event.kind == "model":
            self._enter("running")
            return None
        row = self._row(event.path)
        row.seconds = self.clock() - row.started if row.started else event.seconds
        text = event.failure.message if event.failure is not None else event.summary
        row.note = short(text, 80)
        if event.path != row.id:
            row.items_done += 1
            row.status = "running" if row.items_done < row.items else event.status
            return None
        row.status = event.status
        how = f"{event.seconds:.2f} s" if not event.replayed else "kept from before"
        return f"{event.path} {event.name}: {event.status}, {how}{'  ' + row.note if row.note else ''}"

    def _speculated(self, event: Speculated) -> str | None:
        return None if event.needed else f"{event.path} {event.tool}: not needed, {event.seconds:.2f} s made in vain"

    def _replanned(self, event: Replanned) -> str:
        return f"the results are not enough ({short(event.reason, 120)}); extending the plan"

    def _run_done(self, event: RunDone) -> None:
        self.finished, self.phase, self.progress = event, event.status, None
        self.cost, self.usage = event.cost, event.usage
        for row in self.rows.values():
            if row.status == "running":
                row.status, row.seconds = "cancelled", self.clock() - row.started

    def _add(self, node: Node, depth: int = 0) -> str | None:
        known = self.rows.get(node.id)
        self.rows[node.id] = row = known or Row(id=node.id, call="")
        new = row.call == ""
        row.call, row.needs, row.depth = call_text(node), tuple(parents(node)), depth
        for inner in node.body.nodes if node.body is not None else ():
            self._add(inner, depth + 1)
        needs = f"  after {', '.join(row.needs)}" if row.needs else ""
        return f"{node.id} = {short(row.call, 120)}{needs}" if new else None

    def _row(self, path: str) -> Row:
        # One row for all turns of a call: where the path ends.
        id = path.rpartition(".")[2].partition("[")[0]
        return self.rows.setdefault(id, Row(id=id, call=""))

    def _note(self, path: str, text: str) -> None:
        self._row(path).note = short(text, 80)


def _origin(event: Planned) -> str:
    return {"memory": ", recalled from memory", "person": ", from a file", "model": ""}[event.plan.origin]


def amount(event: Progress) -> str:
    """How far a progress is: `` 12 %`` of bytes or steps, or nothing when the end is unknown."""
    if event.total <= 0:
        return f" {event.done:g}" if event.done else ""
    share = f" {min(event.done / event.total, 1):.0%}"
    return share + (f" of {event.total / 1e6:,.0f} MB" if event.total >= 1e6 else "")


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def short(text: str, width: int) -> str:
    """One line of at most ``width`` characters, without control characters (they could rewrite the terminal)."""
    line = " ".join(_CONTROL.sub(" ", text).split())
    return line if len(line) <= width else line[: width - 1] + "…"


__all__ = ["Board", "Row", "amount", "short"]
