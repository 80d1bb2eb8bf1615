"""Agents inside a real LangGraph graph, also one with checkpoints."""

from pathlib import Path
from typing import Any, TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph

from shuntyard import Agent, PlanBuilder, tool
from shuntyard.agents import as_node
from shuntyard.errors import TaskFailed, UsageError
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.settings import Settings

pytestmark = pytest.mark.anyio


class State(TypedDict, total=False):
    task: str
    answer: str
    run: dict[str, Any]
    checked: str


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "sales.csv").write_text("region,amount\nnorth,10\nsouth,32\n")
    return Settings(home=tmp_path / "home", workspace=tmp_path, memory=False)


def graph_of(node: Any, *, saver: Any = None) -> Any:
    graph = StateGraph(State)
    graph.add_node("shuntyard", node)
    graph.add_node("check", lambda state: {"checked": state["answer"].upper()})
    graph.add_edge(START, "shuntyard")
    graph.add_edge("shuntyard", "check")
    graph.add_edge("check", END)
    return graph.compile(checkpointer=saver)


def model(plan: str) -> ScriptedModel:
    return ScriptedModel(lambda request: plan if request.role == "compile" else "ANSWER: it is 42")


@pytest.mark.parametrize("saver", [None, InMemorySaver()], ids=["plain", "checkpoints"])
async def test_a_task_travels_through_somebodys_graph(settings: Settings, saver: Any) -> None:
    agent = Agent(settings=settings, model=model('1. query(sql="SELECT sum(amount) FROM sales")\nreturn $1'))
    config = {"configurable": {"thread_id": "t"}}
    state = await graph_of(as_node(agent), saver=saver).ainvoke({"task": "the sum of the amounts"}, config)
    assert state == {"task": "the sum of the amounts", "answer": "it is 42", "checked": "IT IS 42"}


async def test_a_plan_is_a_node(settings: Settings) -> None:
    plan = PlanBuilder("the sum")
    plan.query(sql="SELECT sum(amount) AS total FROM sales")
    scripted = model("")
    state = await graph_of(as_node(Agent(settings=settings, model=scripted), plan=plan.build())).ainvoke({})
    assert state["answer"] == "it is 42" and {request.role for request in scripted.requests} == {"join"}


async def test_a_run_that_waits_is_routed_on_and_resumed_without_repeating(settings: Settings) -> None:
    calls: list[str] = []
    allowed: list[bool | None] = [None]

    @tool
    def look() -> int:
        """A number."""
        calls.append("look")
        return 1

    @tool(effect="external")
    def send(number: int) -> str:
        """Sends it."""
        calls.append("send")
        return "sent"

    class Person:
        async def decide(self, *_: Any) -> bool | None:
            return allowed[0]

    plan = PlanBuilder("send it")
    plan.send(number=plan.look())
    agent = Agent(tools=[look, send], settings=settings, model=model(""), approver=Person())
    node = as_node(agent, plan=plan.build(), run_key="run")
    graph = graph_of(node)
    waits = await graph.ainvoke({})
    assert waits["run"]["status"] == "waiting" and "send" in waits["run"]["message"] and calls == ["look"]
    allowed[0] = True
    done = await graph.ainvoke({"run": waits["run"]})
    assert done["run"] == {"id": waits["run"]["id"], "status": "done", "message": ""}
    assert calls == ["look", "send"]


async def test_what_stops_a_run_stops_the_graph(settings: Settings) -> None:
    @tool(effect="external")
    def send() -> str:
        """Sends."""
        return "sent"

    plan = PlanBuilder("send it")
    plan.send()
    graph = graph_of(as_node(Agent(tools=[send], settings=settings, model=model("")), plan=plan.build()))
    with pytest.raises(TaskFailed, match="ended waiting") as caught:
        await graph.ainvoke({})
    assert caught.value.ids["run"]


async def test_a_state_without_a_task_is_told_of(settings: Settings) -> None:
    with pytest.raises(UsageError, match=r"no text 'question', it has task; .*task_key"):
        await as_node(Agent(settings=settings), task_key="question")({"task": "x"})
