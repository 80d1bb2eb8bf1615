"""Task, Plan, Node, Step and their results: what is planned, what travels the road, what is kept.

A ``Plan`` is data that memory stores and guards authorise. A ``Step`` is one attempt at one node (or one model call) on
its way through ``record(guard(budget(dispatch)))``; it is not stored, its key and digest are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, JsonValue, model_validator

from .estimates import Prediction
from .labels import Label as Label
from .labels import Source as Source
from .messages import Frozen, ModelRequest, Usage


class Effect(StrEnum):
    """What a tool does to the world; decides when it may start and what a crash means."""

    READ = "read"
    """Changes nothing: may start while the plan is written, may be repeated."""
    WRITE = "write"
    """Changes the workspace: waits for the authorised plan, at most once."""
    EXTERNAL = "external"
    """Reaches beyond this machine or runs arbitrary code: as WRITE, and outside any undo."""


class ToolSpec(Frozen):
    """All that a planner, a guard and a person need to know of a tool."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    description: str
    """One or two sentences for the model and the person; the first says what the result is."""
    parameters: dict[str, Any]
    """JSON schema of an object; order of properties is the order of writing."""
    returns: dict[str, Any] | None = None
    effect: Effect = Effect.READ
    idempotent: bool = False
    """Doing it twice equals doing it once: a node in doubt is simply run again."""
    binds: tuple[str, ...] = ()
    """Parameters that take a ``Bound`` for earlier results: values travel beside the text, never inside it."""
    paths: tuple[str, ...] = ()
    """Parameters that are paths in the workspace; the guard judges them resolved."""
    seconds: float = 0.05
    """Typical duration, for predictions."""
    cost: Decimal = Decimal(0)
    """Dollars per call."""
    timeout: float = 60.0
    """Seconds after which a call is given up."""
    stability: Literal["pure", "stable", "fresh"] = "fresh"
    """What an equal call gives. ``pure``: the same, always. ``stable``: the same until an effect changes
    something. ``fresh``: perhaps something else (a clock, chance, a model); such calls are never merged."""
    batches: str = ""
    """Parameter that takes one value or a list of them; for a list the result is the list of results, in order."""
    resource: Annotated[str, Field(pattern=r"^([a-z][a-z0-9_]{0,63})?$")] = ""
    """What its calls use up together with those of other tools (``cpu``, ``network``); a run may limit it by name."""
    limit: Annotated[int, Field(gt=0)] | None = None
    """At most this many calls at once in a run; a run's own limit for it can only be lower."""


class NodePolicy(Frozen):
    """What happens when a node is slow or fails."""

    timeout: Annotated[float, Field(gt=0)] | None = None
    """Seconds; None takes the tool's own."""
    retries: Annotated[int, Field(ge=0, le=10)] = 1
    """Further attempts after a retryable failure (ToolRetry, timeout of a read)."""
    on_failure: Literal["isolate", "stop", "substitute", "ask"] = "isolate"
    """What a failure that stands after all attempts means. What has finished or runs is kept in every case.

    ``isolate``: the node's dependents are cancelled before they start (``skipped``), all others go on. ``stop``: too,
    and nothing more starts. ``substitute``: ``substitute`` takes the place of the value (in a map, of the failed
    element's) and dependents go on. ``ask``: dependents wait for a person; the run ends ``waiting`` when the others are
    through, and resuming it tries again."""
    substitute: JsonValue = None
    """A literal value; the failure stays on the result and the value's label says what it is."""

    @model_validator(mode="after")
    def _used(self) -> NodePolicy:
        if self.substitute is not None and self.on_failure != "substitute":
            raise ValueError(
                f"substitute = {self.substitute!r} is never used with on_failure = {self.on_failure!r}; "
                "set on_failure to 'substitute', or leave it out."
            )
        return self


class Node(Frozen):
    """One typed tool call of a plan, or a small plan of its own (``body``).

    ``args`` are JSON with three special objects: ``{"$ref": "n2.rows[0].name"}`` is an earlier result,
    ``{"$text": ["at most ", {"$ref": "n1"}]}`` is text around earlier results, and inside a node with
    ``over`` ``{"$ref": "item"}`` is the current element.
    """

    id: Annotated[str, Field(pattern=r"^n[1-9][0-9]*$")]
    tool: str = ""
    """Empty where ``body`` stands instead."""
    args: dict[str, JsonValue] = {}
    after: tuple[str, ...] = ()
    """Ids that must have finished first although nothing of them is used."""
    effect: Effect = Effect.READ
    """That of the tool; of a body, the gravest in it."""
    when: dict[str, JsonValue] | None = None
    """A ``$ref``; the node is skipped unless the value is true, non-zero, non-empty."""
    over: dict[str, JsonValue] | None = None
    """A ``$ref`` to a list; the node runs once per element and its value is the list of results."""
    policy: NodePolicy = NodePolicy()
    sources: dict[str, Source] = {}
    """Provenance of every literal, by its path in ``args`` (``sql``, ``rows[0].name``), or in ``start``."""
    body: Body | None = None
    """Calls that run in the place of one."""

    @property
    def ends(self) -> bool:
        """True when the plan ends once it is done."""
        return self.body is not None and self.body.ends


class Body(Frozen):
    """The small plan that a node runs in turns: one per element of ``over``, else one after another, at most ``most``.

    Ids are unique in the whole plan. Calls inside see one another and what stands before their node, others only the
    node; ``item`` is the element, ``last`` what the turn before gave. Turns over a list wait for one another only where
    a call refers to ``last`` or an ``until`` decides on effects.
    """

    nodes: tuple[Node, ...] = ()
    result: JsonValue = None
    """What a turn gives, with references; null where a condition skipped what they lead to. None: the last result."""
    until: dict[str, JsonValue] | None = None
    """A ``$ref``; after ``enough`` turns in which it is true, non-zero, non-empty there is no other."""
    enough: Annotated[int, Field(ge=1)] = 1
    most: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """The bound of a loop, whose value is that of its last turn; needed for an ``until`` without ``over``."""
    start: JsonValue = None
    """What ``last`` is in the first turn; may hold references."""
    pause: Annotated[float, Field(ge=0)] = 0.0
    """Seconds between two turns of a loop, in which it takes no worker."""
    unmet: Literal["fail", "keep"] = "fail"
    """What it means that a loop ends and ``until`` was not true: it failed, or its last turn counts all the same."""
    ends: bool = False
    """Once its node is done the plan ends: what is written after it and has not started is skipped."""


class Plan(Frozen):
    """A DAG of nodes in an order in which every reference points backwards."""

    task: str
    nodes: tuple[Node, ...]
    revision: int = 0
    refusal: str = ""
    """Set instead of nodes when no tool can do what is asked: why, in the planner's words."""
    origin: Literal["model", "memory", "person"] = "model"
    answers: tuple[str, ...] = ()
    """Ids whose results answer the task; empty: all that no other call uses."""

    def every(self) -> Iterator[Node]:
        """Every node, those of bodies behind the node that they belong to."""
        return inside(self.nodes)

    def node(self, id: str) -> Node:
        """Return the node called ``id``, also of a body; KeyError when there is none."""
        for node in self.every():
            if node.id == id:
                return node
        raise KeyError(id)


def inside(nodes: Iterable[Node]) -> Iterator[Node]:
    """``nodes``, each followed by those of its body, at any depth."""
    for node in nodes:
        yield node
        if node.body is not None:
            yield from inside(node.body.nodes)


class Verdict(Frozen):
    """What the guard says of one call, and why."""

    decision: Literal["allow", "deny", "ask", "revise"]
    rule: str
    """Name of the rule that decided."""
    reason: str
    args_digest: str = ""
    by: Literal["policy", "flag", "person"] = "policy"
    """Who turned an ``ask`` into this decision."""


class Decision(Frozen):
    """Why a model call went where it went."""

    model: str
    reason: str
    candidates: tuple[str, ...] = ()
    """In order of trial."""
    failed: tuple[str, ...] = ()
    """Candidates that were tried and did not answer, each with its reason after a colon."""


class Failure(Frozen):
    """An error as a value: a failed step is something that a join can talk about."""

    code: str
    message: str
    retryable: bool = False
    exit_code: int = 1


class Settlement(Frozen):
    """What a reservation really cost; written in the same transaction as the result."""

    reservation: str
    cost: Decimal
    tokens: int


Status = Literal["done", "failed", "skipped", "denied", "waiting", "spent", "doubt", "cancelled"]
"""``done`` and ``skipped`` are final. ``failed`` stays failed unless a resume of an ended run asks again. ``denied``,
``waiting``, ``spent``, ``doubt`` and ``cancelled`` did not run (or may not have) and are decided anew on resume."""


class StepResult(Frozen):
    """What came of a step. ``value`` is JSON; large values are the tool's to shorten."""

    status: Status = "done"
    value: JsonValue = None
    """Of what was skipped because the plan ended before: why."""
    failure: Failure | None = None
    label: Label = Label()
    usage: Usage = Usage()
    cost: Decimal = Decimal(0)
    seconds: float = 0.0
    started: float = 0.0
    """Unix time."""
    attempts: int = 1
    verdict: Verdict | None = None
    decision: Decision | None = None
    settlements: tuple[Settlement, ...] = ()
    replayed: bool = False
    """Read from the journal instead of run."""

    @property
    def ok(self) -> bool:
        """True when dependents may use the value."""
        return self.status == "done"

    @property
    def substituted(self) -> bool:
        """True when the value, or a part of it, is its policy's literal; ``failure`` says in place of what."""
        return self.status == "done" and self.failure is not None


class StepKey(NamedTuple):
    """A step's place in the journal. ``path``: ``n3``, ``n3[2]`` in a map, ``n3[2].n5`` in a body, or a model role."""

    run: str
    revision: int
    path: str

    def __str__(self) -> str:
        """``run:revision:path``, also the idempotency key that effects may pass on."""
        return f"{self.run}:{self.revision}:{self.path}"


@dataclass(frozen=True, slots=True)
class Bound:
    """Text that mentions earlier results by ``$1``-style names, with their values beside it."""

    text: str
    """As written by the planner, e.g. ``$1 - 4``."""
    values: Mapping[str, Any]
    """By name with the dollar sign: ``{"$1": 1200}``."""


async def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Step:
    """One attempt at one call, on its way through the pipeline."""

    key: StepKey
    kind: Literal["tool", "model"]
    name: str
    """Tool name, or the model role."""
    args: Mapping[str, Any] = field(default_factory=dict)
    """Resolved arguments: references replaced by values, bound texts by ``Bound``."""
    request: ModelRequest | None = None
    effect: Effect = Effect.READ
    idempotent: bool = False
    timeout: float | None = None
    attempt: int = 1
    labels: Mapping[str, Label] = field(default_factory=dict)
    """Provenance per argument."""
    model: str = ""
    """Set by the router: which model answers."""
    on_text: Callable[[str], None] | None = None
    """Receives generated text while it comes; a replayed answer arrives in one piece."""
    before_effect: Callable[[], Awaitable[None]] = _nothing
    """Set by ``record``; awaited by ``dispatch`` just before an effect begins."""

    @property
    def digest(self) -> str:
        """Hash of what would be called; the journal tells a changed node from the same one by it."""
        return digest_call(self.name, self.args if self.request is None else self.request.model_dump())


Assumption = Literal["done", "not-done", "failed"]
"""What a person says of a step whose outcome is in doubt, or whose failure was asked about."""


def digest_call(name: str, args: Mapping[str, Any]) -> str:
    """Return a stable hash of a call: same name and arguments, same digest, in any process."""
    text = _COMPACT.encode([name, args])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _plain(value: object) -> object:
    if isinstance(value, Bound):
        return {"$text": value.text, "values": dict(value.values)}
    return str(value)


_COMPACT = json.JSONEncoder(sort_keys=True, default=_plain, separators=(",", ":"))


class Limits(Frozen):
    """What a run may spend. None means no limit."""

    max_cost: Annotated[Decimal, Field(ge=0)] | None = None
    """Dollars."""
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    deadline: Annotated[float, Field(ge=0)] | None = None
    """Seconds from the start of this process's part of the run."""
    concurrency: Annotated[int, Field(gt=0)] = 16
    """Nodes running at once."""
    at_once: dict[str, Annotated[int, Field(gt=0)]] = {}
    """Calls running at once, by the name of a tool or of a resource that tools declare."""
    max_nodes: Annotated[int, Field(gt=0)] = 10_000
    """Calls of maps and bodies that a plan may come to while it runs, one by one; what is written has its own limit."""
    max_replans: Annotated[int, Field(ge=0)] = 1


class Hint(Frozen):
    """An earlier task offered to the planner."""

    run: str
    task: str
    plan: Plan
    similarity: float
    """0..1; 1 is the same task."""
    exact: bool = False
    """Same task text over the same tools: the plan may be used as it stands."""


class Trajectory(Frozen):
    """What a finished run leaves for later ones."""

    run: str
    task: str
    plan: Plan
    catalogue: str
    """Digest of the tool specs that the plan was made for."""
    outcome: Literal["done", "failed"]
    answer: str
    usage: Usage
    cost: Decimal


RunStatus = Literal["running", "done", "refused", "failed", "denied", "spent", "waiting", "doubt", "cancelled"]


class RunResult(Frozen):
    """What a person gets back from a run."""

    run: str
    task: str
    status: RunStatus
    answer: str = ""
    plan: Plan | None = None
    results: dict[str, StepResult] = {}
    """By node id, in the order of finishing."""
    usage: Usage = Usage()
    cost: Decimal = Decimal(0)
    seconds: float = 0.0
    hints: tuple[Hint, ...] = ()
    failure: Failure | None = None
    predicted: Prediction | None = None
    """What was expected of the plan before it ran."""
