"""The seams: what the rooms promise one another without knowing one another.

``agents/`` hands implementations over. Every Protocol is small enough to be implemented by a user.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias

from .events import Event
from .messages import Completion, Message, ModelInfo, ModelRequest, Usage
from .moves import Move, Situation
from .steps import Hint, Limits, Node, Plan, Step, StepKey, StepResult, ToolSpec, Trajectory, Verdict

Emit: TypeAlias = Callable[[Event], None]
"""Takes an event at once; never blocks, never raises."""


@dataclass(slots=True)
class Ctx:
    """What travels beside every step of a run."""

    run: str
    workspace: Path
    """Absolute and resolved; tools do not leave it."""
    emit: Emit
    limits: Limits = field(default_factory=Limits)
    began: float = field(default_factory=time.time)
    """Unix time at which this process took the run up."""


Handler: TypeAlias = Callable[[Step, Ctx], Awaitable[StepResult]]
"""One floor of the pipeline. Returns failures as values; raises only when cancelled."""


Begin: TypeAlias = Callable[[], Awaitable[None]]
"""Writes that an effect begins, and starts the clock of the call."""


MAYBE = "maybe: "
"""Begins what a tool's check only doubts: worth one more try of the planner, no reason against the plan."""


class Model(Protocol):
    """Something that completes a conversation."""

    @property
    def info(self) -> ModelInfo:
        """What it is and costs."""

    async def complete(self, request: ModelRequest, *, on_text: Callable[[str], None] | None = None) -> Completion:
        """Answer. ``on_text`` receives text as it comes. Cancelling the call stops the generation.

        Raises ModelUnavailable when nobody answers, ContextTooLong before sending when it cannot fit.
        """

    async def count(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt that ``messages`` make, never fewer than will be billed."""


class ModelSource(Protocol):
    """A set of models that can be opened by name."""

    def infos(self) -> Sequence[ModelInfo]:
        """What could be opened here, without loading anything."""

    async def open(self, name: str) -> Model:
        """Open it; ModelUnavailable when it cannot answer now, UnknownName when it is not of this source."""


class Pacing(Protocol):
    """What calls of models take, before they are made."""

    def seconds(self, model: str, *, prompt: int, completion: int, cached: int = 0) -> float | None:
        """Return the seconds of one call; None where nobody knows. Loads no model.

        ``cached`` of the ``prompt`` tokens are known to the engine already.
        """


class Embedder(Protocol):
    """Text to vectors."""

    @property
    def id(self) -> str:
        """Name and hash; vectors of different ids are never compared."""

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Unit vectors, one per text, independent of the batch. Blocking: call it in a thread."""


class Tool(Protocol):
    """One typed callable."""

    @property
    def spec(self) -> ToolSpec:
        """Its description."""

    async def call(self, args: Mapping[str, Any], ctx: Ctx, step: Step) -> Any:
        """Run it with validated arguments and return JSON data. Raises ToolError, ToolRetry."""

    async def check(self, args: Mapping[str, Any], ctx: Ctx) -> list[str]:
        """Problems that can be seen before running; values still to come are ``Pending``."""


class Pending(NamedTuple):
    """Stands for an earlier result that a check cannot know yet."""

    ref: str
    """As written, e.g. ``$1.name``."""
    columns: Mapping[str, str] | None = None
    """Columns and their types of the rows that the call it refers to will give, where that is known."""


class Toolset(Protocol):
    """Tools by name, with what a planner should know of their surroundings."""

    def specs(self) -> Sequence[ToolSpec]:
        """Every tool, in a stable order."""

    async def call(self, step: Step, ctx: Ctx) -> Any:
        """Validate the arguments and run. Raises UnknownName, ArgumentsInvalid, ToolError."""

    async def check(self, tool: str, args: Mapping[str, Any], ctx: Ctx) -> list[str]:
        """Problems of a planned call, worded for a model: what is wrong, what exists instead; doubts behind MAYBE."""

    async def shape(self, tool: str, args: Mapping[str, Any], ctx: Ctx) -> Mapping[str, str] | None:
        """Columns and types of the rows that a planned call will give; None when it is not known, or no rows."""

    async def brief(self, ctx: Ctx) -> str:
        """What there is to work on (files, tables, columns, a few values), for the planner's prompt.

        The same for every task, so that a model's prefix stays warm; what concerns one task is in ``links``.
        """

    async def links(self, task: str, ctx: Ctx) -> str:
        """Where the names and values of ``task`` stand, for the planner's prompt; empty when nowhere."""


class Journal(Protocol):
    """What happened in a run, durably. Only ``record`` writes it."""

    async def recorded(self, run: str) -> Mapping[StepKey, Recorded]:
        """Every step of the run that left a trace, by key; the newest attempt of each."""

    async def intend(self, step: Step) -> None:
        """Write that an effect begins; durable when it returns."""

    async def commit(self, step: Step, result: StepResult) -> None:
        """Write the result and its settlements in one transaction; durable when it returns."""


class Recorded(NamedTuple):
    """A step's trace in the journal."""

    digest: str
    attempt: int
    result: StepResult | None
    """None: intended, outcome unknown; or its value is lost."""
    lost: str = ""
    """Why the value cannot be read any more; the step had finished."""
    written: float = 0.0
    """Unix time."""


class Amount(NamedTuple):
    """Money and tokens."""

    cost: Decimal
    """Dollars."""
    tokens: int


class Spending(NamedTuple):
    """What was spent, as a person reads it."""

    usage: Usage
    cost: Decimal
    """Dollars."""


class Ledger(Protocol):
    """Atomic rows of what a run has reserved and spent."""

    async def reserve(self, key: StepKey, ask: Amount, admit: Callable[[Amount], None]) -> str:
        """Reserve ``ask`` and return the reservation's id.

        ``admit`` is called with what would be committed (spent, reserved and ``ask``) inside the
        transaction; whatever it raises is raised here and nothing is reserved.
        """

    async def settle(self, reservation: str, spent: Amount) -> None:
        """Replace a reservation by what was spent, outside a journal commit."""

    async def spent(self, run: str) -> Amount:
        """Settled and still reserved amounts of a run together."""


class Gate(Protocol):
    """Judges calls."""

    async def judge(self, step: Step, spec: ToolSpec, ctx: Ctx) -> Verdict:
        """Decide on one call with its real values. An exception counts as deny."""

    async def review(self, plan: Plan, specs: Mapping[str, ToolSpec], ctx: Ctx) -> Mapping[str, Verdict]:
        """Decide on a plan before it runs, by node id, as far as literals tell."""


class Edited(NamedTuple):
    """Yes, with other arguments than the planned ones."""

    args: Mapping[str, Any]
    whole: bool = False
    """``args`` are all arguments of the call; otherwise those that differ."""
    by: str = "person"


class Approvals(Protocol):
    """Questions to people and their answers, kept with the run. Any number may be open, each with its own id."""

    async def take(self, key: StepKey, digest: str) -> Edited | bool | None:
        """Return what a person decided on exactly this call, None when nobody has.

        The answer that was taken stands: it cannot be changed while the run goes on, nor once the call was made.
        """

    async def ask(
        self, key: StepKey, digest: str, tool: str, reason: str, preview: str, *, args: Mapping[str, Any] | None = None
    ) -> str:
        """Put the question and return its id; the same question keeps its id. ``args`` are JSON for later checks."""

    async def reopen(self, key: StepKey, digest: str) -> None:
        """Forget an answer that cannot be carried out; the question is open again."""


class Approver(Protocol):
    """A person, or what stands for one, who can be asked now."""

    async def decide(self, step: Step, spec: ToolSpec, verdict: Verdict, preview: str) -> Edited | bool | None:
        """True to allow, False to deny, Edited to allow other arguments, None when nobody is there (the run waits).

        Edited arguments are checked and judged; when they are wrong the same question comes again, with the
        reason in front of ``verdict.reason``.
        """


class Recall(Protocol):
    """Earlier trajectories, findable again."""

    async def recall(self, task: str, catalogue: str, *, limit: int = 2) -> Sequence[Hint]:
        """Most similar finished tasks first."""

    async def learn(self, trajectory: Trajectory) -> None:
        """Keep a finished run."""


class Executor(Protocol):
    """Where the bodies of tool calls run: in this process, in a pool, on other machines.

    What it is given is data, never a closure: the step (tool, resolved arguments, key, effect) and the workspace.
    Recording, guarding, budgets and the clock stay with the caller.
    """

    async def run(self, step: Step, ctx: Ctx, begin: Begin) -> Any:
        """Await ``begin`` once, when nothing but the call itself is left to wait for; then make it, return its value.

        Cancelling ends the work itself where it runs in another process. Raises what the tool raised, with its code;
        WorkerDied when its process ended first, which says nothing about whether an effect has happened.
        """

    def where(self, tool: str) -> str:
        """Say for a person where the calls of ``tool`` run, and why there."""

    def close(self) -> None:
        """End every process that was started for it; it is not used again."""


class Sink(Protocol):
    """Receives every event of a run."""

    def __call__(self, event: Event) -> None:
        """Take one event; must not block."""

    def close(self) -> None:
        """Flush and end."""


class Planner(Protocol):
    """Words to a plan, at once or in several turns."""

    async def next(self, situation: Situation, *, model: Model, on_node: Callable[[Node], None] | None = None) -> Move:
        """Return a valid plan (a first one, or the one so far with more in it), a refusal, or an answer.

        ``on_node`` receives each node as it is written; it may be missing from, or different in, the plan.
        A planner holds no state of a run: what it must know again at its next turn is the move's ``memo``.

        Raises PlanInvalid when the repair rounds did not mend the plan.
        """
