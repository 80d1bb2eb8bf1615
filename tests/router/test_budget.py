import sys
from collections.abc import Callable
from decimal import Decimal

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from router_parts import MemoryLedger, Shelf, context, dispatch, model_step, settling

from shuntyard.errors import DownloadFailed, ModelUnavailable, UnknownName
from shuntyard.events import Event, FellBack, Routed, Spent
from shuntyard.messages import Completion, ModelInfo, ModelRequest, Usage
from shuntyard.protocols import Ctx
from shuntyard.router import Catalogue, budgeted
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.steps import Failure, Step, StepKey, StepResult

pytestmark = pytest.mark.anyio


def scripted(name: str, answer: str = "ok", price: str | None = None, **more: object) -> ScriptedModel:
    cost = Decimal(price or 0)
    info = ModelInfo(name=name, kind="litellm" if price else "local", input_price=cost, output_price=cost)
    return ScriptedModel(lambda request: answer, info=info.model_copy(update=more))


class Torn(ScriptedModel):
    """Streams some text, then dies."""

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> Completion:
        if on_text is not None:
            on_text("half an ans")
        raise ModelUnavailable("the stream ended early; try again.")


async def test_a_model_call_is_routed_reserved_and_settled() -> None:
    events: list[Event] = []
    ledger = MemoryLedger()
    catalogue = Catalogue([Shelf(one=scripted("one", "four chr", price="0.001"))])
    road = settling(budgeted(catalogue, ledger)(dispatch(catalogue)), ledger)
    result = await road(model_step(), context(events, max_cost=1))
    assert result.ok and result.value == "four chr"
    assert result.decision is not None and result.decision.model == "one"
    # "hello" is two tokens of four characters, the answer two.
    assert result.cost == Decimal("0.004") and result.usage.total == 4
    assert ledger.peak == (Decimal("0.066"), 66)
    assert ledger.total() == (Decimal("0.004"), 4)
    assert [type(event) for event in events] == [Routed, Spent]
    assert isinstance(events[1], Spent) and events[1].cost == Decimal("0.004") and events[1].reserved == 0


async def test_an_answer_that_cost_nothing_is_charged_nothing() -> None:
    ledger = MemoryLedger()
    usage = Usage(prompt=2, cached=2, completion=2)

    async def answered(step: Step, ctx: Ctx) -> StepResult:
        return StepResult(value={"text": "ok", "cached": True}, usage=usage)

    catalogue = Catalogue([Shelf(one=scripted("one", price="0.001"))])
    result = await settling(budgeted(catalogue, ledger)(answered), ledger)(model_step(), context(max_cost=1))
    assert result.cost == 0 and result.usage == usage
    assert ledger.total() == (Decimal(0), 0)


async def test_a_dead_model_is_replaced_and_its_reservation_given_back() -> None:
    events: list[Event] = []
    ledger = MemoryLedger()
    dead = ScriptedModel([], info=ModelInfo(name="dead", tier="large"))
    catalogue = Catalogue([Shelf(dead=dead, alive=scripted("alive"))])
    road = settling(budgeted(catalogue, ledger, model="dead", fallback=["alive"])(dispatch(catalogue)), ledger)
    result = await road(model_step(), context(events, max_tokens=100))
    assert result.ok and result.decision is not None
    assert result.decision.model == "alive"
    assert result.decision.failed == ("dead: the script of 'dead' has 0 answers; add one more.",)
    assert ledger.total().tokens == result.usage.total
    fell = [event for event in events if isinstance(event, FellBack)]
    assert [(event.model, event.to) for event in fell] == [("dead", "alive")]


async def test_a_model_that_cannot_be_opened_counts_as_unavailable() -> None:
    ledger = MemoryLedger()
    shelf = Shelf(gone=DownloadFailed("no source of 'gone' could be reached; go online."), here=scripted("here"))
    catalogue = Catalogue([shelf])
    result = await budgeted(catalogue, ledger, model="gone", fallback=["here"])(dispatch(catalogue))(
        model_step(), context()
    )
    assert result.ok and result.decision is not None and result.decision.failed[0].startswith("gone: no source")


async def test_when_nobody_answers_every_reason_is_told_and_the_exit_code_is_six() -> None:
    ledger = MemoryLedger()
    shelf = Shelf(a=ModelUnavailable("a is off; start it."), b=ModelUnavailable("b is off; start it."))
    catalogue = Catalogue([shelf])
    result = await budgeted(catalogue, ledger)(dispatch(catalogue))(model_step(), context())
    assert result.status == "failed" and result.failure is not None
    assert result.failure.exit_code == 6 and result.failure.code == "model_unavailable"
    assert "a is off" in result.failure.message and "b is off" in result.failure.message
    assert ledger.reserved == 0


async def test_after_streamed_text_the_next_model_is_not_streamed_and_the_first_is_billed_in_full() -> None:
    ledger = MemoryLedger()
    price = Decimal("0.001")
    torn = Torn([], info=ModelInfo(name="torn", kind="openai", input_price=price, output_price=price))
    catalogue = Catalogue([Shelf(torn=torn, whole=scripted("whole", "whole answer"))])
    heard: list[str] = []
    road = settling(budgeted(catalogue, ledger, model="torn", fallback=["whole"])(dispatch(catalogue)), ledger)
    result = await road(model_step(on_text=heard.append), context())
    assert result.value == "whole answer"
    assert heard == ["half an ans"]
    assert result.cost == Decimal("0.066")
    assert ledger.total().cost == Decimal("0.066")


async def test_no_tokens_ends_before_any_model_is_opened() -> None:
    ledger = MemoryLedger()
    shelf = Shelf(one=scripted("one"))
    catalogue = Catalogue([shelf])
    result = await budgeted(catalogue, ledger)(dispatch(catalogue))(model_step(), context(max_tokens=0))
    assert result.status == "spent" and result.failure is not None and result.failure.exit_code == 4
    assert "--max-tokens" in result.failure.message
    assert shelf.opened == [] and ledger.reserved == 0


async def test_a_call_whose_worst_case_is_too_dear_is_not_made() -> None:
    ledger = MemoryLedger()
    model = scripted("dear", price="0.01")
    catalogue = Catalogue([Shelf(dear=model)])
    result = await budgeted(catalogue, ledger)(dispatch(catalogue))(model_step(), context(max_cost="0.5"))
    assert result.status == "spent" and model.requests == []
    assert result.failure is not None and "--max-cost" in result.failure.message


async def test_an_unknown_price_is_refused_only_under_a_limit() -> None:
    catalogue = Catalogue([Shelf(some=scripted("some", kind="openai", input_price=None, output_price=None))])
    road = budgeted(catalogue, MemoryLedger())(dispatch(catalogue))
    assert (await road(model_step(), context())).ok
    refused = await road(model_step(), context(max_cost=5))
    assert refused.status == "spent" and refused.failure is not None and refused.failure.exit_code == 4
    assert "input_price" in refused.failure.message


async def test_an_unknown_model_is_a_usage_error_as_a_value() -> None:
    catalogue = Catalogue([Shelf(one=scripted("one"))])
    result = await budgeted(catalogue, MemoryLedger(), model="two")(dispatch(catalogue))(model_step(), context())
    assert result.failure is not None and result.failure.code == UnknownName.code and result.failure.exit_code == 2


@pytest.mark.parametrize("limit", [200, 250, 300, 520])
async def test_eight_calls_at_once_never_cross_the_token_limit(limit: int) -> None:
    ledger = MemoryLedger()
    catalogue = Catalogue([Shelf(slow=ScriptedModel(lambda r: "x" * 256, delay=0.0005, info=ModelInfo(name="slow")))])
    road = settling(budgeted(catalogue, ledger)(dispatch(catalogue)), ledger)
    results: list[StepResult] = []

    async def call() -> None:
        results.append(await road(model_step(), context(max_tokens=limit)))

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(call)
    assert ledger.peak.tokens <= limit and ledger.total().tokens <= limit
    assert {result.status for result in results} <= {"done", "spent"}
    assert sum(result.ok for result in results) == min(8, limit // 66)


@settings(max_examples=40, deadline=None)
@given(
    prices=st.lists(st.integers(0, 20), min_size=1, max_size=8),
    delays=st.lists(st.integers(0, 3), min_size=8, max_size=8),
    limit=st.integers(0, 60),
)
def test_no_interleaving_crosses_the_cost_limit(prices: list[int], delays: list[int], limit: int) -> None:
    ledger = MemoryLedger()

    async def handle(step: Step, ctx: Ctx) -> StepResult:
        for _ in range(delays[int(step.key.path)]):
            await anyio.lowlevel.checkpoint()
        return StepResult(value=1)

    async def all_at_once() -> None:
        costs = {f"t{number}": Decimal(price) for number, price in enumerate(prices)}
        road = settling(budgeted(Catalogue([]), ledger, costs=costs)(handle), ledger)
        ctx = context(max_cost=limit)
        async with anyio.create_task_group() as group:
            for number in range(len(prices)):
                group.start_soon(road, Step(StepKey("r1", 0, str(number)), "tool", f"t{number}"), ctx)

    anyio.run(all_at_once)
    assert ledger.peak.cost <= limit and ledger.total().cost <= limit
    assert not ledger.open


async def test_a_free_tool_leaves_no_trace_and_a_paid_one_is_settled() -> None:
    ledger = MemoryLedger()
    events: list[Event] = []

    async def handle(step: Step, ctx: Ctx) -> StepResult:
        if step.name == "picky":
            return StepResult(status="failed", failure=Failure(code="arguments_invalid", message="x"))
        return StepResult(value=1)

    road = settling(budgeted(Catalogue([]), ledger, costs={"paid": Decimal(2), "picky": Decimal(2)})(handle), ledger)
    ctx = context(events, max_cost=3)
    assert (await road(Step(StepKey("r1", 0, "n1"), "tool", "free"), ctx)).cost == 0
    assert ledger.reserved == 0 and events == []
    assert (await road(Step(StepKey("r1", 0, "n2"), "tool", "picky"), ctx)).cost == 0
    assert (await road(Step(StepKey("r1", 0, "n3"), "tool", "paid"), ctx)).cost == 2
    assert (await road(Step(StepKey("r1", 0, "n4"), "tool", "paid"), ctx)).status == "spent"
    assert ledger.total().cost == 2


async def test_a_cancelled_call_keeps_its_reservation() -> None:
    ledger = MemoryLedger()
    catalogue = Catalogue([Shelf(slow=ScriptedModel(["x" * 400], delay=0.05, info=ModelInfo(name="slow")))])
    road = settling(budgeted(catalogue, ledger)(dispatch(catalogue)), ledger)
    with anyio.move_on_after(0.1) as scope:
        await road(model_step(), context())
    assert scope.cancelled_caught
    assert ledger.total().tokens == 66


async def test_eight_openings_at_once_open_once() -> None:
    class Slow(Shelf):
        async def open(self, name: str) -> ScriptedModel:
            await anyio.sleep(0.01)
            await super().open(name)
            return model

    model = scripted("one")
    shelf = Slow(one=model)
    catalogue = Catalogue([shelf, Shelf(one=scripted("one"), two=scripted("two"))])
    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(catalogue.open, "one")
    assert shelf.opened == ["one"]
    assert [info.name for info in catalogue.infos()] == ["one", "two"]
    with pytest.raises(UnknownName, match="two"):
        await catalogue.open("twoo")


async def test_a_run_on_local_models_never_imports_litellm() -> None:
    code = (
        "import anyio, sys\n"
        "from shuntyard.router import Catalogue, RemoteSource, budgeted\n"
        "from shuntyard.router.choose import choose\n"
        "from shuntyard.settings import Settings\n"
        "source = RemoteSource(Settings(models={'big': {'model': 'anthropic/claude-sonnet-4-5'}}))\n"
        "catalogue = Catalogue([source])\n"
        "assert catalogue.infos()[0].input_price is None\n"
        "choose('compile', catalogue.infos(), installed=catalogue.installed)\n"
        "assert 'litellm' not in sys.modules and 'httpx' not in sys.modules\n"
    )
    done = await anyio.run_process([sys.executable, "-c", code], check=False)
    assert done.returncode == 0, done.stderr.decode()
