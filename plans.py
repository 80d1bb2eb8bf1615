"""The plan: a DAG of typed tool calls as frozen data, which memory stores, guards authorise and people read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator

from .labels import Source
from .messages import Frozen


class Effect(StrEnum):
    """What a tool does to the world; decides when it may start and what a crash means."""

    READ = "read"
    """Changes nothing: may start while the plan is written, may be repeated."""
    WRITE = "write"
    """Changes the workspace: waits for the authorised plan, at most once."""
    EXTERNAL = "external"
    """Reaches beyond this machine or runs arbitrary code: as WRITE, and outside any undo."""


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
