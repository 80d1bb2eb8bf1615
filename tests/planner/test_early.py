"""A call starts when its line is written, while the model goes on writing: in virtual time."""

from collections.abc import Callable

import anyio
import pytest
import virtual
from yard import context

from shuntyard.events import Event
from shuntyard.messages import Completion, ModelRequest
from shuntyard.planner.compile import LineCompiler
from shuntyard.planner.schedule import Scheduler
from shuntyard.protocols import Ctx
from shuntyard.serving.scripted import ScriptedModel
from shuntyard.steps import Effect, Plan, Step, StepResult, ToolSpec

SOON = 0.010


def spec(name: str, effect: Effect) -> ToolSpec:
    parameters = {"type": "object", "properties": {"x": {}}, "required": ["x"], "additionalProperties": False}
    return ToolSpec(name=name, description=name, parameters=parameters, effect=effect)


SPECS = [spec("look", Effect.READ), spec("store", Effect.WRITE)]


class Stalling(ScriptedModel):
    """Says each part, then nothing for as many seconds as stand behind it; notes when each part was said."""

    def __init__(self, *parts: tuple[str, float]) -> None:
        super().__init__(["".join(text for text, _ in parts)])
        self.parts = parts
        self.said: list[float] = []

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> Completion:
        assert on_text is not None
        for text, pause in self.parts:
            self.said.append(anyio.current_time())
            on_text(text)
            await anyio.sleep(pause)
        return Completion(text="".join(text for text, _ in self.parts), model="stalling")


def play(model: Stalling) -> tuple[dict[str, float], dict[str, float], Plan]:
    """When each call started, when its result was there, and the plan."""
    starts: dict[str, float] = {}
    ends: dict[str, float] = {}
    events: list[Event] = []

    async def handle(step: Step, ctx: Ctx) -> StepResult:
        starts[step.key.path] = anyio.current_time()
        await anyio.sleep(0.5)
        ends[step.key.path] = anyio.current_time()
        return StepResult(value=f"result of {step.key.path}")

    async def go() -> Plan:
        async with Scheduler(handle, context(events=events), SPECS) as scheduler:
            plan = await LineCompiler(model, SPECS).compile("look at a and b, store it", on_node=scheduler.offer)
            results = await scheduler.finish(plan)
        assert all(result.ok for result in results.values())
        return plan

    return starts, ends, virtual.run(go)


def test_the_first_call_runs_while_the_model_is_silent() -> None:
    model = Stalling(('1. look(x="a")\n', 30), ('2. look(x="b")\n', 30), ("3. store(x=$1)\n", 0))
    starts, ends, plan = play(model)
    assert [node.id for node in plan.nodes] == ["n1", "n2", "n3"]
    assert starts["n1"] - model.said[0] <= SOON and starts["n2"] - model.said[1] <= SOON
    assert ends["n1"] < model.said[1], "the result is there before the next line"
    assert starts["n3"] >= model.said[2], "an effect waits for the whole plan"


def test_a_line_in_pieces_starts_its_call_with_its_last_piece() -> None:
    text = '1. look(x="a")\n2. look(x=$1)\n'
    model = Stalling(*((char, 0.05) for char in text))
    starts, _, _ = play(model)
    first, second = (model.said[at] for at, char in enumerate(text) if char == "\n")
    assert first <= starts["n1"] <= first + SOON
    assert second <= starts["n2"] <= second + SOON


def test_a_dependent_starts_with_its_parents_result_not_with_the_next_line() -> None:
    model = Stalling(('1. look(x="a")\n2. look(x=$1)\n', 60), ('3. look(x="b")\n', 0))
    starts, ends, _ = play(model)
    assert starts["n2"] == pytest.approx(ends["n1"], abs=SOON)
