"""A recorded run once more: from its record alone, or with some nodes and all that follows run for real."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import ShuntyardError, UnknownName, UsageError
from ..memory.replay import answered
from ..memory.runs import RunRow, Runs
from ..messages import ModelInfo
from ..moves import Choice, Move
from ..planner.values import elements, parents, resolve
from ..protocols import Approver, Ctx, Handler, Recorded, Sink
from ..router.catalogue import Catalogue
from ..serving.scripted import ScriptedModel
from ..steps import Bound, Limits, Plan, RunResult, Step, StepKey, StepResult
from .clean import redacted
from .diff import Replay, Sides, compare, difference
from .phases import Phases, Progress
from .rooms import GivenSource, Rooms
from .run import Job, execute, walk

JOIN = "join"
"""Stands beside node ids: the answer alone is asked for again."""


async def replay(
    rooms: Rooms,
    run: str,
    *,
    from_: Sequence[str] = (),
    limits: Limits | None = None,
    sinks: Sequence[Sink] = (),
    approver: Approver | None = None,
) -> Replay:
    """Run ``run`` again with today's code and return how nodes, status and answer differ from its record.

    Without ``from_`` every step is answered from the record: no tool and no model is called, and nothing is
    written. With it the nodes it names, all that depends on them, and the answer are run for real under a
    new run id, through the same pipeline as ever, so guards ask and deny; the other nodes are answered from
    the record. A replay that was killed can be resumed under its own id.

    Other engines replay by position: a step is the n-th call, so parallel steps get each other's results.
    Here a step is found by revision and node path, in any order of finishing. Model calls are found like
    that too; how their prompts are worded is not compared.

    Raises UsageError for a run that has not ended or was only planned, UnknownName for an unknown run or
    node, BlobDamaged when a recorded value is lost.
    """
    row = rooms.runs.get(run)
    _check_ended(row)
    moves = {move.plan.revision: move for move in rooms.runs.moves(row.run)}
    plans = {revision: move.plan for revision, move in moves.items()}
    live = _Live.starting(from_, plans, row.run)
    record = rooms.runs.whole(row).result
    assert record is not None
    found = await rooms.journal.recorded(row.run)
    seen = _Seen()
    if from_:
        kept = {revision: move for revision, move in moves.items() if revision <= live.revision}
        progress = Progress(row.task, row.planner, row.choice, recorded=kept)
        limits = limits or Limits()
        rooms = replace(rooms, memory=None)
        new = rooms.runs.fork(
            row, lambda key: not live(key), last=live.revision, settings=rooms.settings, limits=limits
        )
        job = Job(new, progress, limits, around=lambda handle: seen.around(answered(found, live)(handle)))
        result = await execute(rooms, job, sinks=sinks, approver=approver)
    else:
        result = await _from_record(rooms, row, moves, seen.around(answered(found, live)(_nobody)))
    result = RunResult.model_validate_json(redacted(result, rooms.redactor).model_dump_json())
    ran = {_node(path) for path, step in seen.steps.items() if live(step.key)}
    return compare(record, result, calls=_calls(rooms, seen, found, plans, record), ran=ran)


async def _from_record(rooms: Rooms, row: RunRow, moves: Mapping[int, Move], handle: Handler) -> RunResult:
    """Take the recorded run through its phases; what would be written or asked of a model is not there."""
    info = ModelInfo(name="record", kind="scripted", context=1_000_000, grammar=True, json_schema=True)
    silent = replace(
        rooms,
        memory=None,
        runs=_Unwritten(rooms.store),
        catalogue=Catalogue([GivenSource([ScriptedModel([], info=info)])]),
        settings=rooms.settings.model_copy(update={"model": "", "fallback": ()}),
    )
    # As many at once as there are, so that a failure finds the same nodes started.
    limits = row.limits.model_copy(update={"concurrency": 1024, "speculate": 0})
    ctx = Ctx(run=row.run, workspace=rooms.workspace, emit=lambda event: None, limits=limits)
    progress = Progress(row.task, row.planner, row.choice, recorded=moves)

    async def learn() -> None:
        return None

    await walk(Phases(silent, handle, ctx, progress), learn)
    return RunResult(
        run=row.run,
        task=row.task,
        status=progress.status,
        answer=progress.answer,
        plan=progress.plan,
        results=progress.results,
        failure=progress.failure,
    )


async def _nobody(step: Step, ctx: Ctx) -> StepResult:
    raise AssertionError(f"{step.key} was to be answered from the record")


class _Unwritten(Runs):
    """Runs that are only read."""

    def choose(self, run: str, choice: Choice) -> None:
        """Leave the record as it is."""

    def save_move(self, run: str, move: Move) -> None:
        """Leave the record as it is."""


@dataclass(frozen=True, slots=True)
class _Live:
    """Which steps are run: some nodes of a plan's revision, its answer, and all that comes after."""

    revision: int
    nodes: frozenset[str]

    @classmethod
    def starting(cls, names: Sequence[str], plans: Mapping[int, Plan], run: str) -> _Live:
        """Return what depends on ``names``; nothing when there are none. Raises UnknownName."""
        if not names:
            return cls(sys.maxsize, frozenset())
        # A plan that was extended holds its first nodes still: where a node stood first, it ran.
        first = {node.id: revision for revision in sorted(plans, reverse=True) for node in plans[revision].nodes}
        last = max(plans, default=0)
        known = [*sorted(first, key=lambda id: int(id[1:])), *([JOIN] if first else [])]
        for name in names:
            if name not in known:
                raise UnknownName("node", name, known, mend=f"Run {run} has {', '.join(known) or 'no plan'}.")
        revision = min(first.get(name, last) for name in names)
        nodes = set(names)
        for node in plans[revision].nodes:
            if nodes & set(parents(node)):
                nodes.add(node.id)
        return cls(revision, frozenset(nodes))

    def __call__(self, key: StepKey) -> bool:
        """Return whether the step is run."""
        if key.revision != self.revision:
            return key.revision > self.revision
        return _node(key.path) in self.nodes or key.path.startswith(JOIN)


@dataclass(slots=True)
class _Seen:
    """The calls of tools that a replay came to, answered or run."""

    steps: dict[str, Step] = field(default_factory=dict)

    def around(self, handle: Handler) -> Handler:
        async def look(step: Step, ctx: Ctx) -> StepResult:
            if step.kind == "tool":
                self.steps[step.key.path] = step
            return await handle(step, ctx)

        return look


def _check_ended(row: RunRow) -> None:
    if row.status == "running" or row.result is None:
        mend = f"go on with it: shuntyard resume {row.run}" if row.interrupted else "wait for its end"
        raise UsageError(f"run {row.run!r} has not ended; {mend}, then replay.")
    if row.status == "done" and row.result.plan and row.result.plan.nodes and not row.result.results:
        raise UsageError(f"run {row.run!r} was only planned; name one that ran (shuntyard runs lists them).")


def _calls(
    rooms: Rooms, seen: _Seen, found: Mapping[StepKey, Recorded], plans: Mapping[int, Plan], record: RunResult
) -> dict[str, Sides]:
    """The first call of each node that is not the recorded one."""
    recorded = {key.path: found[key].digest for key in sorted(found, key=lambda key: key.revision)}
    calls: dict[str, Sides] = {}
    for path, step in seen.steps.items():
        node = _node(path)
        if node not in calls and recorded.get(path, "") not in ("", rooms.journal.digest(step)):
            before = _arguments(rooms, path, plans, record)
            calls[node] = _told(before, rooms.redactor.value(_plain(step.args)), step.name)
    return calls


def _told(before: Any, after: Any, tool: str) -> Sides:
    differ = difference(before, after) if before is not None else None
    return Sides(before="another call", after=tool) if differ is None else differ.told()


def _arguments(rooms: Rooms, path: str, plans: Mapping[int, Plan], record: RunResult) -> Any:
    """The arguments that the recorded call had, worked out from the recorded results; None when they cannot be."""
    if "." in path:
        # What a turn was given is only known while it runs.
        return None
    id, _, index = path.rstrip("]").partition("[")
    node = next((node for plan in plans.values() for node in plan.nodes if node.id == id), None)
    spec = rooms.specs.get(node.tool) if node is not None else None
    if node is None or spec is None:
        return None
    try:
        item = elements(node, record.results)[int(index)] if index else None
        return rooms.redactor.value(_plain(resolve(node, record.results, spec, item=item).args))
    except (ShuntyardError, LookupError):
        return None


def _plain(args: Mapping[str, Any]) -> Any:
    def other(value: object) -> object:
        return {"text": value.text, "values": dict(value.values)} if isinstance(value, Bound) else str(value)

    return json.loads(json.dumps(dict(args), default=other))


def _node(path: str) -> str:
    """The node of the plan that a step belongs to, also from inside of bodies."""
    return path.partition(".")[0].partition("[")[0]
