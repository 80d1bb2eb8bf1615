import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from shuntyard.protocols import Ctx
from shuntyard.settings import Settings
from shuntyard.steps import Step, StepKey
from shuntyard.tools import Registry, builtin_tools

Call = Callable[..., Awaitable[Any]]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = tmp_path / "work"
    (root / "data").mkdir(parents=True)
    (root / "data" / "sales.csv").write_text(
        "id,shop,state,day,amount\n1,north,paid,2024-01-02,3.1\n2,south,due,2024-02-03,4.2\n3,north,paid,2024-02-05,0.1\n"
    )
    (root / "setup.json").write_text(
        json.dumps({"server": {"port": 80, "host": "alpha"}, "tags": ["x", "y"], "jobs": [{"n": 1}, {"n": 2}]})
    )
    (root / "app.log").write_text("a ERROR one\nb INFO two\nc error three")
    (root / "notes.md").write_text("# Notes\n\nBuy milk.\n")
    return root


@pytest.fixture
def ctx(workspace: Path) -> Ctx:
    return Ctx("run", workspace.resolve(), lambda event: None)


@pytest.fixture
def registry() -> Registry:
    return Registry(builtin_tools(Settings()))


@pytest.fixture
def call(registry: Registry, ctx: Ctx) -> Call:
    async def run(name: str, /, **args: Any) -> Any:
        return await registry.call(Step(StepKey("run", 0, "n1"), "tool", name, args), ctx)

    return run
