from __future__ import annotations

import sys
import textwrap
from decimal import Decimal

import anyio
import pytest
from anyio import to_thread
from hypothesis import given, settings
from hypothesis import strategies as st

from shuntyard.errors import BudgetSpent
from shuntyard.memory import tables
from shuntyard.memory.ledger import SqlLedger
from shuntyard.memory.runs import Runs
from shuntyard.memory.store import Store
from shuntyard.protocols import Amount
from shuntyard.steps import StepKey

pytestmark = pytest.mark.anyio


def within(limit: Decimal) -> object:
    def admit(total: Amount) -> None:
        if total.cost > limit:
            raise BudgetSpent("over")

    return admit


async def test_sixty_four_at_once_never_pass_the_limit(store: Store, run: str) -> None:
    ledger = SqlLedger(store)
    limit = Decimal("0.01")
    outcomes: list[bool] = []

    async def one(i: int) -> None:
        try:
            await ledger.reserve(StepKey(run, 0, f"n{i + 1}"), Amount(Decimal("0.0003"), 10), within(limit))  # type: ignore[arg-type]
            outcomes.append(True)
        except BudgetSpent:
            outcomes.append(False)

    def in_thread(i: int) -> None:
        anyio.run(one, i)

    async with anyio.create_task_group() as group:
        for i in range(64):
            group.start_soon(to_thread.run_sync, in_thread, i) if i % 2 else group.start_soon(one, i)
    assert outcomes.count(True) == 33
    assert await ledger.spent(run) == Amount(Decimal("0.0099"), 330)


async def test_two_processes_share_a_limit(store: Store, run: str) -> None:
    code = """
        import sys, anyio
        from decimal import Decimal
        from pathlib import Path
        from shuntyard.memory.ledger import SqlLedger
        from shuntyard.memory.store import Store
        from shuntyard.protocols import Amount
        from shuntyard.steps import StepKey

        async def main():
            ledger, admitted = SqlLedger(Store.open(Path(sys.argv[1]))), 0
            def admit(total):
                if total.tokens > 1000:
                    raise ValueError
            for i in range(100):
                try:
                    await ledger.reserve(StepKey(sys.argv[2], 0, f"n{i}"), Amount(Decimal(0), 7), admit)
                    admitted += 1
                except ValueError:
                    pass
            print(admitted)

        anyio.run(main)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(store.home), run]
    admitted: list[int] = []

    async def process() -> None:
        admitted.append(int((await anyio.run_process(command)).stdout))

    async with anyio.create_task_group() as group:
        group.start_soon(process)
        group.start_soon(process)
    assert sum(admitted) == 142
    assert (await SqlLedger(store).spent(run)).tokens == 994


async def test_what_admit_sees_is_spent_reserved_and_asked(store: Store, run: str) -> None:
    ledger = SqlLedger(store)
    other = Runs(store).start("another run")
    seen: list[Amount] = []
    key = StepKey(run, 0, "n1")
    first = await ledger.reserve(key, Amount(Decimal("0.5"), 100), seen.append)
    await ledger.settle(first, Amount(Decimal("0.2"), 40))
    await ledger.reserve(key, Amount(Decimal("0.1"), 10), seen.append)
    await ledger.reserve(StepKey(other, 0, "n1"), Amount(Decimal(9), 9), seen.append)
    await ledger.reserve(key, Amount(Decimal("0.03"), 1), seen.append)
    assert seen == [
        Amount(Decimal("0.5"), 100),
        Amount(Decimal("0.3"), 50),
        Amount(Decimal(9), 9),
        Amount(Decimal("0.33"), 51),
    ]


async def test_a_refused_reservation_leaves_no_trace(store: Store, run: str) -> None:
    ledger = SqlLedger(store)
    with pytest.raises(BudgetSpent):
        await ledger.reserve(StepKey(run, 0, "n1"), Amount(Decimal(1), 1), within(Decimal(0)))  # type: ignore[arg-type]
    assert await ledger.spent(run) == Amount(Decimal(0), 0)


async def test_what_a_crash_left_open_counts_in_full_and_is_closed_so(store: Store, run: str) -> None:
    await SqlLedger(store).reserve(StepKey(run, 0, "n1"), Amount(Decimal("0.25"), 9), lambda total: None)
    again = SqlLedger(store)
    assert await again.spent(run) == Amount(Decimal("0.25"), 9)
    assert again.close(run) == 1
    assert again.close(run) == 0
    assert await again.spent(run) == Amount(Decimal("0.25"), 9)


@settings(deadline=None)
@given(st.decimals(min_value=0, max_value=1000, places=12))
def test_money_is_exact(dollars: Decimal) -> None:
    assert tables.from_pico(tables.to_pico(dollars)) == dollars


def test_finer_money_is_rounded_up() -> None:
    assert tables.to_pico(Decimal("1e-13")) == 1
