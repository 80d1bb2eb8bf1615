"""In-memory approvals that keep the Protocol's promises, and short ways to say a call."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shuntyard.events import Event
from shuntyard.protocols import Ctx, Edited
from shuntyard.steps import Effect, Label, Step, StepKey, StepResult, ToolSpec

READ = ToolSpec(name="read_file", description="Text of a file.", parameters={}, paths=("path",))
WRITE = ToolSpec(name="write_file", description="Writes.", parameters={}, effect=Effect.WRITE, paths=("path",))
FETCH = ToolSpec(name="http_get", description="Fetches.", parameters={}, effect=Effect.EXTERNAL)
MOVE = ToolSpec(name="move", description="Moves.", parameters={}, effect=Effect.WRITE, paths=("paths", "to"))
SPECS = {spec.name: spec for spec in (READ, WRITE, FETCH, MOVE)}


class MemoryApprovals:
    def __init__(self) -> None:
        self.answers: dict[tuple[StepKey, str], Edited | bool | None] = {}
        self.asked: list[str] = []

    async def take(self, key: StepKey, digest: str) -> Edited | bool | None:
        return self.answers.get((key, digest))

    async def ask(
        self, key: StepKey, digest: str, tool: str, reason: str, preview: str, *, args: Mapping[str, Any] | None = None
    ) -> str:
        self.answers.setdefault((key, digest), None)
        self.asked.append(preview)
        return f"a{list(self.answers).index((key, digest)) + 1}"

    async def reopen(self, key: StepKey, digest: str) -> None:
        self.answers[(key, digest)] = None


class Calls:
    """The end of the road: notes what arrives."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    async def __call__(self, step: Step, ctx: Ctx) -> StepResult:
        self.steps.append(step)
        return StepResult(value="done")


def step(tool: str, node: str = "n1", /, labels: dict[str, Label] | None = None, **args: Any) -> Step:
    spec = SPECS.get(tool)
    effect = spec.effect if spec else Effect.READ
    return Step(StepKey("r1", 0, node), "tool", tool, args=args, effect=effect, labels=labels or {})


def context(workspace: Path, events: list[Event] | None = None) -> Ctx:
    seen = [] if events is None else events
    return Ctx(run="r1", workspace=workspace.resolve(), emit=seen.append)
