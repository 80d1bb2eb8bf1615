"""The programs of examples/ do what they say."""

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
from servers import ScriptedServer

from shuntyard.settings import RemoteModel, load

EXAMPLES = Path(__file__).parents[2] / "examples"


def program(name: str) -> Callable[..., str]:
    main: Callable[..., str] = runpy.run_path(str(EXAMPLES / name))["main"]
    return main


PLAN = '1. query(sql="SELECT crop FROM crops ORDER BY price_per_kg DESC LIMIT 1")\n'


def test_plan_by_hand_writes_its_file() -> None:
    with ScriptedServer(["Written."]) as server:
        remote = RemoteModel(url=server.url, model="scripted")
        text = program("plan_by_hand.py")(load({"models": {"there": remote}, "model": "there"}))
    assert text.startswith("kg per m2: 2.28")


def test_remote_model_is_asked_and_paid() -> None:
    with ScriptedServer([PLAN, "It is spinach."]) as server:
        text = program("remote_model.py")(server.url, "scripted")
    assert "spinach" in text
    assert "(done" in text
    assert "$0.0" in text
    assert server.requests


@pytest.mark.model
@pytest.mark.timeout(300)
def test_sdk_answers_with_a_tool_of_its_own() -> None:
    text = program("sdk.py")(load({"workspace": EXAMPLES / "data", "model": "qwen2.5-coder-1.5b"}))
    assert "(done" in text
    assert "25.35" in text
