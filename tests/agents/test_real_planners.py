"""Each planner on the real 1.5B model, over two small tools, so that its prompt is short."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shuntyard import Agent, tool
from shuntyard.events import Event, StepDone
from shuntyard.settings import Settings

pytestmark = [pytest.mark.model, pytest.mark.timeout(400), pytest.mark.anyio]
MODEL = "qwen2.5-coder-1.5b"


@tool
def find_person(office: str) -> dict[str, str]:
    """Name, e-mail and phone of the person in an office.

    Args:
        office: The office, in small letters.
    """
    return {"name": f"the {office}", "email": f"{office.replace(' ', '.')}@yard.example", "phone": "0411"}


@tool
def ferry_count(harbour: str) -> int:
    """Number of ferries of a harbour today.

    Args:
        harbour: Name of the harbour.
    """
    return {"Ystad": 7, "Varberg": 4}.get(harbour, 0)


@tool(effect="external")
def send_mail(to: str, text: str) -> str:
    """Send an e-mail.

    Args:
        to: Address.
        text: The text.
    """
    return f"sent to {to}"


class Calls:
    """Model calls by role."""

    def __init__(self) -> None:
        self.roles: list[str] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, StepDone) and event.kind == "model":
            self.roles.append(event.name)

    def close(self) -> None:
        pass


@pytest.fixture
def agent(tmp_path: Path, pulled: Callable[[str], str]) -> Callable[..., Agent]:
    pulled(MODEL)

    def make(planner: str, *sinks: Any, memory: bool = False) -> Agent:
        made = {"home": tmp_path / "home", "workspace": tmp_path, "approve": ("*",), "memory": memory}
        settings = Settings.model_validate({**made, "planner": planner, "model": MODEL})
        return Agent([find_person, ferry_count, send_mail], settings=settings, builtin=False, sinks=sinks)

    return make


@pytest.mark.parametrize("planner", ["fill", "program"])
async def test_a_whole_plan_in_another_form(planner: str, agent: Callable[..., Agent]) -> None:
    result = await agent(planner).run("How many ferries does Ystad have today?")
    assert result.status == "done" and result.plan is not None
    assert ("ferry_count", {"harbour": "Ystad"}) in [(node.tool, dict(node.args)) for node in result.plan.nodes]
    assert "7" in result.answer


async def test_an_outline_finds_out_first(agent: Callable[..., Agent]) -> None:
    result = await agent("outline").run("Find out the number of ferries of Varberg.")
    assert result.status == "done" and "4" in result.answer


async def test_a_similar_task_is_done_without_planning(agent: Callable[..., Agent]) -> None:
    assert (await agent("dag", memory=True).run("How many ferries does Ystad have today?")).status == "done"
    calls = Calls()
    result = await agent("reuse", calls, memory=True).run("How many ferries does Varberg have today?")
    assert result.status == "done" and "4" in result.answer
    assert "compile" not in calls.roles and result.plan is not None and result.plan.origin == "memory"
