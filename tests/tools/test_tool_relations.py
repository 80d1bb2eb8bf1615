from pathlib import Path

import pytest

from shuntyard.protocols import Ctx
from shuntyard.settings import Settings
from shuntyard.tools.builtin import builtin_tools
from shuntyard.tools.registry import Registry

pytestmark = pytest.mark.anyio


@pytest.fixture
def ctx(tmp_path: Path) -> Ctx:
    (tmp_path / "reads.csv").write_text("place,owner_id,litres\nA,1,3\nB,2,4\nA,2,5\n")
    (tmp_path / "places.csv").write_text("code,height\nA,10\nB,20\nC,30\n")
    (tmp_path / "owner.csv").write_text("id,name\n1,Ida\n2,Lo\n3,Mo\n")
    return Ctx(run="r", workspace=tmp_path, emit=lambda event: None)


async def test_the_brief_says_how_tables_join(ctx: Ctx) -> None:
    brief = await Registry(builtin_tools(Settings())).brief(ctx)
    [line] = [line for line in brief.splitlines() if "join ON" in line]
    assert "reads.place = places.code" in line and "reads.owner_id = owner.id" in line
    assert "height" not in line and "litres" not in line


async def test_a_missing_column_is_found_in_another_table(ctx: Ctx) -> None:
    sql = "SELECT sum(litres) FROM reads WHERE height > 10"
    [problem] = await Registry(builtin_tools(Settings())).check("query", {"sql": sql}, ctx)
    assert "height is a column of places: add JOIN places ON reads.place = places.code" in problem
