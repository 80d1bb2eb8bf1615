"""``Agent``: the one object that users hold."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, cast

import anyio

from ..errors import ContextTooLong, UnknownName, UsageError
from ..events import Event
from ..memory.approvals import Question
from ..protocols import Approver, Edited, Model, Sink, Tool
from ..settings import Settings
from ..settings import load as load_settings
from ..steps import Assumption, Limits, Plan, RunResult
from ..tools.langchain import LangChainTool, is_langchain
from ..tools.registry import Registry
from ..tools.spec import tool as as_tool
from .approve import approve
from .diff import Replay
from .executors.choose import executor_for
from .forecast import Forecast, forecast
from .phases import Progress
from .portal import run_sync
from .replay import replay
from .rooms import Rooms, gather_tools, open_rooms
from .run import Job, execute
from .stream import QueueSink

MAX_WORDS = 20_000
"""Words of a task. Longer material belongs into a file of the workspace, where tools read it in parts."""

RESOURCES = frozenset({"cpu", "network"})
"""What built-in tools declare: a settings file may limit it also where none of them is there."""


class Agent:
    """Runs tasks: plans them with a model, runs the plan's calls in parallel, answers, remembers.

    ``tools`` are typed functions (decorated with ``@tool`` or plain) and LangChain's, beside the built-in
    ones. ``model`` is a name, or any object that keeps the Model protocol. Without an ``approver``, calls that need a
    person leave the run waiting. An agent may run many tasks, also at once; as a context manager it
    keeps the database open between them.

        agent = Agent(tools=[my_function])
        print(agent.run_sync("Which of the CSV files has the most rows?").answer)
    """

    def __init__(
        self,
        tools: Sequence[Tool | Callable[..., Any]] = (),
        *,
        settings: Settings | None = None,
        model: str | Model | None = None,
        approver: Approver | None = None,
        sinks: Sequence[Sink] = (),
        builtin: bool = True,
    ) -> None:
        """Gather tools; nothing is opened or loaded yet. Raises UsageError for a tool that cannot be one."""
        chosen = settings if settings is not None else load_settings()
        self._models: list[Model] = []
        if isinstance(model, str):
            chosen = chosen.model_copy(update={"model": model})
        elif model is not None:
            self._models.append(model)
            chosen = chosen.model_copy(update={"model": model.info.name})
        self._settings = chosen
        own = [_tool(item) for item in tools]
        self._tools = gather_tools(chosen, own, builtin=builtin)
        self._approver = approver
        self._sinks = tuple(sinks)
        self._rooms: Rooms | None = None
        self._lasting = False
        self._listeners: list[Sink] = []

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._settings

    def where(self, tool: str) -> str:
        """Say where the calls of ``tool`` run under the executor of the settings, and why; starts nothing.

        Raises UnknownName for a tool that the agent does not have.
        """
        registry = Registry(self._tools)
        return executor_for(self._settings, registry).where(registry.get(tool).spec.name)

    async def __aenter__(self) -> Agent:
        """Open the database for several runs."""
        self._lasting = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the database. The local engine goes on until it is idle; ``shuntyard models stop`` ends it."""
        rooms, self._rooms, self._lasting = self._rooms, None, False
        if rooms is not None:
            rooms.close()

    async def run(self, task: str, *, plan: Plan | None = None, limits: Limits | None = None) -> RunResult:
        """Run ``task`` and return what came of it; a failed task is a result, not an exception.

        With ``plan`` nothing is compiled. Raises UsageError for a task that cannot be one, UnknownName for a model
        of the settings that nobody offers.
        """
        return await self._run(task, plan, limits, self._sinks)

    def run_sync(self, task: str, *, plan: Plan | None = None, limits: Limits | None = None) -> RunResult:
        """As ``run``, for code without a loop; inside a running loop (a notebook) it uses a thread."""
        return run_sync(lambda: self.run(task, plan=plan, limits=limits))

    async def stream(
        self, task: str, *, plan: Plan | None = None, limits: Limits | None = None
    ) -> AsyncIterator[Event]:
        """Yield the run's events as they happen, ``run_done`` last.

        Leave early only under ``contextlib.aclosing``: that cancels the run, which can then be resumed.
        """
        sink = QueueSink()

        async def job() -> None:
            try:
                await self._run(task, plan, limits, (*self._sinks, sink))
            finally:
                sink.close()

        async with anyio.create_task_group() as group:
            group.start_soon(job)
            async for event in sink:
                yield event
            group.cancel_scope.cancel()

    async def plan(self, task: str, *, limits: Limits | None = None) -> Forecast:
        """Compile ``task`` without running it, and say which models would be used, and the likely cost and time."""
        _check_task(task)
        chosen = self._limits(limits)
        async with self._opened(self._sinks) as rooms:
            rooms.check_models()
            run = rooms.runs.start(rooms.redactor.text(task), self._settings, chosen)
            return await forecast(rooms, run, task, chosen, sinks=self._sinks)

    async def resume(
        self,
        run: str,
        *,
        assume: Mapping[str, Assumption] | None = None,
        retry_failed: bool = True,
        limits: Limits | None = None,
    ) -> RunResult:
        """Go on with a stopped run: nothing that is finished runs again.

        ``assume`` settles what a person knows better: effects in doubt, failures that were asked about.
        ``retry_failed`` tries the failed nodes of an ended run again; a run that was interrupted keeps its
        recorded failures. Raises UnknownName for an unknown run or model.
        """
        chosen = self._limits(limits)
        async with self._opened(self._sinks) as rooms:
            rooms.check_models()
            record = rooms.runs.claim(run)
            moves = {move.plan.revision: move for move in rooms.runs.moves(record.run)}
            before = record.result.predicted if record.result is not None else None
            progress = Progress(
                task=record.task, planner=record.planner, choice=record.choice, recorded=moves, predicted=before
            )
            job = Job(
                run=record.run,
                progress=progress,
                limits=chosen,
                resumed=True,
                assume=dict(assume or {}),
                retry_failed=retry_failed and record.status == "failed",
            )
            return await execute(rooms, job, sinks=self._sinks, approver=self._approver)

    async def questions(self, run: str | None = None) -> list[Question]:
        """Return what waits for a person's answer, oldest first, of one run or of all."""
        async with self._opened(self._sinks) as rooms:
            return rooms.approvals.list_pending(run)

    async def approve(self, id: str, answer: Edited | bool = True, *, by: str = "person") -> Question:
        """Answer a question: yes, no, or yes to other arguments. The run acts on it when it is resumed.

        Raises EditInvalid and PolicyDenied for arguments that cannot be allowed (the question stays open),
        UnknownName for an unknown question, UsageError when the call was made already.
        """
        async with self._opened(self._sinks) as rooms:
            if isinstance(answer, Edited):
                return await approve(rooms, id, answer)
            return rooms.approvals.decide(id, answer, by=by)

    async def replay(self, run: str, *, from_: Sequence[str] = (), limits: Limits | None = None) -> Replay:
        """Run a recorded run again and return what differs: from its record alone, no tool and no model called.

        The nodes in ``from_`` and all that depends on them are run for real, under a new run id. Raises
        UsageError for a run that has not ended, UnknownName for an unknown run or node.
        """
        async with self._opened(self._sinks) as rooms:
            chosen = limits or limits_of(self._settings)
            return await replay(rooms, run, from_=from_, limits=chosen, sinks=self._sinks, approver=self._approver)

    async def _run(self, task: str, plan: Plan | None, limits: Limits | None, sinks: Sequence[Sink]) -> RunResult:
        _check_task(task)
        chosen = self._limits(limits)
        async with self._opened(sinks) as rooms:
            rooms.check_models()
            run = rooms.runs.start(rooms.redactor.text(task), self._settings, chosen)
            job = Job(run=run, progress=Progress(task, self._settings.planner, given=plan), limits=chosen)
            return await execute(rooms, job, sinks=sinks, approver=self._approver)

    def _limits(self, given: Limits | None) -> Limits:
        """The limits of a run; UnknownName for one that no tool would ever meet."""
        limits = given or limits_of(self._settings)
        known = {name for tool in self._tools for name in (tool.spec.name, tool.spec.resource) if name}
        for name in limits.at_once:
            if name not in known | RESOURCES:
                raise UnknownName("tool or resource", name, sorted(known), mend="It stands in a limit.")
        return limits

    @asynccontextmanager
    async def _opened(self, sinks: Sequence[Sink]) -> AsyncIterator[Rooms]:
        self._listeners.extend(sinks)
        rooms = self._rooms
        if rooms is None:
            rooms = open_rooms(self._settings, tools=self._tools, models=self._models, emit=self._tell)
            self._rooms = rooms if self._lasting else None
        try:
            yield rooms
        finally:
            for sink in sinks:
                self._listeners.remove(sink)
            if rooms is not self._rooms and not self._lasting:
                rooms.close()

    def _tell(self, event: Event) -> None:
        """Hand on what concerns no single run (downloads, loading) to the sinks of all that are under way."""
        for sink in list(self._listeners):
            with suppress(Exception):
                sink(event)


def _tool(item: Tool | Callable[..., Any]) -> Tool:
    if hasattr(item, "spec"):
        return cast("Tool", item)
    return LangChainTool(item) if is_langchain(item) else as_tool(item)


def limits_of(settings: Settings) -> Limits:
    """Return the limits that the settings name."""
    return Limits(
        max_cost=settings.max_cost,
        max_tokens=settings.max_tokens,
        deadline=settings.deadline,
        concurrency=settings.concurrency,
        at_once=settings.limit,
        speculate=settings.speculate,
        max_nodes=settings.max_nodes,
    )


def _check_task(task: str) -> None:
    if not task.strip():
        raise UsageError(f"the task is empty ({task!r}); say in a sentence what you want done.")
    words = len(task.split())
    if words > MAX_WORDS:
        raise ContextTooLong(
            f"the task has {words} words, more than {MAX_WORDS}; put the material into a file of the workspace "
            "and name the file in the task."
        )
