"""The outer loop as a LangGraph graph: recall, work, join, work again when the plan must grow, learn.

Only this loop is LangGraph's; the DAG inside ``work`` is ours, because a superstep barrier costs a
quarter of the makespan and more. The graph keeps no checkpoint of its own: the journal is the only
truth about a run, and a resumed run walks the graph from the start with every finished step replayed.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypedDict

from .phases import Phases, Progress


class LoopState(TypedDict):
    """What travels between the nodes of the outer graph."""

    progress: Progress


def build_graph(phases: Phases, learn: Callable[[], Awaitable[None]]) -> Any:
    """Return the compiled graph; ``await graph.ainvoke({"progress": progress})`` runs it to its end."""
    os.environ.setdefault("LANGSMITH_TRACING", "false")
    from langgraph.graph import END, START, StateGraph

    def node(phase: Callable[[], Awaitable[None]]) -> Any:
        async def run(state: LoopState) -> LoopState:
            await phase()
            return state

        return run

    def after_work(state: LoopState) -> Literal["join", "__end__"]:
        return "join" if state["progress"].status == "running" else "__end__"

    def after_join(state: LoopState) -> Literal["work", "learn", "__end__"]:
        progress = state["progress"]
        if progress.status == "running":
            return "work"
        return "learn" if progress.status == "done" else "__end__"

    graph = StateGraph(LoopState)
    graph.add_node("recall", node(phases.recall))
    graph.add_node("work", node(phases.work))
    graph.add_node("join", node(phases.join))
    graph.add_node("learn", node(learn))
    graph.add_edge(START, "recall")
    graph.add_edge("recall", "work")
    graph.add_conditional_edges("work", after_work)
    graph.add_conditional_edges("join", after_join)
    graph.add_edge("learn", END)
    # Also inside another graph: its checkpoints would only repeat, and could not store, what the journal has.
    return graph.compile(checkpointer=False)
