"""What a run has spent: over all its parts, and also where planning came to nothing."""

from pathlib import Path

import pytest

from shuntyard import Agent
from shuntyard.agents.calls import StepStopped
from shuntyard.errors import PlanInvalid
from shuntyard.events import Event, Spent, StepDone
from shuntyard.messages import ModelRequest, Usage
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.settings import Settings
from shuntyard.steps import RunResult

pytestmark = pytest.mark.anyio
WRITE = '1. write_file(path="out.txt", content="hello")\n'


def agent_for(tmp_path: Path, plan: str, events: list[Event]) -> Agent:
    class Listening:
        def __call__(self, event: Event) -> None:
            events.append(event)

        def close(self) -> None:
            """Nothing to end."""

    def answer(request: ModelRequest) -> str:
        return plan if request.role in ("compile", "repair") else "ANSWER: written to out.txt"

    settings = Settings(home=tmp_path / "home", workspace=tmp_path, memory=False)
    return Agent(settings=settings, model=ScriptedModel(answer), sinks=[Listening()])


def told(events: list[Event]) -> list[Usage]:
    return [event.usage for event in events if isinstance(event, Spent)]


async def test_a_resumed_run_goes_on_from_what_it_had_spent(tmp_path: Path) -> None:
    events: list[Event] = []
    agent = agent_for(tmp_path, WRITE, events)
    first = await agent.run("write hello to out.txt and tell me how many words it has")
    assert first.status == "waiting" and first.usage.total > 0 and told(events)[-1] == first.usage
    for question in await agent.questions():
        await agent.approve(question.id)
    events.clear()
    second = await agent.resume(first.run)
    assert second.status == "done"
    totals = [usage.total for usage in told(events)]
    assert totals[0] == first.usage.total and totals == sorted(totals)
    answered = sum(event.usage.total for event in events if isinstance(event, StepDone) and not event.replayed)
    assert second.usage == told(events)[-1] and second.usage.total == first.usage.total + answered
    events.clear()
    third = await agent.resume(first.run)
    assert third.usage == second.usage, "what is replayed is not spent again"


async def test_a_plan_that_never_becomes_valid_has_cost_its_tokens(tmp_path: Path) -> None:
    events: list[Event] = []
    agent = agent_for(tmp_path, '1. write_file(path="' + "ab " * 3000, events)
    result = await agent.run("write hello to out.txt")
    assert result.status == "failed" and result.usage.prompt > 0 and result.usage.completion > 0
    assert told(events)[-1] == result.usage
    with pytest.raises((PlanInvalid, StepStopped)):
        await agent.plan("write hello to out.txt")
    async with agent._opened(()) as rooms:
        kept = [row.result for row in rooms.runs.list() if row.result is not None]
    assert len(kept) == 2 and all(isinstance(each, RunResult) and each.usage.total > 0 for each in kept)
