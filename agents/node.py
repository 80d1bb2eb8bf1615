"""An agent as a node of somebody's LangGraph graph."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import TaskFailed, UsageError
from ..steps import Limits, Plan, RunResult

if TYPE_CHECKING:
    from .agent import Agent

GraphNode = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]
_ENDED = ("done", "refused")


def as_node(
    agent: Agent,
    *,
    plan: Plan | None = None,
    limits: Limits | None = None,
    task_key: str = "task",
    answer_key: str = "answer",
    run_key: str = "",
) -> GraphNode:
    """Return a node for ``StateGraph.add_node`` that runs the task in the state and returns its answer.

    The whole plan runs inside the one node, by our scheduler: no barrier of the graph stands between its calls, and
    the journal keeps each. With ``plan`` nothing is compiled; the state's task, where it has one, is what is answered.

    A run that stops without an answer raises TaskFailed, for the graph's own retries and handlers. With ``run_key``
    it does not: the update has ``{"id", "status", "message"}`` there, for conditional edges. A graph that comes to the
    node again with a stopped run in its state (a person has approved the call meanwhile) resumes it, and no finished
    call runs again. Raises UsageError for a state without a task.
    """

    async def node(state: Mapping[str, Any]) -> dict[str, Any]:
        stopped = state.get(run_key) if run_key else None
        if stopped and stopped["status"] not in _ENDED:
            result = await agent.resume(stopped["id"], limits=limits)
        else:
            result = await agent.run(_task(state, task_key, plan), plan=plan, limits=limits)
        if run_key:
            outcome = {"id": result.run, "status": result.status, "message": _message(result)}
            return {answer_key: result.answer, run_key: outcome}
        if result.status not in _ENDED:
            raise TaskFailed(f"run {result.run} ended {result.status}: {_message(result)}", ids={"run": result.run})
        return {answer_key: result.answer}

    return node


def _message(result: RunResult) -> str:
    return result.failure.message if result.failure is not None else ""


def _task(state: Mapping[str, Any], key: str, plan: Plan | None) -> str:
    task = state.get(key)
    if isinstance(task, str):
        return task
    if plan is not None:
        return plan.task
    known = ", ".join(state) or "nothing"
    raise UsageError(f"the state has no text {key!r}, it has {known}; name the key of the task with task_key=...")
