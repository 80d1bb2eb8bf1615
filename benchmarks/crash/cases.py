"""One plan, killed once, resumed until it is done, and looked at."""

from __future__ import annotations

import json
import multiprocessing
import signal
import time
from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import ShuntyardError
from ...memory.journal import SqlJournal
from ...memory.store import Store
from ...protocols import Recorded
from ...steps import Assumption, StepKey
from . import tools
from .driver import HOME, OUTCOME, RUN, Drive, drive
from .plans import Wanted, crash_plan

_PATIENCE = 120.0
"""Seconds for one driver."""
_FAREWELL = 60.0
"""Seconds that workers of a killed driver have to end."""
_RESUMES = 3


@dataclass(frozen=True, slots=True)
class Case:
    """What came of one plan that was killed."""

    executor: str
    point: int
    seed: int
    finished: int
    """Nodes that were finished when it was killed: on record, all their elements included."""
    rerun: int
    """Finished calls (nodes and elements of maps) that were made again."""
    wrong: int
    """Nodes whose value is not that of the sequential evaluation, effects that never happened among them."""
    twice: int
    """Effects that happened more than once."""
    unknown: int
    """Effects that happened although nothing on record said, at the kill, that they had begun."""
    doubt_done: int
    """Effects in doubt that had happened."""
    doubt_not_done: int
    """Effects in doubt that had not."""
    replayed: int
    """Nodes that the resumed run took from the record."""
    outlived: float
    """Seconds that workers lived longer than the driver."""

    @property
    def faults(self) -> int:
        """All that must not be."""
        return self.rerun + self.wrong + self.twice + self.unknown

    def plain(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a plan that was killed and resumed."""

    record: Mapping[StepKey, Recorded]
    """What was on record when all of the killed run had ended."""
    again: Set[str]
    """Paths that were called after that."""
    unknown: int
    values: Mapping[str, Any]
    """By node id, at the end."""
    replayed: int
    said: Mapping[str, Assumption]
    """What was said of effects in doubt."""


async def case(given: Drive) -> Case:
    """Run the plan of ``given``, kill it, resume it. Raises ShuntyardError when it is not killed or never done."""
    code = _process(given)
    died = time.monotonic()
    if code != -signal.SIGKILL:
        raise ShuntyardError(f"the driver of {given!r} ended with {code!r} before it was killed; look at its output.")
    outlived = _wait_for_workers({pid for _, pid in tools.called(given.folder)}) - died
    run = (given.folder / RUN).read_text()
    record = await _record(given.folder, run)
    begun = len(tools.called(given.folder))
    unknown = sum(StepKey(run, 0, path) not in record for path, _ in _effects(given.folder, run))
    given = replace(given, run=run)
    resumed, said = await _resume(replace(given, kill_at=0))
    again = {path for path, _ in tools.called(given.folder)[begun:]}
    seen = Seen(record, again, unknown, resumed["values"], resumed["replayed"], said)
    return judge(given, seen, crash_plan(given.seed, size=given.size), outlived)


def judge(given: Drive, seen: Seen, wanted: Wanted, outlived: float) -> Case:
    """Compare what was seen, and the effects that happened, with what was wanted."""
    finished = {key.path for key, step in seen.record.items() if step.result is not None and step.result.ok}
    happened = _effects(given.folder, given.run)
    return Case(
        executor=given.executor,
        point=given.kill_at,
        seed=given.seed,
        finished=len(_nodes(finished, wanted)),
        rerun=len(finished & seen.again),
        wrong=_wrong(wanted, seen.values, seen.said) + _missing(wanted, happened),
        twice=sum(count > 1 for count in Counter(path for path, _ in happened).values()),
        unknown=seen.unknown,
        doubt_done=sum(word == "done" for word in seen.said.values()),
        doubt_not_done=sum(word == "not-done" for word in seen.said.values()),
        replayed=seen.replayed,
        outlived=round(max(0.0, outlived), 2),
    )


async def _resume(given: Drive) -> tuple[dict[str, Any], dict[str, Assumption]]:
    """Resume until it is done, and return what came of it and what was said of each effect in doubt.

    ``replayed`` is that of the first resumption.
    """
    said: dict[str, Assumption] = {}
    replayed: int | None = None
    for _ in range(_RESUMES):
        (given.folder / OUTCOME).unlink(missing_ok=True)
        code = _process(replace(given, assume=said))
        if code != 0:
            raise ShuntyardError(f"the driver that resumes {given.run!r} ended with {code!r}; look at its output.")
        found: dict[str, Any] = json.loads((given.folder / OUTCOME).read_text())
        replayed = found["replayed"] if replayed is None else replayed
        if found["status"] == "done":
            return {**found, "replayed": replayed}, said
        # As a person would: look whether it happened, and say so.
        there = dict(_effects(given.folder, given.run))
        unsettled = {key.path for key, step in (await _record(given.folder, given.run)).items() if step.result is None}
        if found["status"] != "doubt" or not unsettled - said.keys():
            break
        said |= {path: "done" if path in there else "not-done" for path in unsettled}
    raise ShuntyardError(f"run {given.run!r} is {found['status']!r} after its resumption: {found['failure']}")


def _process(given: Drive) -> int | None:
    """Run a driver and return its exit code; it is forked from a process that has imported all that it needs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([drive.__module__])
    process = context.Process(target=drive, args=(given,))
    process.start()
    process.join(_PATIENCE)
    if process.is_alive():
        process.kill()
        process.join()
        raise ShuntyardError(f"the driver of {given!r} did not end within {_PATIENCE:g} s; look where it hangs.")
    code = process.exitcode
    process.close()
    return code


async def _record(folder: Path, run: str) -> Mapping[StepKey, Recorded]:
    """What the journal has of the plan's calls."""
    store = Store.open(folder / HOME)
    try:
        found = await SqlJournal(store).recorded(run)
    finally:
        store.close()
    return {key: step for key, step in found.items() if key.path.startswith("n")}


def _effects(folder: Path, run: str) -> list[tuple[str, int]]:
    """Path and value of every effect that happened."""
    return [(key.removeprefix(f"{run}:0:"), value) for key, value in tools.happened(folder)]


def _nodes(finished: Set[str], wanted: Wanted) -> list[str]:
    """The nodes of which everything is finished."""
    found = []
    for id, value in wanted.values.items():
        mapped = isinstance(value, list) and wanted.plan.node(id).over is not None
        paths = {f"{id}[{at}]" for at in range(len(value))} if mapped and isinstance(value, list) else {id}
        if paths <= finished:
            found.append(id)
    return found


def _wrong(wanted: Wanted, values: Mapping[str, Any], doubts: Mapping[str, Assumption]) -> int:
    """Nodes with another value; of an effect that a person called done the value is not known."""

    def expected(id: str) -> Any:
        value = wanted.values[id]
        if not isinstance(value, list):
            return None if doubts.get(id) == "done" else value
        return [None if doubts.get(f"{id}[{at}]") == "done" else one for at, one in enumerate(value)]

    return sum(id not in values or values[id] != expected(id) for id in wanted.values)


def _missing(wanted: Wanted, effects: list[tuple[str, int]]) -> int:
    """Effects that never happened, or with another value."""
    there = dict(effects)
    return sum(there.get(path) != value for path, value in wanted.effects.items()) + len(there.keys() - wanted.effects)


def _wait_for_workers(pids: Set[int]) -> float:
    """Wait until all have ended and return when. Raises ShuntyardError when one goes on."""
    end = time.monotonic() + _FAREWELL
    while running := [pid for pid in pids if _runs(pid)]:
        if time.monotonic() > end:
            raise ShuntyardError(f"workers {running!r} go on {_FAREWELL:g} s after their driver was killed; end them.")
        time.sleep(0.01)
    return time.monotonic()


def _runs(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")
