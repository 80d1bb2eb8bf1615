"""Task, Plan, Node, Step and their results: what is planned, what travels the road, what is kept.

A ``Plan`` is data that memory stores and guards authorise. A ``Step`` is one attempt at one node (or one model call) on
its way through ``record(guard(budget(dispatch)))``; it is not stored, its key and digest are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, JsonValue

from .edits import Edit
from .estimates import Prediction
from .labels import Label as Label
from .labels import Source as Source
from .messages import Frozen, ModelRequest, Usage
from .plans import Body as Body
from .plans import Effect as Effect
from .plans import Node as Node
from .plans import NodePolicy as NodePolicy
from .plans import Plan as Plan
from .plans import inside as inside


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


class Verdict(Frozen):
    """What the guard says of one call, and why."""

    decision: Literal["allow", "deny", "ask", "revise"]
    rule: str
    """Name of the rule that decided."""
    reason: str
    args_digest: str = ""
    by: Literal["policy", "flag", "person"] = "policy"
    """Who turned an ``ask`` into this decision."""
    edit: Edit | None = None
    """Set when the call was made with a person's arguments."""


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
    ahead: float = 0.0
    """Seconds by which it was started before its condition was known; 0 when it was not. A ``skipped`` result with
    it is a call that was made in vain, for ``seconds``."""

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
    guess: bool = False
    """Made before it is known to be needed: only what is allowed outright is called, and only success is kept."""
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
    return digest_text(text_of_call(name, args))


def text_of_call(name: str, args: Mapping[str, Any]) -> str:
    """Return the JSON that the digest of a call is taken of."""
    return _COMPACT.encode([name, args])


def digest_text(text: str) -> str:
    """Return the digest of a call whose JSON is ``text``."""
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
    speculate: Annotated[float, Field(ge=0)] = 2.0
    """Seconds of reads that may be made in vain, because they were started before their condition was known."""
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
