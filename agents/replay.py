"""A recorded run once more: from its record alone, or with some nodes and all that follows run for real."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import ShuntyardError, UsageError
from ..memory.replay import answered
from ..memory.runs import RunRow, Runs
from ..messages import ModelInfo
from ..moves import Choice, Move
from ..planner.values import elements, resolve
from ..protocols import Approver, Ctx, Handler, Recorded, Sink
from ..router.catalogue import Catalogue
from ..serving.scripted import ScriptedModel
from ..steps import Bound, Limits, Plan, RunResult, Step, StepKey, StepResult
from .clean import redacted
from .diff import Replay, Sides, compare, difference
from .phases import Phases, Progress
from .rerun import Rerun, node_of
from .rooms import GivenSource, Rooms
from .run import Job, execute, walk


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
    the record. A call in a body is named by its path, ``n3[2].n5`` in the third turn, or by its id in every turn;
    turns that begin with what it changed, and turns that were not made before, are run too. A replay that was
    killed can be resumed under its own id.

    Other engines replay by position: a step is the n-th call, so parallel steps get each other's results.
    Here a step is found by revision and node path, in any order of finishing. Model calls are found like
    that too; how their prompts are worded is not compared.

    Raises UsageError for a run that has not ended or was only planned, UnknownName for an unknown run, node
    or turn, BlobDamaged when a recorded value is lost.
    """
    row = rooms.runs.get(run)
    _check_ended(row)
    moves = {move.plan.revision: move for move in rooms.runs.moves(row.run)}
    plans = {revision: move.plan for revision, move in moves.items()}
    record = rooms.runs.whole(row).result
    assert record is not None
    found = await rooms.journal.recorded(row.run)
    live = Rerun.of(from_, plans, row.run, recorded=found.keys())
    seen = _Seen()
    if from_:
        rooms.check_models()
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
    ran = {path for path, step in seen.steps.items() if live(step.key)}
    calls = _calls(rooms, seen, found, plans, record)
    inner = _inner(rooms, seen, found, {path for path in (*ran, *calls) if "." in path})
    return compare(record, result, calls=calls, ran={*ran, *map(node_of, ran)}, inner=inner)


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


@dataclass(slots=True)
class _Seen:
    """The calls of tools that a replay came to, answered or run, and what came of them."""

    steps: dict[str, Step] = field(default_factory=dict)
    results: dict[str, StepResult] = field(default_factory=dict)

    def around(self, handle: Handler) -> Handler:
        async def look(step: Step, ctx: Ctx) -> StepResult:
            if step.kind == "tool":
                self.steps[step.key.path] = step
            result = await handle(step, ctx)
            if step.kind == "tool":
                self.results[step.key.path] = result
            return result

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
    """The first call of each node that is not the recorded one, and every such call in a body, by its path."""
    recorded = {key.path: found[key].digest for key in sorted(found, key=lambda key: key.revision)}
    calls: dict[str, Sides] = {}
    for path, step in seen.steps.items():
        node = path if "." in path else node_of(path)
        if node not in calls and recorded.get(path, "") not in ("", rooms.journal.digest(step)):
            before = _arguments(rooms, path, plans, record)
            calls[node] = _told(before, rooms.redactor.value(_plain(step.args)), step.name)
    return calls


def _inner(
    rooms: Rooms, seen: _Seen, found: Mapping[StepKey, Recorded], paths: Collection[str]
) -> dict[str, tuple[StepResult | None, StepResult]]:
    """What came of calls in bodies, on record and now, by path."""
    recorded = {key.path: found[key].result for key in sorted(found, key=lambda key: key.revision)}
    now = {path: seen.results[path] for path in paths if path in seen.results}
    return {path: (recorded.get(path), redacted(result, rooms.redactor)) for path, result in now.items()}


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
