"""What became of a run's nodes and answer when it was replayed, beside what is on record."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Literal, NamedTuple

from ..memory.replay import NOT_RECORDED
from ..messages import Frozen
from ..planner.outcomes import summary
from ..steps import RunResult, StepResult
from .rerun import node_of

_LEAD = 40
"""Characters that two texts may have in common before their beginnings are left out."""

Outcome = Literal["same", "changed", "failed", "new", "gone"]


class Sides(Frozen):
    """The first difference of two values, each side in a few words."""

    place: str = ""
    """Where in the values, e.g. ``[3].amount``; empty for the whole."""
    before: str = ""
    after: str = ""


class NodeDiff(Frozen):
    """One node, or one call in a body, on record and now."""

    node: str
    """Its id; of a call in a body the path, ``n3[2].n5``. Such calls are told where they ran or differ."""
    outcome: Outcome
    """``failed``: it has no value now, and had one or failed otherwise. ``gone``: it is not reached any more."""
    ran: bool
    """It was run; otherwise the record answered."""
    value: Sides | None = None
    """What differs of the outcome."""
    call: Sides | None = None
    """What differs of the arguments, when it is another call now; the outcome may be the same all the same."""

    @property
    def same(self) -> bool:
        """True when neither call nor outcome differ."""
        return self.outcome == "same" and self.call is None


class Replay(Frozen):
    """A run beside its record."""

    run: str
    """The recorded run."""
    replay: str = ""
    """The new run; empty when everything was answered from the record, which leaves nothing behind."""
    equal: bool
    """Same nodes with the same calls and outcomes, same status, same answer."""
    nodes: tuple[NodeDiff, ...]
    status_before: str
    status: str
    answer_before: str
    answer: str
    result: RunResult
    """What came of the replay."""


class Difference(NamedTuple):
    """The first place where two values differ."""

    place: str
    before: Any
    after: Any

    def told(self) -> Sides:
        """Both sides in a few words; of two texts the part where they part."""
        before, after = self.before, self.after
        if isinstance(before, str) and isinstance(after, str):
            pairs = enumerate(zip(before, after, strict=False))
            same = next((at for at, (one, other) in pairs if one != other), min(len(before), len(after)))
            if same > _LEAD:
                before, after = f"…{before[same - _LEAD // 2 :]}", f"…{after[same - _LEAD // 2 :]}"
        return Sides(place=self.place, before=_brief(before), after=_brief(after))


class _Nothing:
    """Stands for what is not there."""


NOTHING = _Nothing()


def compare(
    before: RunResult,
    after: RunResult,
    *,
    calls: Mapping[str, Sides],
    ran: Collection[str],
    inner: Mapping[str, tuple[StepResult | None, StepResult]],
) -> Replay:
    """Return ``after`` beside ``before``, node by node, in no order of time. Both are JSON and redacted.

    ``calls`` are the calls that differ, by node or path; ``ran`` what was run; ``inner`` both results of calls in
    bodies, by path.
    """
    if after.failure is not None and after.failure.code == NOT_RECORDED:
        # The record ends where the run was stopped: there is nothing to compare its end with.
        after = after.model_copy(update={"status": before.status, "answer": before.answer, "failure": before.failure})
    nodes = []
    for id in sorted({*before.results, *after.results}, key=_number):
        outcome = _outcome(before.results.get(id), after.results.get(id), (before.run, after.run))
        if outcome is None or (outcome[0] == "gone" and _never_whole(before, after)):
            continue
        nodes.append(NodeDiff(node=id, outcome=outcome[0], ran=id in ran, value=outcome[1], call=calls.get(id)))
    moved = {node.node for node in nodes if not node.same}
    for path in inner:
        outcome = _outcome(*inner[path], (before.run, after.run))
        # Turns of a list that are looked at ahead and then not needed are a matter of time.
        if outcome is not None and (outcome[0] != "new" or node_of(path) in moved):
            nodes.append(
                NodeDiff(node=path, outcome=outcome[0], ran=path in ran, value=outcome[1], call=calls.get(path))
            )
    nodes.sort(key=lambda node: _number(node.node))
    same = before.status == after.status and before.answer == after.answer
    return Replay(
        run=before.run,
        replay="" if after.run == before.run else after.run,
        equal=same and all(node.same for node in nodes),
        nodes=tuple(nodes),
        status_before=before.status,
        status=after.status,
        answer_before=before.answer,
        answer=after.answer,
        result=after,
    )


def difference(before: Any, after: Any, place: str = "") -> Difference | None:
    """Return the first place where two JSON values differ, None when they are equal."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys([*before, *after]):
            below = f"{place}.{key}" if place else str(key)
            found = difference(before.get(key, NOTHING), after.get(key, NOTHING), below)
            if found is not None:
                return found
        return None
    if isinstance(before, list) and isinstance(after, list):
        for at, (one, other) in enumerate(zip(before, after, strict=False)):
            found = difference(one, other, f"{place}[{at}]")
            if found is not None:
                return found
        return None if len(before) == len(after) else Difference(place, before, after)
    # True == 1 in Python, but not in JSON.
    same = before == after and isinstance(before, bool) == isinstance(after, bool)
    return None if same else Difference(place, before, after)


def _outcome(
    before: StepResult | None, after: StepResult | None, runs: tuple[str, str]
) -> tuple[Outcome, Sides | None] | None:
    """How a node differs, with both sides in words; None when neither side says anything of it."""
    if after is None or (after.failure is not None and after.failure.code == NOT_RECORDED):
        # Whether what the end of a plan skipped had begun before is a matter of time.
        silent = before is None or before.status == "cancelled" or (before.status == "skipped" and before.value)
        return None if silent or before is None else ("gone", Sides(before=_state(before)))
    if before is None:
        return None if after.status == "cancelled" else ("new", Sides(after=_state(after)))
    if _end(before, runs[0]) != _end(after, runs[1]):
        return "changed" if after.ok else "failed", Sides(before=_state(before), after=_state(after))
    found = difference(before.value, after.value)
    return ("same", None) if found is None else ("changed", found.told())


def _end(result: StepResult, run: str) -> tuple[str, str, str]:
    """Status, kind of failure and its words; those of a call that did not run name ids that differ each time."""
    failure = result.failure
    if failure is None:
        return result.status, "", ""
    words = failure.message.replace(run, "") if result.status == "failed" else ""
    return result.status, failure.code, words


def _state(result: StepResult) -> str:
    if result.failure is not None:
        return f"{result.status}: {summary(result.failure.message, width=160)}"
    return summary(result.value) if result.ok and result.value is not None else result.status


def _never_whole(before: RunResult, after: RunResult) -> bool:
    """True for a run whose plan was never allowed or whole: what it started early is not started again."""
    return before.status == after.status and (before.plan is None or before.status in ("denied", "refused"))


def _number(id: str) -> tuple[list[int], str]:
    return [int(found) for found in re.findall(r"\d+", id)], id


def _brief(value: Any) -> str:
    if value is NOTHING:
        return "nothing"
    return json.dumps(value) if value is None or value == "" else summary(value)
