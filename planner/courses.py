"""Bodies on their way: which turn begins when, and what a turn that comes back makes of the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from ..steps import Node, StepResult
from .ready import Ready
from .turns import Course, Frame, abandon


@dataclass(slots=True, eq=False)
class Courses:
    """Takes bodies through their turns. What a call is, and when it starts, is its scheduler's business."""

    ready: Ready
    begin: Callable[[Frame, Node], None]
    """Starts a call of a turn."""
    over: Callable[[Course, StepResult], None]
    """Takes what came of a body."""
    go_on: Callable[[], None]
    """Called after a pause, when calls may have become ready."""
    group: TaskGroup | None = None
    """Where pauses are waited for."""
    pausing: set[Course] = field(default_factory=set)
    halted: bool = False

    def advance(self, course: Course) -> None:
        """Begin the turns that there is room for; when all are back the body is over."""
        while course.may_begin and not self.halted:
            frame = course.begin()
            for node in course.ready:
                self.begin(frame, node)
            if not course.body.nodes:
                course.came_back(frame)
        if course.over and not course.dropped:
            course.dropped = True  # a pause in a turn that was not needed may still end
            self.over(course, course.result())

    def turn_over(self, course: Course, frame: Frame) -> None:
        """Go on after a turn, at once or after the pause of its loop."""
        for unneeded in course.came_back(frame):
            abandon(unneeded, self.ready)
        part = course.parts[frame.at]
        pauses = course.body.pause and course.begun < course.size and not (part is not None and part.replayed)
        if pauses and self.group is not None and not self.halted:
            course.pause = anyio.CancelScope()
            self.pausing.add(course)
            self._rest(course, +1)
            self.group.start_soon(self._pause, course)
        else:
            self.advance(course)

    def stop(self) -> None:
        """Begin no further turn."""
        self.halted = True
        for course in self.pausing:
            course.pause.cancel()

    async def _pause(self, course: Course) -> None:
        with course.pause:
            await anyio.sleep(course.body.pause)
        self.pausing.discard(course)
        self._rest(course, -1)
        if not course.dropped:
            self.advance(course)
        self.go_on()

    def _rest(self, course: Course, change: int) -> None:
        """Note that ``course`` pauses, or goes on: a turn around it that rests leaves room for another beside it."""
        around = course.frame.course
        while around is not None:
            around.resting += change
            self.advance(around)
            around = around.frame.course
