"""Bound texts travel beside the other arguments, which must not get lost on the way."""

from pathlib import Path

import pytest

from shuntyard.protocols import Ctx
from shuntyard.settings import Settings
from shuntyard.steps import Bound, Step, StepKey
from shuntyard.tools.builtin import builtin_tools
from shuntyard.tools.registry import Registry

pytestmark = pytest.mark.anyio


async def test_arguments_beside_a_bound_one_arrive(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\n1\n2\n")
    registry = Registry(builtin_tools(Settings()))
    ctx = Ctx(run="r", workspace=tmp_path, emit=lambda event: None)

    async def call(name: str, **args: object) -> object:
        return await registry.call(Step(StepKey("r", 0, "n1"), "tool", name, args=args), ctx)

    assert await call("choose", condition=Bound("$1 > 2", {"$1": 5}), yes="more", no=["less"]) == "more"
    assert await call("query", sql=Bound("SELECT a FROM t WHERE a > $1", {"$1": 0}), form="list") == [1, 2]
