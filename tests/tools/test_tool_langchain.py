"""Real tools of LangChain, called as plans call them."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain_core.tools import InjectedToolCallId, StructuredTool, ToolException
from langchain_core.tools import tool as langchain_tool
from pydantic import BaseModel, Field

from shuntyard import Agent, PlanBuilder
from shuntyard.errors import UsageError
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.settings import Settings
from shuntyard.steps import Effect
from shuntyard.tools import LangChainTool, load_tools
from shuntyard.tools.langchain import is_langchain

pytestmark = pytest.mark.anyio


class Order(BaseModel):
    lamp: str = Field(description="Name of the lamp")
    count: int = Field(1, ge=1, description="How many")


@langchain_tool(args_schema=Order)
def price_of(lamp: str, count: int = 1) -> dict[str, Any]:
    """Price of lamps."""
    return {"lamp": lamp, "price": 12.5 * count}


@langchain_tool
async def shout(text: str) -> str:
    """Text in capitals."""
    return text.upper()


@langchain_tool
def broken(text: str) -> str:
    """Always fails."""
    raise ToolException(f"the shop is closed to {text}")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", workspace=tmp_path, memory=False)


async def ran(settings: Settings, *tools: Any, **calls: dict[str, Any]) -> Any:
    plan = PlanBuilder("t")
    for name, args in calls.items():
        getattr(plan, name)(**args)
    agent = Agent(tools=tools, settings=settings, model=ScriptedModel(lambda request: "ANSWER: done"), builtin=False)
    return await agent.run("t", plan=plan.build())


async def test_sync_async_and_schema_with_defaults(settings: Settings) -> None:
    tools = [LangChainTool(price_of, effect="read"), LangChainTool(shout, effect="read")]
    result = await ran(settings, *tools, price_of={"lamp": "hall", "count": 2}, shout={"text": "hi"})
    assert [each.value for each in result.results.values()] == [{"lamp": "hall", "price": 25.0}, "HI"]
    spec = tools[0].spec
    assert spec.parameters["required"] == ["lamp"]
    assert spec.parameters["properties"]["lamp"]["description"] == "Name of the lamp"


async def test_what_the_schema_forbids_is_never_called(settings: Settings) -> None:
    result = await ran(settings, LangChainTool(price_of, effect="read"), price_of={"lamp": "hall", "count": 0})
    assert result.failure is not None and "count" in result.failure.message


async def test_its_failure_is_told_in_its_words(settings: Settings) -> None:
    result = await ran(settings, LangChainTool(broken, effect="read"), broken={"text": "us"})
    (failed,) = result.results.values()
    assert failed.failure.message == "broken: the shop is closed to us"


async def test_what_it_does_is_not_known_so_a_person_is_asked(settings: Settings) -> None:
    assert LangChainTool(shout).spec.effect is Effect.EXTERNAL
    result = await ran(settings, shout, shout={"text": "hi"})
    assert result.status == "waiting"


def test_names_become_ours() -> None:
    def search(text: str) -> str:
        """Search."""
        return text

    assert LangChainTool(StructuredTool.from_function(search, name="Search the Web")).spec.name == "search_the_web"
    assert LangChainTool(StructuredTool.from_function(search, name="searchWeb")).spec.name == "search_web"
    assert LangChainTool(StructuredTool.from_function(search, name="x"), name="find").spec.name == "find"
    with pytest.raises(UsageError, match=r"'42'.*name="):
        LangChainTool(StructuredTool.from_function(search, name="42"))


def test_arguments_that_only_a_graph_can_give_are_refused() -> None:
    @langchain_tool
    def inside(text: str, call: Annotated[str, InjectedToolCallId]) -> str:
        """Needs its call."""
        return text + call

    with pytest.raises(UsageError, match=r"'inside' takes 'call'"):
        LangChainTool(inside)


def test_a_tools_file_may_hold_both_kinds(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from langchain_core.tools import tool as theirs\nfrom shuntyard import tool\n"
        '@theirs\ndef first(a: int) -> int:\n    "One."\n    return a\n'
        '@tool\ndef second(a: int) -> int:\n    "Two."\n    return a\n'
    )
    assert [each.spec.name for each in load_tools(str(tmp_path / "mine.py"))] == ["first", "second"]


def test_langchain_is_told_apart_without_being_imported() -> None:
    assert is_langchain(shout) and not is_langchain(object())
    code = (
        "import sys, shuntyard.tools.langchain as l; l.is_langchain(object()); print('langchain_core' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-P", "-c", code], text=True).strip() == "False"
