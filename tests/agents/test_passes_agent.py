"""The passes inside a run: what is planned, what is called, what is kept, what a resume finds."""

from pathlib import Path

import pytest

from shuntyard import Agent, PlanBuilder, tool
from shuntyard.events import Event, StepStarted
from shuntyard.messages import ModelRequest
from shuntyard.moves import Move
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.settings import Settings
from shuntyard.steps import Plan

pytestmark = pytest.mark.anyio
SALES = 'query(sql="SELECT sum(amount) FROM sales")'
TWICE = f'1. {SALES}\n2. calculator(expression="$1 * 2")\n3. {SALES}\n4. calculator(expression="$3 + $2")\n'


@pytest.fixture
def place(tmp_path: Path) -> Settings:
    workspace = tmp_path / "work"
    workspace.mkdir()
    (workspace / "sales.csv").write_text("region,amount\nnorth,10\nsouth,32\n")
    return Settings(home=tmp_path / "home", workspace=workspace, memory=False, approve=("write_file",))


def agent(settings: Settings, plan: str, answer: str = "ANSWER: 126", **more: object) -> Agent:
    def say(request: ModelRequest) -> str:
        return plan if request.role in ("compile", "repair") else answer

    return Agent(settings=settings, model=ScriptedModel(say), **more)  # type: ignore[arg-type]


def tools_started(events: list[Event]) -> list[str]:
    return [event.path for event in events if isinstance(event, StepStarted) and event.kind == "tool"]


async def test_an_equal_read_is_made_once_and_the_plan_that_is_kept_says_so(place: Settings) -> None:
    events: list[Event] = []
    one = agent(place, TWICE, sinks=[Collect(events)])
    result = await one.run("twice the sum of the amounts, and the sum")
    assert result.status == "done"
    assert {id: step.value for id, step in result.results.items()} == {"n1": 42, "n2": 84, "n4": 126}
    assert sorted(tools_started(events)) == ["n1", "n2", "n4"]
    async with one._opened(()) as rooms:
        (kept,) = rooms.runs.plans(result.run)
    assert [node.id for node in kept.nodes] == ["n1", "n2", "n4"]


class Collect:
    def __init__(self, events: list[Event]) -> None:
        self.events = events

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def close(self) -> None:
        """Nothing to flush."""


async def test_a_plan_of_a_person_goes_through_them_too(place: Settings) -> None:
    plan = PlanBuilder("note twice")
    plan.write_file(path="a.txt", content="first")
    plan.write_file(path="a.txt", content="second")
    result = await agent(place, "").run("note twice", plan=plan.build())
    assert result.status == "done" and result.plan is not None
    assert result.plan.node("n2").after == ("n1",)
    assert (place.workspace / "a.txt").read_text().strip() == "second"


async def test_a_stopped_run_goes_on_with_the_plan_that_it_had(place: Settings) -> None:
    waiting = place.model_copy(update={"approve": ()})
    plan = TWICE + '5. write_file(path="out.txt", content=$4)\n'
    one = agent(waiting, plan)
    stopped = await one.run("write the sum three times over to out.txt")
    assert stopped.status == "waiting"
    async with one._opened(()) as rooms:
        (question,) = rooms.approvals.list_pending(stopped.run)
        rooms.approvals.decide(question.id, True)
    events: list[Event] = []
    again = agent(waiting, plan, sinks=[Collect(events)])
    done = await again.resume(stopped.run)
    assert done.status == "done"
    assert all(step.replayed for id, step in done.results.items() if id != "n5")
    assert (place.workspace / "out.txt").read_text().strip() == "126"


async def test_a_run_that_was_recorded_without_passes_finds_its_nodes(place: Settings) -> None:
    """Its plan has an equal call twice; both have results in the journal, and neither runs again."""
    one = agent(place, TWICE)
    first = await one.run("twice the sum of the amounts, and the sum")
    plain = Plan.model_validate(
        {
            "task": "t",
            "nodes": [
                {"id": id, "tool": "query", "args": {"sql": "SELECT sum(amount) FROM sales"}} for id in ("n1", "n3")
            ],
        }
    )
    async with one._opened(()) as rooms:
        rooms.runs.save_move(first.run, Move(plan=plain))
    resumed = await agent(place, TWICE).resume(first.run)
    assert resumed.plan is not None and [node.id for node in resumed.plan.nodes] == ["n1", "n3"]
    assert resumed.results["n1"].replayed and resumed.results["n3"].value == 42


async def test_calls_that_may_differ_are_all_made(place: Settings) -> None:
    made: list[int] = []

    @tool
    def toss(sides: int) -> int:
        """Return a number by chance.

        Args:
            sides: How many there are.
        """
        made.append(sides)
        return sides

    plan = PlanBuilder("toss")
    for _ in range(3):
        plan.toss(sides=6)
    result = await agent(place, "", tools=[toss]).run("toss", plan=plan.build())
    assert made == [6, 6, 6] and set(result.results) == {"n1", "n2", "n3"}


async def test_a_forecast_tells_what_the_passes_did(place: Settings) -> None:
    forecast = await agent(place, TWICE).plan("twice the sum of the amounts, and the sum")
    assert [node.id for node in forecast.plan.nodes] == ["n1", "n2", "n4"]
    told = {each.name: [change.node for change in each.changes] for each in forecast.passes}
    assert told["merge"] == ["n3"] and told["order"] == []
