"""Plans taken over from earlier tasks, as the planner does it: checked, and never more trusted than memory is."""

from collections.abc import Mapping
from typing import Any

import pytest
from gbnf import accepts

from shuntyard.moves import Situation
from shuntyard.planner.kit import Kit
from shuntyard.planner.lines import parse_line
from shuntyard.planner.planners import FillPlanner
from shuntyard.planner.reuse import ReusePlanner
from shuntyard.protocols import MAYBE
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.steps import Hint, Node, Plan, ToolSpec

pytestmark = pytest.mark.anyio
SQL = "SELECT count(*) FROM lamps WHERE room = 'hall'"
OLD, NEW = "How many lamps are in 'hall'?", "How many lamps are in 'attic'?"
SPEC = ToolSpec(
    name="query",
    description="Rows of a SELECT.",
    parameters={"type": "object", "properties": {"sql": {"type": "string"}}, "required": ["sql"]},
    binds=("sql",),
)


def hint(similarity: float = 0.9, **more: Any) -> Hint:
    node = parse_line(f'1. query(sql="{SQL}")')
    assert isinstance(node, Node)
    return Hint(run="r1", task=OLD, plan=Plan(task=OLD, nodes=(node,)), similarity=similarity, **more)


async def planned(model: ScriptedModel, task: str = NEW, *problems: str, found: Hint | None = None) -> Plan:
    async def check(tool: str, args: Mapping[str, Any]) -> list[str]:
        return [problem for problem in problems if "attic" in str(args.get("sql"))]

    planner = ReusePlanner(Kit([SPEC], check=check))
    move = await planner.next(Situation(task=task, hints=(found or hint(),)), model=model)
    assert not move.again
    return move.plan


async def test_it_is_no_more_trusted_than_memory() -> None:
    heard: list[Node] = []
    situation = Situation(task=NEW, hints=(hint(),))
    move = await ReusePlanner(Kit([SPEC])).next(situation, model=ScriptedModel([]), on_node=heard.append)
    (node,) = move.plan.nodes
    assert node.args == {"sql": SQL.replace("hall", "attic")} and node.sources == {"sql": "memory"}
    assert move.plan.origin == "memory" and heard == [node]


@pytest.mark.parametrize("problem", ["there is no room attic", f"{MAYBE}no lamp has that room"])
async def test_what_a_check_only_doubts_is_written_anew(problem: str) -> None:
    model = ScriptedModel(['1. query(sql="SELECT 0")\nreturn $1\n'] * 2)
    plan = await planned(model, NEW, problem)
    assert plan.origin == "model" and plan.nodes[0].args == {"sql": "SELECT 0"}


async def test_an_exact_one_may_be_doubtful_as_ever() -> None:
    found = hint(exact=True).model_copy(update={"task": NEW})
    assert (await planned(ScriptedModel([]), OLD, f"{MAYBE}odd", found=found)).origin == "memory"


async def test_what_is_not_alike_enough_is_not_asked_for_values() -> None:
    model = ScriptedModel(["1. query(sql=\"SELECT 'attic'\")\nreturn $1\n"])
    await planned(model, "The lamps of 'attic', how many?", found=hint(0.6))
    assert len(model.requests) == 1 and "EARLIER TASKS" in model.requests[0].messages[-1].content


async def test_only_values_can_be_written_where_values_are_asked_for() -> None:
    model = ScriptedModel(['v1 = "attic"'])
    plan = await planned(model, "The lamps of 'attic', how many are there?")
    assert plan.nodes[0].args == {"sql": SQL.replace("hall", "attic")}
    grammar = model.requests[0].grammar or ""
    assert accepts(grammar, 'v1 = "attic"') and accepts(grammar, "different")
    assert not accepts(grammar, 'v2 = "attic"') and not accepts(grammar, "v1 = attic")


async def test_the_two_stages_see_the_data() -> None:
    model = ScriptedModel(["1. query: lamps\ndone", "1. query(sql=\"SELECT 'attic'\")\n"])
    situation = Situation(task=NEW, brief="- lamps: room text", links="- 'attic' is in lamps.room")
    await FillPlanner(Kit([SPEC])).next(situation, model=model)
    for request in model.requests:
        assert request.messages[-1].content.startswith("DATA\n- lamps: room text\n\nNAMES IN THE TASK\n- 'attic'")
