from pathlib import Path

import pytest

from shuntyard.protocols import Ctx
from shuntyard.settings import Settings
from shuntyard.steps import Step, StepKey
from shuntyard.tools.builtin import builtin_tools
from shuntyard.tools.logs import is_log
from shuntyard.tools.registry import Registry

pytestmark = pytest.mark.anyio

LOG = """2024-06-01T00:05:09Z ERROR [lift] door stuck floor=3 ms=120
2024-06-01 00:06:00,120 warn lift slow floor=4 ms=90
[2024-06-02 10:00:00] [INFO] lift: ready floor=1 ms=7
  at once more
2024-06-03 INFO no time of day
"""


@pytest.mark.parametrize(
    ("sample", "log"),
    [(LOG * 1, False), ("".join(LOG.splitlines(True)[:3]), True), ("a\nb\nc\n", False), ("", False)],
)
def test_what_a_log_is(sample: str, log: bool) -> None:
    assert is_log(sample) is log


async def test_a_log_has_columns(tmp_path: Path) -> None:
    (tmp_path / "lift.log").write_text("".join(LOG.splitlines(True)[:3]) * 10 + "  and more\n")
    (tmp_path / "notes.txt").write_text("a\nb\nc\n")
    registry = Registry(builtin_tools(Settings()))
    ctx = Ctx(run="r", workspace=tmp_path, emit=lambda event: None)

    async def query(sql: str) -> object:
        return await registry.call(Step(StepKey("r", 0, "n1"), "tool", "query", args={"sql": sql}), ctx)

    counted = "SELECT level, source, sum(ms) AS ms FROM lift WHERE level = 'ERROR' GROUP BY ALL"
    assert await query(counted) == [{"level": "ERROR", "source": "lift", "ms": 1200}]
    assert await query("SELECT count(*) FROM lift WHERE at >= '2024-06-02' AND floor = 1") == 10
    assert await query("SELECT DISTINCT message FROM lift WHERE level = 'WARN'") == "slow floor=4 ms=90"
    assert await query("SELECT text FROM lift WHERE level IS NULL") == "  and more"
    assert await query("SELECT count(*) FROM notes WHERE text LIKE 'b'") == 1
    brief = await registry.brief(ctx)
    assert "level text ['" in brief and "'ERROR'" in brief and "line int, text text; begins" in brief
