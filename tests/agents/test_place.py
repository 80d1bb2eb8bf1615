"""Where a call stands in its run travels with it, and changes neither its record nor its digest."""

from pathlib import Path

import anyio
import pytest

from shuntyard.agents.calls import StepModel
from shuntyard.messages import Message, ModelInfo, ModelRequest, Place, Role
from shuntyard.protocols import Ctx
from shuntyard.steps import Step, StepKey, StepResult

ASKED = ModelRequest(messages=(Message(role="user", content="hello"),), role="compile", max_tokens=64)


def digest(request: ModelRequest) -> str:
    return Step(StepKey("r1", 0, "compile"), "model", "compile", request=request).digest


def test_the_place_is_not_part_of_what_is_asked() -> None:
    placed = ASKED.model_copy(update={"place": Place(run="r1", node="compile", arrived=1.5, priority=3)})
    assert placed.place is not None
    assert digest(placed) == digest(ASKED) == "eb0e610fb041bde49c699103", (
        "runs that were stopped find their answers by it"
    )
    assert "place" not in placed.model_dump()
    assert ModelRequest.model_validate(placed.model_dump()) == ASKED


@pytest.mark.parametrize(("role", "follows"), [("compile", True), ("replan", True), ("join", False)])
def test_every_call_of_a_run_says_where_it_stands(role: Role, follows: bool) -> None:
    seen: list[Step] = []

    async def handle(step: Step, ctx: Ctx) -> StepResult:
        seen.append(step)
        return StepResult(value={"text": "ok", "cached": True, "read": "in pages"})

    ctx = Ctx(run="r1", workspace=Path("/nowhere"), emit=lambda event: None, began=12.5)
    model = StepModel(handle, ctx, info=ModelInfo(name="m"))

    async def ask() -> None:
        for _ in range(2):
            answer = await model.complete(ASKED.model_copy(update={"role": role}))
            assert answer.cached and answer.read == "in pages"
        own = Place(run="other")
        await model.complete(ASKED.model_copy(update={"role": role, "place": own}))
        assert seen[-1].request is not None and seen[-1].request.place == own

    anyio.run(ask)
    places = [step.request.place for step in seen if step.request is not None]
    assert [place.node for place in places[:2] if place] == [role, f"{role}.2"]
    first = places[0]
    assert first is not None
    assert (first.run, first.arrived, first.follows) == ("r1", 12.5, follows)
    assert (first.priority > 1) is follows
