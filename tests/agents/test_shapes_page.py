"""The programs of docs/shapes.md do what the page says."""

import re
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from shuntyard import Agent, Plan, PlanBuilder
from shuntyard.planner.program import parse_program
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.settings import Settings

ROOT = Path(__file__).parents[2]
*PROGRAMS, BY_HAND = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "shapes.md").read_text(), re.DOTALL)


def ran(plan: Plan, home: Path) -> Any:
    folder = home / "data"
    copytree(ROOT / "examples" / "data", folder)
    settings = Settings(home=home / "home", workspace=folder, memory=False)
    agent = Agent(settings=settings, model=ScriptedModel(lambda request: "ANSWER: done."))
    return agent.run_sync("look at the notes", plan=plan)


def test_every_shape_has_a_program() -> None:
    assert len(PROGRAMS) == 4


@pytest.mark.parametrize("at", range(4))
def test_a_program_of_the_page_runs(at: int, tmp_path: Path) -> None:
    plan = parse_program(PROGRAMS[at])
    result = ran(plan, tmp_path)
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


@pytest.mark.parametrize("frost", [True, False])
def test_what_is_written_by_hand_on_the_page_runs(frost: bool, tmp_path: Path) -> None:
    names: dict[str, Any] = {"PlanBuilder": PlanBuilder}
    exec(BY_HAND if frost else BY_HAND.replace('"frost"', '"no such word"'), names)
    result = ran(names["plan"], tmp_path)
    assert result.status == "done", result
    values = {id: item.value for id, item in result.results.items() if item.ok}
    if frost:
        assert values["n2"] == values["n1"] != []
        assert all(item.status == "skipped" for id, item in result.results.items() if id not in ("n1", "n2", "n3"))
    else:
        found = values[names["found"].id]
        assert found[-1]["much"] and not any(turn["much"] for turn in found[:-1])
        assert values[names["litres"].id] == pytest.approx(1139.0625)
