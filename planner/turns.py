"""Turns of bodies: the calls that run together for one element of a list, or for one round of a loop.

A plan is a frame of calls; every turn of a body is a frame inside it, with results of its own and those around it in
sight. All frames feed the one heap of ready calls, so limits, priorities and workers are those of the run.

Which turn ends a list is decided in the order of the list, never in that of finishing: what comes out is what a loop
with a ``break`` gives, also when a resumed run finishes in another order.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import ChainMap
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, TypeAlias

import anyio

from ..steps import Body, Effect, Label, Node, StepResult, ToolSpec
from .frontier import Frontier
from .outcomes import failed, gathered, last_turn, substituted, turned
from .ready import Launch, Ready
from .validate import gravest
from .values import begun_with, ended, given, given_by, label_of, parents, refs

Scope: TypeAlias = MutableMapping[str, StepResult]
"""Results by id that a call can refer to."""


@dataclass(slots=True, eq=False)
class Frame:
    """Calls that run together: those of the plan, or those of one turn of a body."""

    frontier: Frontier
    results: dict[str, StepResult]
    scope: Scope
    """``results``, and those of the frames around."""
    path: str = ""
    """What stands before the ids of its calls in the journal."""
    course: Course | None = None
    at: int = 0
    """Index of the turn."""
    left: int = 0
    """Calls of a turn that have no result yet."""
    tail: float = 0.0
    """Seconds of the longest path behind it."""
    place: int = 0
    tentative: bool = False
    """It may turn out not to be needed."""
    dropped: bool = False
    launched: dict[str, Launch | Course] = field(default_factory=dict)

    def behind(self, id: str) -> float:
        """Seconds of the longest path behind the call ``id``."""
        return self.frontier.tail(id) + self.tail

    def rank(self, id: str) -> int:
        """The place of the call ``id`` in the written order of the plan, calls of bodies being where their node is."""
        return self.frontier.place(id) if self.course is None else self.place


@dataclass(slots=True, eq=False)
class Course:
    """A node with a body on its way, turn by turn."""

    node: Node
    body: Body
    frame: Frame
    """Where the node stands."""
    effect: Effect
    """The gravest in the body."""
    width: int
    """Turns at once."""
    alone: bool
    """Each turn waits for the one before."""
    items: list[Any] | None
    label: Label
    """That of the elements."""
    size: int
    """Turns that there will be, as far as is known."""
    outline: Frontier
    """The body before any of it has run."""
    ready: list[Node]
    """Its calls that wait for none of the others."""
    tail: float
    place: int
    parts: list[StepResult | None]
    last: StepResult | None = None
    """What the turn before gave; None where no call asks."""
    begun: int = 0
    open: dict[int, Frame] = field(default_factory=dict)
    resting: int = 0
    """Turns in which something pauses."""
    held: list[int] = field(default_factory=list)
    """Indices of the turns in which ``until`` was true."""
    pause: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    """That of the pause before its next turn."""
    dropped: bool = False

    @property
    def path(self) -> str:
        """Where the node stands in the journal."""
        return self.frame.path + self.node.id

    @property
    def tentative(self) -> bool:
        """True when turns run ahead that may turn out not to be needed."""
        return self.items is not None and self.body.until is not None and not self.alone

    @property
    def may_begin(self) -> bool:
        """True when there is room for another turn."""
        busy = len(self.open) - (0 if self.alone else self.resting)
        return self.begun < self.size and busy < self.width and not self.dropped

    @property
    def over(self) -> bool:
        """True when all its turns have come back."""
        return self.begun >= self.size and not self.open

    def begin(self) -> Frame:
        """Open the next turn; its calls that are ready are those of ``ready``."""
        at = self.begun
        self.begun += 1
        seen: dict[str, StepResult] = {}
        path = self.path
        if self.items is not None:
            seen["item"] = StepResult(value=self.items[at], label=self.label)
        if self.items is not None or self.body.most is not None:
            path += f"[{at}]"
        if self.last is not None:
            seen["last"] = self.last
        results: dict[str, StepResult] = {}
        around = self.frame.scope.maps if isinstance(self.frame.scope, ChainMap) else [self.frame.scope]
        rounds = math.ceil((self.size - at) / self.width) - 1 if self.items is not None else 0
        frame = self.open[at] = Frame(
            frontier=self.outline.copy(),
            results=results,
            scope=ChainMap(results, seen, *around),
            path=f"{path}.",
            course=self,
            at=at,
            left=len(self.body.nodes),
            tail=self.tail + rounds * self.outline.span(),
            place=self.place,
            tentative=self.frame.tentative or self.tentative,
        )
        return frame

    def came_back(self, frame: Frame) -> list[Frame]:
        """Take in a turn whose calls all have results; returns the turns under way that it makes unneeded."""
        at = frame.at
        del self.open[at]
        part = turned(frame.path, list(frame.results.items()))
        holds = False
        if part.ok:
            try:
                value, label = given_by(self.node, frame.scope)
                part = part.model_copy(update={"value": value, "label": label})
                holds = self.body.until is not None and ended(self.node, frame.scope)
            except Exception as error:
                part = failed(error, self.path)
        if self.items is not None:
            part = substituted(self.node, part)
        self.parts[at] = part
        if self.last is not None:
            self.last = part
        if holds:
            insort(self.held, at)
        if len(self.held) >= self.body.enough:
            self.size = min(self.size, self.held[self.body.enough - 1] + 1)
        if not part.ok and (self.items is None or self.last is not None):
            # The turn after would begin with a value that is not there.
            self.size = min(self.size, at + 1)
        return [self.open.pop(other) for other in sorted(self.open) if other >= self.size]

    def result(self) -> StepResult:
        """What came of the node, all turns being back."""
        parts = [part for part in self.parts[: self.size] if part is not None]
        if self.items is not None:
            return gathered(self.path, parts) if parts else StepResult(value=[], label=Label(sources=("tool",)))
        met = self.body.until is None or bool(self.held) or self.body.unmet == "keep"
        return substituted(self.node, last_turn(self.node, parts, met=met))

    def stopped(self, never: StepResult) -> StepResult:
        """What came of the node when nothing more starts: ``never`` in the place of what has not been run."""
        while self.open:
            frame = self.open[min(self.open)]
            for node in self.body.nodes:
                if node.id not in frame.results:
                    frame.results[node.id] = left_over(frame, node, never)
            self.came_back(frame)
        if self.over:
            return self.result()
        parts = [part or never for part in self.parts]
        return gathered(self.path, parts) if self.items is not None else never


def drop(launch: Launch | Course, ready: Ready) -> None:
    """Stop what is under way of a node; whatever still comes back is thrown away."""
    if isinstance(launch, Launch):
        launch.drop()
        ready.remove(launch)
        return
    launch.dropped = True
    launch.pause.cancel()
    for frame in launch.open.values():
        abandon(frame, ready)


def abandon(frame: Frame, ready: Ready) -> None:
    """Stop the calls of a turn."""
    frame.dropped = True
    for launch in frame.launched.values():
        drop(launch, ready)


def left_over(frame: Frame, node: Node, never: StepResult) -> StepResult:
    """What came of a node that has no result when nothing more starts."""
    launch = frame.launched.get(node.id)
    if isinstance(launch, Course):
        return launch.stopped(never)
    if launch is None or launch.items is None:
        return never
    return gathered(f"{frame.path}{node.id}", [part or never for part in launch.parts])


def embark(frame: Frame, node: Node, specs: Mapping[str, ToolSpec], items: list[Any] | None, most: int) -> Course:
    """Make the course of ``node``, of which no turn has begun; ``most`` turns may run at once."""
    body = node.body
    assert body is not None
    effect = gravest(node, specs)
    asked = chain(given(body), *map(refs, body.nodes))
    carries = any(text.startswith("last") for text in asked)
    alone = items is None or carries or (body.until is not None and effect is not Effect.READ)
    size = len(items) if items is not None else body.most or 1
    outline = Frontier(specs)
    here = {inner.id for inner in body.nodes}
    outside = {id for inner in body.nodes for id in parents(inner) if id not in here}
    ready = [inner for inner in body.nodes if outline.add(inner, outside)]
    outline.measure()
    return Course(
        node=node,
        body=body,
        frame=frame,
        effect=effect,
        width=1 if alone else most,
        alone=alone,
        items=items,
        label=label_of(node, frame.scope) if items is not None else Label(),
        size=size,
        outline=outline,
        ready=ready,
        tail=frame.behind(node.id),
        place=frame.rank(node.id),
        parts=[None] * size,
        last=begun_with(node, frame.scope) if carries else None,
    )
