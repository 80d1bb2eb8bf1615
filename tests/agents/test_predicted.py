"""Predictions that are kept with a run and stand beside what it took."""

from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from shuntyard import Agent, PlanBuilder, tool
from shuntyard.agents.predicted import predicted
from shuntyard.messages import ModelInfo, ModelRequest
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.settings import Settings
from shuntyard.steps import Limits

pytestmark = pytest.mark.anyio


@tool(seconds=0.1, cost=Decimal("0.25"))
async def weigh(parcel: int) -> int:
    """Return a weight.

    Args:
        parcel: Number of it.
    """
    await anyio.sleep(0.1)
    return parcel


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "work").mkdir()
    return Settings(home=tmp_path / "home", workspace=tmp_path / "work", memory=False)


def model(plan: str, *, input_price: Decimal | None = Decimal(0)) -> ScriptedModel:
    def say(request: ModelRequest) -> str:
        return plan if request.role == "compile" else "ANSWER: 3"

    info = ModelInfo(name="scripted", kind="scripted", input_price=input_price, seconds_per_token=0.001)
    return ScriptedModel(say, info=info)


PLAN = '1. weigh(parcel=1)\n2. weigh(parcel=2)\n3. calculator(expression="$1 + $2")\n'


async def test_a_run_keeps_what_was_expected_of_it_and_what_it_took(settings: Settings) -> None:
    agent = Agent(settings=settings, model=model(PLAN), tools=[weigh])
    result = await agent.run("weigh both parcels")
    guess = result.predicted
    assert result.status == "done" and guess is not None
    assert guess.plan.calls == 3 and guess.plan.cost == Decimal("0.50")
    assert guess.plan.work == pytest.approx(0.201) and guess.plan.span == pytest.approx(0.101)
    assert guess.seconds.low < guess.seconds.likely < guess.seconds.high
    assert guess.cost is not None and guess.cost.likely == Decimal("0.50")
    async with agent._opened(()) as rooms:
        row, took = rooms.runs.get(result.run), rooms.runs.took(result.run)
    assert row.result is not None and row.result.predicted == guess
    assert (took.calls, took.cost) == (3, Decimal("0.50"))
    assert 0 < took.tokens < result.usage.total
    assert guess.plan.span <= took.seconds <= result.seconds


async def test_a_resumed_run_keeps_the_first_guess_and_adds_up_what_its_parts_took(settings: Settings) -> None:
    plan = PLAN + '4. write_file(path="sum.txt", content=$3)\n'
    agent = Agent(settings=settings, model=model(plan), tools=[weigh])
    stopped = await agent.run("weigh both parcels and write the sum into sum.txt")
    assert stopped.status == "waiting" and stopped.predicted is not None
    async with agent._opened(()) as rooms:
        assert rooms.runs.took(stopped.run).calls == 3
        (question,) = rooms.approvals.list_pending(stopped.run)
        rooms.approvals.decide(question.id, True)
    done = await agent.resume(stopped.run, limits=Limits(concurrency=1))
    assert done.status == "done" and done.predicted == stopped.predicted
    async with agent._opened(()) as rooms:
        took = rooms.runs.took(stopped.run)
    assert took.calls == 4 and took.cost == Decimal("0.50")


async def test_replans_are_in_the_high_guess_only_where_there_can_be_some(settings: Settings) -> None:
    agent = Agent(settings=settings, model=model(PLAN), tools=[weigh])
    builder = PlanBuilder("weigh")
    builder.weigh(parcel=1)
    mine = builder.build()
    async with agent._opened(()) as rooms:
        by_me = predicted(mine, rooms, Limits(max_replans=2))
        by_model = predicted(mine.model_copy(update={"origin": "model"}), rooms, Limits(max_replans=2))
        never = predicted(mine.model_copy(update={"origin": "model"}), rooms, Limits(max_replans=0))
    assert by_me is not None and by_model is not None and never is not None
    assert by_me == never
    assert by_model.calls.high == 3 * by_me.calls.high and by_model.seconds.high > 3 * by_me.seconds.high
    assert by_model.calls.likely == by_me.calls.likely == 1


async def test_without_a_price_there_is_no_cost_and_without_a_model_no_guess(settings: Settings) -> None:
    builder = PlanBuilder("weigh")
    builder.weigh(parcel=1)
    agent = Agent(settings=settings, model=model(PLAN, input_price=None), tools=[weigh])
    async with agent._opened(()) as rooms:
        guess = predicted(builder.build(), rooms, Limits())
    assert guess is not None and guess.cost is None
    gone = settings.model_copy(update={"model": "nobody"})
    async with Agent(settings=gone, tools=[weigh])._opened(()) as rooms:
        assert predicted(builder.build(), rooms, Limits()) is None
