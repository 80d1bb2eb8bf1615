"""What query puts right in joins and comparisons, and what it says when it cannot."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from shuntyard.errors import ToolError
from shuntyard.protocols import Ctx
from shuntyard.steps import Bound
from shuntyard.tools import Registry

Call = Callable[..., Awaitable[Any]]
pytestmark = pytest.mark.anyio


async def test_a_join_key_need_not_say_whose_it_is(call: Call, registry: Registry, workspace: Path, ctx: Ctx) -> None:
    (workspace / "towns.csv").write_text("shop,town\nnorth,Lund\nsouth,Ystad\n")
    sql = "select shop, max(town) as town from sales s join towns t on s.shop = t.shop group by shop order by shop"
    assert await registry.check("query", {"sql": sql}, ctx) == []
    assert [row["town"] for row in await call("query", sql=sql)] == ["Lund", "Ystad"]
    other = "select id from sales s join towns t on s.shop = t.shop where shop in (select shop from towns) order by id"
    assert len(await call("query", sql=other)) == 3


async def test_a_number_compared_with_texts_says_what_the_column_holds(call: Call) -> None:
    with pytest.raises(ToolError, match="column shop holds texts such as 'north'"):
        await call("query", sql=Bound("select count(*) from sales where shop = $1", {"$1": 22.5}))


async def test_a_bare_column_beside_a_sum_is_grouped_by(
    call: Call, registry: Registry, workspace: Path, ctx: Ctx
) -> None:
    (workspace / "prices.csv").write_text("shop,price\nnorth,10\nsouth,100\n")
    join = "from sales s join prices p on s.shop = p.shop"
    for sql, value in (
        (f"select sum(amount) * price {join} where s.shop = 'south'", 420),
        (f"select s.shop, sum(amount) * price as worth {join} group by s.shop order by worth desc limit 1", 420),
    ):
        assert await registry.check("query", {"sql": sql}, ctx) == []
        answer = await call("query", sql=sql)
        assert (answer[0]["worth"] if isinstance(answer, list) else answer) == value


async def test_like_looks_at_dates_as_they_are_written(call: Call) -> None:
    assert await call("query", sql="select count(*) from sales where day like '2024-02%'") == 2
