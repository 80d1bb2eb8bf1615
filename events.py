"""Everything observable, as one union of plain values.

Progress display, JSONL, tracing and viewers are sinks of this stream; nothing else is printed.
Values of results are not in events (they may be large or secret): read them from the journal.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from .messages import Frozen, Role, Usage
from .steps import Decision, Failure, Hint, Node, Plan, RunStatus, Status, Verdict


class _Event(Frozen):
    run: str
    at: float
    """Unix time."""


class RunStarted(_Event):
    """A run began, or goes on after a stop."""

    type: Literal["run_started"] = "run_started"
    task: str
    resumed: bool = False


class Progress(_Event):
    """Something long is under way: a download, a model being loaded, a prompt being read."""

    type: Literal["progress"] = "progress"
    what: str
    done: float = 0.0
    total: float = 0.0
    """0 when unknown. Bytes for downloads, otherwise steps."""


class Recalled(_Event):
    """Earlier tasks that look like this one."""

    type: Literal["recalled"] = "recalled"
    hints: tuple[Hint, ...]


class Chosen(_Event):
    """How the run is planned."""

    type: Literal["chosen"] = "chosen"
    planner: str
    reason: str = ""
    """Why, where no person named the planner."""


class TextDelta(_Event):
    """Generated text while it comes."""

    type: Literal["text_delta"] = "text_delta"
    role: Role
    text: str


class NodePlanned(_Event):
    """A line of the plan is complete and valid by itself; the node may start if it only reads."""

    type: Literal["node_planned"] = "node_planned"
    node: Node


class Planned(_Event):
    """The whole plan is written and valid."""

    type: Literal["planned"] = "planned"
    plan: Plan
    repairs: int = 0


class Repaired(_Event):
    """A plan was sent back to the model with these problems."""

    type: Literal["repaired"] = "repaired"
    problems: tuple[str, ...]


class Guarded(_Event):
    """The guard decided on a call."""

    type: Literal["guarded"] = "guarded"
    path: str
    tool: str
    verdict: Verdict


class ApprovalAsked(_Event):
    """A call waits for a person."""

    type: Literal["approval_asked"] = "approval_asked"
    approval: str
    """Id for ``shuntyard approve``."""
    path: str
    tool: str
    reason: str
    preview: str
    """The arguments, redacted and shortened."""


class Routed(_Event):
    """The router placed a model call."""

    type: Literal["routed"] = "routed"
    path: str
    role: Role
    decision: Decision


class FellBack(_Event):
    """A model did not answer and the next one is tried."""

    type: Literal["fell_back"] = "fell_back"
    path: str
    model: str
    to: str
    reason: str


class Spent(_Event):
    """What the run has spent so far."""

    type: Literal["spent"] = "spent"
    cost: Decimal
    usage: Usage
    reserved: Decimal = Decimal(0)


class StepStarted(_Event):
    """A node or model call is on its way."""

    type: Literal["step_started"] = "step_started"
    path: str
    name: str
    kind: Literal["tool", "model"]
    attempt: int = 1


class StepDone(_Event):
    """A node or model call came back."""

    type: Literal["step_done"] = "step_done"
    path: str
    name: str
    kind: Literal["tool", "model"]
    status: Status
    seconds: float = 0.0
    cost: Decimal = Decimal(0)
    usage: Usage = Usage()
    failure: Failure | None = None
    replayed: bool = False
    summary: str = ""
    """The value in at most 80 characters, redacted."""


class Speculated(_Event):
    """It is known whether a read that was started before its condition was known is needed."""

    type: Literal["speculated"] = "speculated"
    path: str
    tool: str
    needed: bool
    seconds: float
    """Saved when it is needed, else wasted."""


class Replanned(_Event):
    """The results were not enough; the plan is extended."""

    type: Literal["replanned"] = "replanned"
    revision: int
    reason: str


class Answered(_Event):
    """The answer is known."""

    type: Literal["answered"] = "answered"
    text: str


class RunDone(_Event):
    """The run ended or stopped."""

    type: Literal["run_done"] = "run_done"
    status: RunStatus
    answer: str = ""
    seconds: float = 0.0
    cost: Decimal = Decimal(0)
    usage: Usage = Usage()
    failure: Failure | None = None


Event = Annotated[
    RunStarted
    | Progress
    | Recalled
    | Chosen
    | TextDelta
    | NodePlanned
    | Planned
    | Repaired
    | Guarded
    | ApprovalAsked
    | Routed
    | FellBack
    | Spent
    | StepStarted
    | StepDone
    | Speculated
    | Replanned
    | Answered
    | RunDone,
    Field(discriminator="type"),
]


def read_event(line: str | bytes) -> Event:
    """Read one JSONL line back into its event; pydantic.ValidationError when it is none."""
    adapter: TypeAdapter[Event] = TypeAdapter(Event)
    return adapter.validate_json(line)
