"""A handler that writes down what the scheduler does, and plans to give it."""

from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import strategies as st

from shuntyard.errors import ToolRetry, ToolTimeout
from shuntyard.events import Event
from shuntyard.planner.schedule import Scheduler
from shuntyard.protocols import Ctx
from shuntyard.steps import Effect, Failure, Limits, Plan, Status, Step, StepResult, ToolSpec

pytestmark = pytest.mark.anyio
SPECS = [
    ToolSpec(name="read", description="", parameters={"type": "object", "properties": {}}),
    ToolSpec(name="write", description="", parameters={"type": "object", "properties": {}}, effect=Effect.WRITE),
]


def ref(text: str) -> dict[str, str]:
    return {"$ref": text}


def plan(*nodes: dict[str, Any], task: str = "t") -> Plan:
    numbered = [{"id": f"n{at + 1}", "tool": "read", **node} for at, node in enumerate(nodes)]
    return Plan.model_validate({"task": task, "nodes": numbered})


def context(*, concurrency: int = 16, events: list[Event] | None = None, speculate: float = 2.0) -> Ctx:
    heard: list[Event] = [] if events is None else events
    limits = Limits(concurrency=concurrency, speculate=speculate)
    return Ctx(run="r", workspace=Path("/nowhere"), emit=heard.append, limits=limits)


class Yard:
    """A handler that does what ``args`` say and writes down when."""

    def __init__(self) -> None:
        self.starts: list[str] = []
        self.ends: list[str] = []
        self.steps: list[Step] = []
        self.now = 0
        self.most = 0

    async def __call__(self, step: Step, ctx: Ctx) -> StepResult:
        path = step.key.path
        self.starts.append(path)
        self.steps.append(step)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await anyio.sleep(step.args.get("sleep", 0))
            value = await self.act(step)
        finally:
            self.now -= 1
        self.ends.append(path)
        return value if isinstance(value, StepResult) else StepResult.model_validate({"value": value})

    async def act(self, step: Step) -> Any:
        fail = step.args.get("fail")
        if fail == "raise":
            raise RuntimeError("boom")
        if fail == "retry" and step.attempt <= step.args.get("times", 1):
            raise ToolRetry("again, please")
        if fail == "hang":
            try:
                with anyio.fail_after(step.timeout):
                    await anyio.sleep_forever()
            except TimeoutError:
                raise ToolTimeout("too slow") from None
        if "status" in step.args:
            return StepResult(status=step.args["status"], failure=Failure(code="x", message="because", exit_code=5))
        return step.args.get("value", path_of(step))


def path_of(step: Step) -> str:
    return step.key.path


async def run(*nodes: dict[str, Any], yard: Yard | None = None, **more: Any) -> dict[str, StepResult]:
    with anyio.fail_after(10):
        return await Scheduler(yard or Yard(), context(**more), SPECS).run(plan(*nodes))


def statuses(results: dict[str, StepResult]) -> dict[str, Status]:
    return {id: result.status for id, result in sorted(results.items())}


def args(**values: Any) -> dict[str, Any]:
    return {"args": values}


# --- order ---------------------------------------------------------------------------------------


@st.composite
def dags(draw: st.DrawFn) -> Plan:
    size = draw(st.integers(1, 25))
    nodes = []
    for at in range(size):
        earlier = [f"n{i + 1}" for i in range(at)]
        used = draw(st.lists(st.sampled_from(earlier), max_size=3, unique=True)) if earlier else []
        after = draw(st.lists(st.sampled_from(earlier), max_size=2, unique=True)) if earlier else []
        sleep = draw(st.sampled_from([0, 0, 0.001, 0.003]))
        nodes.append({"args": {"in": [ref(id) for id in used], "add": at, "sleep": sleep}, "after": after})
    return plan(*nodes)


class Adding(Yard):
    async def act(self, step: Step) -> Any:
        return sum(step.args["in"]) + step.args["add"]


def sequential(dag: Plan) -> dict[str, int]:
    values: dict[str, int] = {}
    for node in dag.nodes:
        used: Any = node.args["in"]
        values[node.id] = sum(values[one["$ref"]] for one in used) + int(str(node.args["add"]))
    return values
