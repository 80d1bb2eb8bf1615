"""A fault at every ``await`` of the scheduler: nothing hangs, no result is lost, no effect happens twice.

The awaits are listed from the syntax trees of the modules, so that a new one is covered or fails the test.
Everything is real but the clock: the journal is SQLite, and what a fault leaves is taken up by a resume.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import anyio.lowlevel
import pytest
import virtual
from instrumented import Site, copies
from yard import SPECS as PLAIN
from yard import args, context, plan, ref

import shuntyard.planner.attempts
from shuntyard.errors import ToolRetry
from shuntyard.memory.journal import SqlJournal, recorded
from shuntyard.memory.runs import Runs
from shuntyard.memory.store import Store
from shuntyard.planner.schedule import Scheduler
from shuntyard.protocols import Ctx, Handler
from shuntyard.steps import Effect, Failure, Step, StepResult, ToolSpec

MODULES = ["planner/attempts.py", "planner/schedule.py"]
STEADY = ToolSpec(name="steady", description="", parameters={"type": "object", "properties": {}}, stability="pure")
SPECS = [*PLAIN, STEADY]
EFFECTS = {"n4", "n5", "n8"}
WHOLE = plan(
    args(value=list(range(70))),
    {"over": ref("n1"), **args(value=ref("item"))},
    args(flaky=True),
    {"tool": "write", **args(x=ref("n3"))},
    {"tool": "write", **args(x=ref("n2"))},
    args(x=[ref("n4"), ref("n5")], sleep=0.1),
    args(sleep=0.5),
    {"tool": "write", **args(x=ref("n7"))},
    {"tool": "steady", "when": ref("n7"), **args(sleep=0.1)},
    {"tool": "steady", "when": ref("n7"), **args(sleep=0.6)},
    args(value=[1, 2, 3]),
    {
        "tool": "",
        "over": ref("n11"),
        "body": {
            "nodes": [
                {"id": "n21", "tool": "read", **args(x=ref("item"), flaky=True)},
                {"id": "n22", "tool": "write", **args(x=ref("n21"))},
            ]
        },
    },
    {
        "tool": "",
        "body": {"nodes": [{"id": "n31", "tool": "read", **args(x=ref("last"))}], "most": 3, "pause": 0.2},
    },
)
INSIDE = {f"n12[{at}].n22" for at in range(3)}


class World:
    """What really happened, by path: reads that were made, effects that took place."""

    def __init__(self) -> None:
        self.made: Counter[str] = Counter()

    async def __call__(self, step: Step, ctx: Ctx) -> StepResult:
        path = step.key.path
        if step.effect is not Effect.READ:
            await step.before_effect()
            await anyio.sleep(0.05)
        self.made[path] += 1
        if step.effect is not Effect.READ:
            await anyio.sleep(0.05)
        if step.args.get("sleep"):
            await anyio.sleep(step.args["sleep"])
        if step.args.get("flaky") and step.attempt == 1:
            error = ToolRetry("once more")
            return StepResult(status="failed", failure=Failure(code=error.code, message=str(error), retryable=True))
        return StepResult(value=step.args.get("value", path))


class Fault(NamedTuple):
    """What happens at the ``turn``-th time that ``site`` is passed."""

    site: Site
    turn: int
    kind: str


class Injected(Exception):
    """The fault."""


class Injector:
    """The hook of the copies: counts the passes of every site, and does what the fault says."""

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self.passed: Counter[Site] = Counter()
        self.cancel: Callable[[], None] = lambda: None
        self.struck = False

    async def __call__(self, site: Site, awaitable: Awaitable[Any]) -> Any:
        turn = self.passed[site]
        self.passed[site] += 1
        fault = self.fault
        if fault is None or (fault.site, fault.turn) != (site, turn):
            return await awaitable
        self.struck = True
        if fault.kind == "error before":
            getattr(awaitable, "close", lambda: None)()
            raise Injected
        if fault.kind == "cancelled before":
            self.cancel()
        result = await awaitable
        if fault.kind == "error after":
            raise Injected
        if fault.kind == "cancelled after":
            self.cancel()
        return result


class Bench:
    """One store, the instrumented scheduler, and the ways of running it."""

    def __init__(self, folder: Path) -> None:
        self.store = Store.open(folder)
        self.runs = Runs(self.store)
        self.injector = Injector()
        (_, schedule), self.sites = copies(MODULES, self.injector)
        self.scheduler = schedule.Scheduler

    def pipe(self, run: str, world: World) -> Handler:
        return recorded(SqlJournal(self.store), run)(world)

    def strike(self, way: str, fault: Fault | None, world: World) -> tuple[str, dict[str, StepResult]]:
        """Run in ``way`` under ``fault`` and return the run and the results that the scheduler kept."""
        run = self.runs.start("t")
        injector = self.injector
        injector.fault, injector.passed, injector.struck = fault, Counter(), False
        ctx = context(concurrency=4)
        ctx.run = run
        scheduler = self.scheduler(self.pipe(run, world), ctx, SPECS)

        async def go() -> None:
            with anyio.CancelScope() as scope:
                injector.cancel = scope.cancel
                await WAYS[way](scheduler)

        try:
            virtual.run(go)
        except* Injected:
            pass
        return run, scheduler.results

    def resume(self, run: str, world: World) -> dict[str, StepResult]:
        async def go() -> dict[str, StepResult]:
            ctx = context(concurrency=4)
            ctx.run = run
            return await Scheduler(self.pipe(run, world), ctx, SPECS).run(WHOLE)

        return virtual.run(go)


async def whole(scheduler: Any) -> None:
    await scheduler.run(WHOLE)


async def streamed(scheduler: Any) -> None:
    async with scheduler:
        for node in WHOLE.nodes[:7]:
            scheduler.offer(node)
            await anyio.sleep(0.01)
        await scheduler.finish(WHOLE)


async def cut_short(scheduler: Any) -> None:
    with anyio.move_on_after(0.3):
        await scheduler.run(WHOLE)


WAYS = {"whole": whole, "streamed": streamed, "cut_short": cut_short}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    found = Bench(tmp_path_factory.mktemp("faults"))
    yield found
    found.store.close()


def kinds(site: Site) -> list[str]:
    cancelled = ["cancelled before", "cancelled after"]
    if "__aenter__" in site.text or site.text.startswith("async with"):
        return cancelled  # Entering the task group fails in no way of its own.
    if "__aexit__" in site.text:
        return ["error after", *cancelled]  # Leaving it may raise, but it does leave it.
    return ["error before", "error after", *cancelled]


def faults(bench: Bench, way: str) -> Iterator[Fault]:
    bench.strike(way, None, World())
    for site, passed in dict(bench.injector.passed).items():
        for turn in sorted({0, passed // 2, passed - 1}):
            for kind in kinds(site):
                yield Fault(site, turn, kind)


def held(kept: Mapping[str, StepResult], world: World, before: Counter[str], after: dict[str, StepResult]) -> None:
    """What must be true when a run that was struck has been resumed."""
    assert set(after) == {node.id for node in WHOLE.nodes}
    for id, result in kept.items():
        if result.ok:
            assert after[id].ok and after[id].value == result.value, id
            assert all(world.made[path] == before[path] for path in world.made if path.partition("[")[0] == id), id
    for id in INSIDE:
        assert world.made[id] <= 1, f"{id} happened twice"
    assert after["n12"].status != "done" or all(world.made[id] == 1 for id in INSIDE)
    for id in EFFECTS:
        assert world.made[id] <= 1, f"{id} happened twice"
        assert after[id].status in ("done", "doubt", "cancelled")
        assert after[id].status != "done" or world.made[id] == 1, f"{id} is told as done and never happened"
    doubtful = any(result.status == "doubt" for result in after.values())
    assert doubtful or all(result.ok for result in after.values())


@pytest.mark.parametrize("way", list(WAYS))
def test_a_fault_at_any_await_hangs_loses_and_repeats_nothing(bench: Bench, way: str) -> None:
    for fault in faults(bench, way):
        world = World()
        run, kept = bench.strike(way, fault, world)
        assert bench.injector.struck, fault
        before = Counter(world.made)
        after = bench.resume(run, world)
        try:
            held(kept, world, before, after)
        except AssertionError as error:
            raise AssertionError(f"{way}, {fault}: {error}") from error


def test_every_await_of_the_scheduler_is_passed(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    passed: dict[str, Counter[Site]] = {}
    for way in WAYS:
        bench.strike(way, None, World())
        passed[way] = bench.injector.passed
    with capsys.disabled():
        print(f"\n{'await':72}" + "".join(f"{way:>10}" for way in WAYS))
        for site in bench.sites:
            where = f"{site.file}:{site.line} {site.text}"
            print(f"{where[:71]:72}" + "".join(f"{passed[way][site]:>10}" for way in WAYS))
    assert [site for site in bench.sites if not any(counts[site] for counts in passed.values())] == []


def test_the_copies_are_not_what_others_import(bench: Bench) -> None:
    assert bench.scheduler is not Scheduler
    assert "__through__" not in vars(shuntyard.planner.attempts)
