"""The limits hold on the real ledger too: eight calls at once, through the whole wrapper."""

from decimal import Decimal
from pathlib import Path

import anyio
import pytest
from router_parts import Shelf, context, dispatch, model_step, settling

from shuntyard.memory.ledger import SqlLedger
from shuntyard.memory.runs import Runs
from shuntyard.memory.store import Store
from shuntyard.messages import ModelInfo
from shuntyard.router import Catalogue, budgeted
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.steps import StepResult

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("limit", ["0.05", "0.066", "0.2", "0.4"])
async def test_eight_calls_at_once_never_cross_the_cost_limit(tmp_path: Path, limit: str) -> None:
    price = Decimal("0.001")
    info = ModelInfo(name="paid", kind="openai", input_price=price, output_price=price)
    catalogue = Catalogue([Shelf(paid=ScriptedModel(lambda request: "x" * 200, info=info, delay=0.0002))])
    store = Store.open(tmp_path)
    try:
        ledger = SqlLedger(store)
        run = Runs(store).start("a task")
        road = settling(budgeted(catalogue, ledger)(dispatch(catalogue)), ledger)
        results: list[StepResult] = []

        async def call() -> None:
            results.append(await road(model_step(run=run), context(run=run, max_cost=limit)))
            assert (await ledger.spent(run)).cost <= Decimal(limit)

        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(call)
        spent = await ledger.spent(run)
    finally:
        store.close()
    done = [result for result in results if result.ok]
    assert {result.status for result in results} <= {"done", "spent"} and len(results) == 8
    assert len(done) == min(8, Decimal(limit) // Decimal("0.066"))
    assert spent.cost == sum((result.cost for result in done), Decimal(0)) <= Decimal(limit)
