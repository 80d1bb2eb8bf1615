"""Steps answered from a record, by key alone: the wrapper under which nothing that is on record happens again."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import anyio
import anyio.lowlevel

from ..errors import BlobDamaged
from ..protocols import Ctx, Handler, Recorded
from ..steps import Failure, Step, StepKey, StepResult
from .journal import in_doubt, speak

NOT_RECORDED = "not_recorded"
"""Code of the failure of a step that was to be answered and has left no trace."""
_NODE = re.compile(r"n[0-9]")
_PATIENCE = 0.5
"""Seconds that an answer waits for its turn."""


def answered(found: Mapping[StepKey, Recorded], live: Callable[[StepKey], bool]) -> Callable[[Handler], Handler]:
    """Return the wrapper that answers steps from ``found`` and passes on only those that ``live`` names.

    LangGraph's tasks and DBOS' steps are replayed by their position in the order of calls, which differs
    from run to run once calls are parallel. Here a step is found by revision and path, whatever the order
    and whichever the run; also when it would be another call today, which the caller can tell from the
    digest. A failure, which may stop the run, waits until the steps that came back before it in the record
    have been asked for, so that the replay stops where the run did.
    """
    record = _Record(found, live)

    def wrap(handle: Handler) -> Handler:
        async def answer(step: Step, ctx: Ctx) -> StepResult:
            return await handle(step, ctx) if live(step.key) else await record.answer(step)

        return answer

    return wrap


class _Record:
    def __init__(self, found: Mapping[StepKey, Recorded], live: Callable[[StepKey], bool]) -> None:
        self._found = {(key.revision, key.path): each for key, each in found.items()}
        # Of a plan's nodes: models are not asked again for a plan that is on record.
        self._due = {
            place: each.written
            for place, each in self._found.items()
            if _NODE.match(place[1]) and not live(StepKey("", *place))
        }
        self._moved = anyio.Event()

    async def answer(self, step: Step) -> StepResult:
        place = (step.key.revision, step.key.path)
        found = self._found.get(place)
        self._due.pop(place, None)
        self._moved.set()
        self._moved = anyio.Event()
        if found is None:
            failure = Failure(code=NOT_RECORDED, message=f"{step.key.path!r} is not on record")
            return StepResult(status="cancelled", failure=failure)
        await anyio.lowlevel.checkpoint()
        if found.lost:
            return _lost(step, found.lost)
        if found.result is None:
            return in_doubt(step)
        if not found.result.ok:
            await self._turn(step.key.revision, found.written)
        speak(step, found.result)
        attempts = max(found.attempt, found.result.attempts)
        return found.result.model_copy(update={"replayed": True, "attempts": attempts})

    async def _turn(self, revision: int, written: float) -> None:
        with anyio.move_on_after(_PATIENCE):
            while any(place[0] == revision and time < written for place, time in self._due.items()):
                await self._moved.wait()


def _lost(step: Step, why: str) -> StepResult:
    message = (
        f"the value of {step.key.path!r} is lost: {why}; shuntyard resume RUN makes it again where it was recorded."
    )
    return StepResult(status="failed", failure=Failure(code=BlobDamaged.code, message=message))
