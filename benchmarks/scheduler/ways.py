"""The ways of running a DAG that are compared; each is prepared once per plan and run as often as needed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeAlias

from ...agents.dispatch import dispatch
from ...agents.pipeline import pipeline
from ...agents.rooms import Rooms, open_rooms
from ...agents.run import Tally, emitter
from ...events import Event
from ...guard.gate import guarded
from ...planner.schedule import Scheduler
from ...planner.values import parents
from ...protocols import Ctx, Handler
from ...router.budget import budgeted
from ...settings import Settings
from ...steps import Limits, Node, Plan
from ...tools.spec import tool
from .dags import seconds

Go: TypeAlias = Callable[[], Awaitable[None]]
Way: TypeAlias = Callable[[Plan], Go]
"""Prepares a plan (not measured) and returns what runs it once (measured)."""

AT_ONCE = 64
"""More than any of the DAGs has ready at once, as asyncio has no limit either."""


class Count:
    """The smallest sink."""

    def __init__(self) -> None:
        """Nothing heard yet."""
        self.heard = 0

    def __call__(self, event: Event) -> None:
        """Count one event."""
        self.heard += 1

    def close(self) -> None:
        """Nothing to end."""


@tool(effect="read")
async def sleep(seconds: float, inputs: list[str]) -> str:
    """Waits."""
    if seconds:
        await asyncio.sleep(seconds)
    return "done"


def plain(plan: Plan) -> Go:
    """The floor: a task per node that waits for its parents' futures and sleeps."""
    waits = [(node.id, parents(node), seconds(node)) for node in plan.nodes]

    async def go() -> None:
        loop = asyncio.get_running_loop()
        done = {id: loop.create_future() for id, _, _ in waits}

        async def one(id: str, before: tuple[str, ...], took: float) -> None:
            for parent in before:
                await done[parent]
            if took:
                await asyncio.sleep(took)
            done[id].set_result("done")

        async with asyncio.TaskGroup() as group:
            for id, before, took in waits:
                group.create_task(one(id, before, took))

    return go


def langgraph(plan: Plan) -> Go:
    """LangGraph: the same DAG as a static graph, without a checkpointer."""
    from typing import Annotated, Any, TypedDict

    from langgraph.graph import START, StateGraph

    # Not a class statement: its annotation would be looked up where this module's names are.
    state = TypedDict("state", {"done": Annotated[int, lambda done, more: done + more]})  # noqa: UP013

    def work(node: Node) -> Callable[[Any], Awaitable[dict[str, int]]]:
        took = seconds(node)

        async def one(_: Any) -> dict[str, int]:
            if took:
                await asyncio.sleep(took)
            return {"done": 1}

        return one

    made: Any = StateGraph(state)
    for node in plan.nodes:
        made.add_node(node.id, work(node))
    for node in plan.nodes:
        before = list(parents(node))
        made.add_edge(before if len(before) > 1 else (before or [START])[0], node.id)
    graph = made.compile()

    async def go() -> None:
        result = await graph.ainvoke({"done": 0}, {"recursion_limit": 10_000})
        assert result["done"] == len(plan.nodes)

    return go


@asynccontextmanager
async def ways(place: Path, *, journal: bool, peer: bool) -> AsyncIterator[dict[str, Way]]:
    """The ways by name, ``asyncio`` first; ``durable_full`` flushes every commit to the disk."""
    found: dict[str, Way] = {"asyncio": plain}
    with _rooms(place, full=False) as rooms, _rooms(place, full=True) as flushed:
        found["memory"] = lambda plan: _run(plan, rooms, lambda: (plan.task, _unrecorded(rooms)))
        if journal:
            found["durable"] = lambda plan: _run(plan, rooms, lambda: _recorded(rooms, plan))
            found["durable_full"] = lambda plan: _run(plan, flushed, lambda: _recorded(flushed, plan))
        if peer:
            found["langgraph"] = langgraph
        yield found


def _unrecorded(rooms: Rooms) -> Handler:
    """The pipeline without its journal."""
    guard = guarded(rooms.gate, rooms.specs, rooms.approvals, redact=rooms.redactor.text)
    budget = budgeted(rooms.catalogue, rooms.ledger)
    return guard(budget(dispatch(rooms.catalogue, rooms.executor)))


def _recorded(rooms: Rooms, plan: Plan) -> tuple[str, Handler]:
    run = rooms.runs.start(plan.task)
    return run, pipeline(rooms, run)


def _run(plan: Plan, rooms: Rooms, start: Callable[[], tuple[str, Handler]]) -> Go:
    async def go() -> None:
        run, handle = start()
        emit = emitter([Count()], rooms.redactor, Tally())
        ctx = Ctx(run=run, workspace=rooms.workspace, emit=emit, limits=Limits(concurrency=AT_ONCE))
        results = await Scheduler(handle, ctx, rooms.specs).run(plan)
        failed = [result.failure for result in results.values() if not result.ok]
        assert not failed, failed[0]

    return go


@contextmanager
def _rooms(place: Path, *, full: bool) -> Iterator[Rooms]:
    home = place / ("full" if full else "normal")
    rooms = open_rooms(Settings(home=home, workspace=place, memory=False, flush=full), tools=[sleep])
    try:
        yield rooms
    finally:
        rooms.close()
