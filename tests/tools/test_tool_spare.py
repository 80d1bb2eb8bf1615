"""Sessions that are lent again: planned queries are looked at without opening one each time."""

from pathlib import Path
from threading import Barrier, Thread

import pytest

from shuntyard.protocols import Ctx, Pending
from shuntyard.steps import Bound
from shuntyard.tools import tables
from shuntyard.tools.duck import Session, Spare, SqlError
from shuntyard.tools.tables import QueryTool

pytestmark = pytest.mark.anyio


@pytest.fixture
def ctx(tmp_path: Path) -> Ctx:
    (tmp_path / "sales.csv").write_text("region,amount\nnorth,10\nsouth,32\nnorth,1\n")
    return Ctx(run="r", workspace=tmp_path.resolve(), emit=lambda event: None)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Session]:
    """The sessions that are opened, in order."""
    found: list[Session] = []
    begin = Session.__init__

    def count(self: Session) -> None:
        found.append(self)
        begin(self)

    monkeypatch.setattr(Session, "__init__", count)
    return found


async def test_one_session_looks_at_all_lines_of_a_plan(ctx: Ctx, opened: list[Session]) -> None:
    tool = QueryTool()
    await tool.brief(ctx)
    opened.clear()
    for at in range(6):
        args = {"sql": f"SELECT region, sum(amount) AS total{at} FROM sales GROUP BY region"}
        assert await tool.check(args, ctx) == []
        assert await tool.shape(args, ctx) == {"region": "VARCHAR", f"total{at}": "HUGEINT"}
    assert await tool.check({"sql": "SELECT nothing FROM sales"}, ctx) != []
    assert len(opened) == 1


async def test_what_one_statement_declared_is_unknown_to_the_next(ctx: Ctx) -> None:
    tool = QueryTool()
    bound = Bound("SELECT total FROM $1", {"$1": Pending("$1", {"total": "DOUBLE"})})
    assert await tool.shape({"sql": bound}, ctx) == {"total": "DOUBLE"}
    other = Bound("SELECT * FROM $1", {"$1": Pending("$1", {"name": "VARCHAR"})})
    assert await tool.shape({"sql": other}, ctx) == {"name": "VARCHAR"}
    (ctx.workspace / "sales.csv").write_text("region,profit\nnorth,10\n")
    assert await tool.shape({"sql": "SELECT * FROM sales"}, ctx) == {"region": "VARCHAR", "profit": "BIGINT"}


async def test_results_that_are_there_are_looked_at_in_a_session_of_their_own(ctx: Ctx) -> None:
    tool = QueryTool()
    assert await tool.check({"sql": "SELECT region FROM sales"}, ctx) == []
    bound = Bound("SELECT n + 1 AS more FROM $1", {"$1": [{"n": 1}]})
    assert await tool.check({"sql": bound}, ctx) == []
    assert await tool.shape({"sql": bound}, ctx) == {"more": "BIGINT"}


async def test_links_read_a_table_once(ctx: Ctx, opened: list[Session]) -> None:
    rows = "".join(f"place {at},{at}\n" for at in range(60))
    (ctx.workspace / "places.csv").write_text(f"name,size\n{rows}")
    tool = QueryTool()
    first = await tool.links("How large is place 41?", ctx)
    assert "'place 41' is in places.name" in first
    opened.clear()
    assert await tool.links("How large is place 41?", ctx) == first
    assert "'place 7' is in places.name" in await tool.links("How large is place 7?", ctx)
    assert opened == []


def test_a_stopped_session_is_not_lent_again() -> None:
    spare = Spare()
    with spare.lend() as first:
        first.declare("a", {"x": "BIGINT"})
    with spare.lend() as again:
        assert again is first
        with pytest.raises(SqlError, match="does not exist"):
            again.run("SELECT * FROM a")
        again.interrupt()
    with spare.lend() as fresh:
        assert fresh is not first and fresh.run("SELECT 1").rows == [(1,)]


def test_two_at_once_have_a_session_each() -> None:
    spare, both, seen = Spare(), Barrier(2, timeout=20), list[Session]()

    def borrow() -> None:
        with spare.lend() as session:
            seen.append(session)
            both.wait()
            assert session.run("SELECT 1").rows == [(1,)]

    threads = [Thread(target=borrow) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, seen))) == 2


async def test_a_check_that_is_late_is_ended_and_its_session_not_lent(
    ctx: Ctx, monkeypatch: pytest.MonkeyPatch, opened: list[Session]
) -> None:
    tool = QueryTool()
    assert await tool.check({"sql": "SELECT region FROM sales"}, ctx) == []
    monkeypatch.setattr(tables, "TIMEOUT", 0.0)
    with pytest.raises(tables.ToolTimeout):
        await tool.check({"sql": "SELECT region FROM sales"}, ctx)
    monkeypatch.setattr(tables, "TIMEOUT", 60.0)
    assert await tool.check({"sql": "SELECT region FROM sales"}, ctx) == []
