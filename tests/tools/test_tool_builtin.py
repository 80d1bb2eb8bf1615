from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from shuntyard.errors import ToolError
from shuntyard.settings import Settings
from shuntyard.steps import Effect
from shuntyard.tools import Registry, builtin_tools

Call = Callable[..., Awaitable[Any]]
pytestmark = pytest.mark.anyio


def test_specs_are_short_described_and_valid() -> None:
    specs = Registry(builtin_tools(Settings(allow_http=("example.org",)))).specs()
    effects = {spec.name: spec.effect for spec in specs}
    assert [name for name, effect in effects.items() if effect is not Effect.READ] == [
        "write_file",
        "run_python",
        "http_get",
    ]
    assert {spec.name: spec.binds for spec in specs if spec.binds} == {
        "query": ("sql",),
        "calculator": ("expression",),
        "choose": ("condition", "yes", "no"),
    }
    for spec in specs:
        Draft202012Validator.check_schema(spec.parameters)
        assert len(spec.description) < 200
        assert all("description" in schema for schema in spec.parameters["properties"].values()), spec.name


async def test_now(call: Call) -> None:
    assert datetime.fromisoformat(await call("now")).utcoffset() is not None
    assert (await call("now", timezone="Asia/Tokyo")).endswith("+09:00")
    for zone in ("Mars/Base", "../etc/passwd", "", "/etc/localtime"):
        with pytest.raises(ToolError, match="no time zone"):
            await call("now", timezone=zone)


async def test_text_stats(call: Call) -> None:
    assert await call("text_stats", text="The cat. The dog's 3.5 toys!\nOh", top=1) == {
        "characters": 31,
        "words": 8,
        "lines": 2,
        "sentences": 3,
        "common": [{"word": "the", "count": 2}],
    }
    assert await call("text_stats", text=["a b", "c"]) == await call("text_stats", text="a b\nc")
    assert (await call("text_stats", text=""))["words"] == 0
