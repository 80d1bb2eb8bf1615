"""One task down the whole road, with a scripted model and everything else real."""

import asyncio
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from shuntyard import Agent, PlanBuilder, tool
from shuntyard.errors import ContextTooLong, PlanInvalid, UsageError
from shuntyard.messages import Completion, ModelInfo, ModelRequest
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.settings import RuleSettings, Settings
from shuntyard.steps import Limits

pytestmark = pytest.mark.anyio


def script(plan: str, answer: str = "ANSWER: done") -> Callable[[ModelRequest], str]:
    return lambda request: plan if request.role in ("compile", "repair") else answer


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    workspace = tmp_path / "work"
    workspace.mkdir()
    (workspace / "sales.csv").write_text("region,amount\nnorth,10\nsouth,32\n")
    return Settings(home=tmp_path / "home", workspace=workspace, memory=False)


def agent_for(settings: Settings, plan: str, answer: str = "ANSWER: done", **more: object) -> Agent:
    return Agent(settings=settings, model=ScriptedModel(script(plan, answer)), **more)  # type: ignore[arg-type]


async def test_words_become_an_answer(settings: Settings) -> None:
    plan = '1. query(sql="SELECT sum(amount) FROM sales")\n2. calculator(expression="$1 * 2")\n'
    result = await agent_for(settings, plan, "ANSWER: 84").run("twice the sum of the amounts")
    assert (result.status, result.answer) == ("done", "84")
    assert result.results["n1"].value == 42
    assert result.results["n2"].value == 84
    assert result.usage.total > 0


async def test_events_tell_the_whole_run(settings: Settings) -> None:
    plan = '1. query(sql="SELECT sum(amount) FROM sales")\n'
    types = [event.type async for event in agent_for(settings, plan).stream("sum the amounts")]
    assert types[0] == "run_started" and types[-1] == "run_done"
    assert types.index("node_planned") < types.index("planned") < types.index("answered")


async def test_a_write_waits_for_approval_and_goes_on_after_it(settings: Settings) -> None:
    plan = '1. write_file(path="out.txt", content="hello")\n'
    agent = agent_for(settings, plan)
    waiting = await agent.run("write hello to out.txt")
    assert waiting.status == "waiting"
    assert waiting.failure is not None and "shuntyard approve" in waiting.failure.message
    assert not (settings.workspace / "out.txt").exists()

    async with agent._opened(()) as rooms:
        (question,) = rooms.approvals.list_pending(waiting.run)
        rooms.approvals.decide(question.id, True)
    done = await agent.resume(waiting.run)
    assert done.status == "done"
    assert (settings.workspace / "out.txt").read_text().strip() == "hello"


async def test_a_denied_write_stops_before_anything_is_written(settings: Settings) -> None:
    rule = RuleSettings(tool="write_file", decision="deny", reason="reports are read-only here")
    agent = agent_for(
        settings.model_copy(update={"rules": (rule,)}), '1. write_file(path="out.txt", content="hello")\n'
    )
    result = await agent.run("write hello to out.txt")
    assert result.status == "denied"
    assert result.failure is not None and result.failure.exit_code == 3
    assert "read-only here" in result.failure.message
    assert not (settings.workspace / "out.txt").exists()


async def test_no_token_means_no_call(settings: Settings) -> None:
    model = ScriptedModel(script("1. now()\n"))
    result = await Agent(settings=settings, model=model).run("what time is it", limits=Limits(max_tokens=0))
    assert result.status == "spent"
    assert model.requests == []


async def test_a_dead_model_falls_back(settings: Settings) -> None:
    dead = ScriptedModel([], info=ModelInfo(name="dead", kind="scripted"))
    agent = agent_for(settings.model_copy(update={"fallback": ("scripted",)}), "1. now()\n", "ANSWER: noon")
    agent._models.append(dead)
    agent._settings = agent._settings.model_copy(update={"model": "dead"})
    result = await agent.run("what time is it")
    assert result.answer == "noon"
    async with agent._opened(()) as rooms:
        steps = {row.path: row for row in rooms.runs.steps(result.run)}
    recorded = steps["compile"].result
    decision = recorded.decision if recorded is not None else None
    assert decision is not None and decision.model == "scripted" and "dead" in decision.failed[0]


async def test_parallel_paid_calls_stop_at_the_budget(settings: Settings) -> None:
    calls = []

    @tool(cost=Decimal("0.10"))
    async def consult(topic: str) -> str:
        """Return advice.

        Args:
            topic: About what.
        """
        calls.append(topic)
        await anyio.sleep(0.05)
        return topic

    plan = "".join(f'{i}. consult(topic="t{i}")\n' for i in range(1, 9))
    agent = agent_for(settings, plan, tools=[consult])
    result = await agent.run("consult on eight topics", limits=Limits(max_cost=Decimal("0.35")))
    assert result.status == "spent"
    assert len(calls) == 3
    assert sum(item.cost for item in result.results.values()) == Decimal("0.30")


async def test_the_deadline_ends_a_run_and_keeps_what_is_finished(settings: Settings) -> None:
    @tool
    async def nap(seconds: float) -> float:
        """Return how long it slept.

        Args:
            seconds: How long.
        """
        await anyio.sleep(seconds)
        return seconds

    agent = agent_for(settings, "1. nap(seconds=0.05)\n2. nap(seconds=60.0)\n", tools=[nap])
    with anyio.fail_after(10):
        result = await agent.run("nap twice", limits=Limits(deadline=2))
    assert result.status == "spent"
    assert 2 <= result.seconds < 3
    assert result.results["n1"].ok
    assert result.failure is not None and "deadline" in result.failure.message


async def test_a_failed_step_is_something_the_answer_can_tell(settings: Settings) -> None:
    plan = '1. read_file(path="none.txt")\n2. query(sql="SELECT count(*) FROM sales")\n'
    model = ScriptedModel(lambda request: plan if request.role != "join" else "ANSWER: 2 rows; none.txt is missing")
    result = await Agent(settings=settings, model=model).run("read none.txt and count sales")
    assert result.results["n2"].value == 2
    assert result.status in ("failed", "done")


async def test_a_call_that_its_tool_cannot_make_sense_of_is_planned_again(settings: Settings) -> None:
    prices = '1. query(sql="SELECT amount FROM sales")\n2. calculator(expression="$1 * 2")\n'
    mended = '3. calculator(expression="sum($1) * 2")\n'
    answers = {"compile": prices, "repair": prices, "replan": mended, "join": "ANSWER: 84"}
    model = ScriptedModel(lambda request: answers[request.role])
    result = await Agent(settings=settings, model=model).run("twice the sum of the amounts")
    assert (result.status, result.answer) == ("done", "84")
    assert result.results["n3"].value == 84
    assert [request.role for request in model.requests][-2:] == ["replan", "join"]
    assert "line 2 failed" in model.requests[-2].messages[-1].content


async def test_without_any_result_the_answer_says_why(settings: Settings) -> None:
    prices = '1. query(sql="SELECT amount FROM sales")\n2. calculator(expression="$1 * 2")\n'
    answers = {"compile": prices, "repair": prices, "replan": '1. outside(reason="no way")\n', "join": "ANSWER: 84"}
    model = ScriptedModel(lambda request: answers[request.role])
    result = await Agent(settings=settings, model=model).run("twice the sum of the amounts")
    assert result.status == "failed"
    assert "[10, 32] is not a number" in result.answer
    assert "join" not in [request.role for request in model.requests], "nobody is asked to make up an answer"


async def test_a_refusal_is_an_answer_with_a_reason(settings: Settings) -> None:
    result = await agent_for(settings, '1. outside(reason="no tool sends mail")\n').run("send a mail")
    assert result.status == "refused"
    assert "mail" in result.answer


async def test_a_plan_by_hand_needs_no_compiling(settings: Settings) -> None:
    builder = PlanBuilder("sum")
    total = builder.query(sql="SELECT sum(amount) AS total FROM sales")
    builder.calculator(expression=total)
    model = ScriptedModel(script("never", "ANSWER: 42"))
    result = await Agent(settings=settings, model=model).run("sum", plan=builder.build())
    assert result.answer == "42"
    assert [request.role for request in model.requests] == ["join"]


async def test_a_wrong_plan_by_hand_says_what_is_wrong(settings: Settings) -> None:
    builder = PlanBuilder("sum")
    builder.call("qery", sql="SELECT 1")
    result = await agent_for(settings, "").run("sum", plan=builder.build())
    assert result.status == "failed"
    assert result.failure is not None and result.failure.code == PlanInvalid.code
    assert "qery" in result.failure.message and "query" in result.failure.message


async def test_a_repeated_task_reuses_its_plan(settings: Settings) -> None:
    settings = settings.model_copy(update={"memory": True})
    model = ScriptedModel(script('1. query(sql="SELECT sum(amount) FROM sales")\n', "ANSWER: 42"))
    agent = Agent(settings=settings, model=model)
    first = await agent.run("sum the amounts")
    again = await agent.run("sum the amounts")
    assert again.hints and again.hints[0].run == first.run
    assert again.answer == first.answer
    assert again.usage.total < first.usage.total
    assert [request.role for request in model.requests].count("compile") == 1


async def test_a_forecast_runs_nothing(settings: Settings) -> None:
    plan = '1. query(sql="SELECT sum(amount) FROM sales")\n2. write_file(path="a.txt", content=$1)\n'
    forecast = await agent_for(settings, plan).plan("write the sum to a.txt")
    assert [node.tool for node in forecast.plan.nodes] == ["query", "write_file"]
    assert forecast.seconds > 0
    assert not (settings.workspace / "a.txt").exists()


@pytest.mark.parametrize("task", ["", "  \n"])
async def test_an_empty_task_is_refused(settings: Settings, task: str) -> None:
    with pytest.raises(UsageError, match="empty"):
        await agent_for(settings, "").run(task)


async def test_a_task_of_fifty_thousand_words_is_refused(settings: Settings) -> None:
    with pytest.raises(ContextTooLong, match="50000 words"):
        await agent_for(settings, "").run("word " * 50_000)


async def test_run_sync_works_inside_a_running_loop(settings: Settings) -> None:
    assert asyncio.get_running_loop()
    result = agent_for(settings, "1. now()\n", "ANSWER: noon").run_sync("what time is it")
    assert result.answer == "noon"


async def test_sixty_four_runs_at_once(settings: Settings) -> None:
    async with agent_for(settings, '1. query(sql="SELECT sum(amount) FROM sales")\n', "ANSWER: 42") as agent:
        answers = []

        async def one() -> None:
            answers.append((await agent.run("sum the amounts")).answer)

        async with anyio.create_task_group() as group:
            for _ in range(64):
                group.start_soon(one)
    assert answers == ["42"] * 64


def test_a_local_run_never_imports_litellm() -> None:
    import subprocess

    code = (
        "import sys, tempfile, pathlib\n"
        "from shuntyard import Agent\n"
        "from shuntyard.settings import Settings\n"
        "from shuntyard.serving.scripted import ScriptedModel\n"
        "folder = pathlib.Path(tempfile.mkdtemp())\n"
        "model = ScriptedModel(['1. now()\\n', 'ANSWER: noon'])\n"
        "agent = Agent(settings=Settings(home=folder, workspace=folder), model=model)\n"
        "assert agent.run_sync('what time is it').status == 'done'\n"
        "assert 'litellm' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


async def test_a_stream_that_falls_silent_fails_over(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shuntyard.agents.dispatch.STALL", 0.2)

    class Stalls(ScriptedModel):
        async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> Completion:
            assert on_text is not None
            on_text("1. calcu")
            await anyio.sleep_forever()
            raise AssertionError

    stalls = Stalls([], info=ModelInfo(name="stalls", kind="scripted", grammar=True))
    chosen = settings.model_copy(update={"cache": settings.home, "model": "stalls"})
    result = await Agent(settings=chosen, model=stalls).run("six times seven")
    assert result.status == "failed" and result.failure is not None
    assert "'stalls' began to answer and then said nothing for 0.2 s" in result.failure.message
