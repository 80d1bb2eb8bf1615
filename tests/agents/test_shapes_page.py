"""The programs of docs/shapes.md do what the page says."""

import re
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from shuntyard import Agent
from shuntyard.planner.program import parse_program
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.settings import Settings

ROOT = Path(__file__).parents[2]
PROGRAMS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "shapes.md").read_text(), re.DOTALL)


def ran(text: str, home: Path) -> tuple[Any, Any]:
    folder = home / "data"
    copytree(ROOT / "examples" / "data", folder)
    settings = Settings(home=home / "home", workspace=folder, memory=False)
    agent = Agent(settings=settings, model=ScriptedModel(lambda request: "ANSWER: done."))
    plan = parse_program(text)
    return plan, agent.run_sync("look at the notes", plan=plan)


def test_every_shape_has_a_program() -> None:
    assert len(PROGRAMS) == 4


@pytest.mark.parametrize("at", range(4))
def test_a_program_of_the_page_runs(at: int, tmp_path: Path) -> None:
    plan, result = ran(PROGRAMS[at], tmp_path)
    assert result.status == "done", result
    values = {id: item.value for id, item in result.results.items() if item.ok}
    found = values[plan.answers[0]]
    if at == 0:
        assert [(turn["kilos"] > 45, turn["much"]) for turn in found].count((True, True)) == 1
        assert len(found) == len(values["n1"]) == 5
    if at == 1:
        assert found["litres"] == pytest.approx(1139.0625) and found["enough"]
    if at == 2:
        assert [turn["much"] for turn in found] == [False, True] and len(values["n1"]) == 5
    if at == 3:
        assert found and result.results["n3"].status in ("skipped", "done")
