import json
import time
from pathlib import Path

import pytest

from shuntyard.protocols import Ctx
from shuntyard.tools import Registry

pytestmark = pytest.mark.anyio


async def test_brief(registry: Registry, ctx: Ctx, workspace: Path) -> None:
    brief = await registry.brief(ctx)
    assert brief == await registry.brief(ctx)
    assert "sales (data/sales.csv, 3 rows): id int, shop text ['north', 'south'], state text ['paid', 'due']" in brief
    assert "day date 2024-01-02..2024-02-05, amount double" in brief
    assert "server_port int = 80" in brief and "setup_jobs (setup.json, jobs, 2 rows): n int" in brief
    assert 'app (app.log, 3 lines): line int, text text; begins "a ERROR one" / "b INFO two"' in brief
    assert "path text, folder text, top text, name text, extension text, bytes int, lines int" in brief
    (workspace / "keys.json").write_text(json.dumps({"api_key": "sk-12345", "password": "hunter2", "mode": "x"}))
    brief = await registry.brief(ctx)
    assert "sk-12345" not in brief and "hunter2" not in brief and "mode text = 'x'" in brief


async def test_brief_of_nothing_and_of_a_crowd(registry: Registry, ctx: Ctx, workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    empty = Ctx("run", tmp_path / "none", lambda event: None)
    assert "empty" in await registry.brief(empty)
    assert (await registry.check("query", {"sql": "select * from files"}, empty)) == []
    for number in range(2000):
        folder = workspace / "src" / f"part{number % 20}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"module{number}.{'py' if number % 4 else 'json'}").write_text("{}\n")
    start = time.monotonic()
    brief = await registry.brief(ctx)
    assert time.monotonic() - start < 2
    assert len(brief) < 4300 and "'.py' 1500" in brief and "'src' 2000" in brief and "module4" not in brief
    assert "sales (data/sales.csv" in brief


async def test_brief_is_short_for_many_and_wide_tables(registry: Registry, ctx: Ctx, workspace: Path) -> None:
    for number in range(60):
        header = ",".join(f"column_{number}_{index}" for index in range(30))
        (workspace / f"wide{number}.csv").write_text(header + "\n" + ",".join(["value"] * 30) + "\n")
    brief = await registry.brief(ctx)
    assert len(brief) < 4400 and "Further tables: " in brief
