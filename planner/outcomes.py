"""Results that no tool returned: of nodes that could not run, of maps, and what events show of a value."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from ..errors import BudgetSpent, NeedsPerson, ShuntyardError, ToolTimeout
from ..labels import of_tool
from ..messages import Usage
from ..steps import Effect, Failure, Label, Node, Status, Step, StepResult
from .values import parse_ref, refs

_GRAVEST: tuple[Status, ...] = ("doubt", "waiting", "spent", "denied", "cancelled", "failed", "skipped")
_UNDECIDED = {"waiting": "waits for a person", "doubt": "is in doubt", "spent": "found the budget spent"}


def failed(error: Exception, name: str) -> StepResult:
    """``error`` as a result; a bug keeps its type and text."""
    if isinstance(error, ShuntyardError):
        failure = Failure(code=error.code, message=error.message, retryable=error.retryable, exit_code=error.exit_code)
    else:
        failure = Failure(code="tool_error", message=f"{name} raised {type(error).__name__}: {error}")
    return StepResult(status="failed", failure=failure)


def substituted(node: Node, result: StepResult) -> StepResult:
    """``result``, or the literal that ``node`` has for a failure; the failure stays beside it."""
    if result.status != "failed" or node.policy.on_failure != "substitute":
        return result
    failure = result.failure or Failure(code="tool_error", message=f"{node.tool} failed")
    told = failure.model_copy(update={"message": f"a substitute stands in its place: {failure.message}"})
    label = Label(sources=("substitute",))
    return result.model_copy(
        update={"status": "done", "value": node.policy.substitute, "failure": told, "label": label}
    )


def may_have_happened(step: Step, result: StepResult) -> bool:
    """True for an effect that ran out of time: nobody knows, so it is never tried again by itself."""
    late = result.failure is not None and result.failure.code == ToolTimeout.code
    return late and step.effect is not Effect.READ and not step.idempotent


def asking(node: Node, step: Step, result: StepResult) -> StepResult:
    """``result``, or a question to a person where ``node`` asks about its failure and nobody has decided yet."""
    if result.status != "failed" or node.policy.on_failure != "ask":
        return result
    if result.verdict is not None and result.verdict.by == "person":
        return result
    path, again = step.key.path, f"shuntyard resume {step.key.run}"
    repeat = f"{again} --assume {path}=not-done" if may_have_happened(step, result) else again
    message = (
        f"{path} failed: {result.failure.message if result.failure else node.tool} "
        f"To try it again: {repeat}. To go on without it: "
        f"{again} --assume {path}=failed, or {path}=done if it is done."
    )
    failure = Failure(code=NeedsPerson.code, message=message, exit_code=NeedsPerson.exit_code)
    return result.model_copy(update={"status": "waiting", "failure": failure})


def not_run(reason: str, *, status: Status = "cancelled", exit_code: int = 1) -> StepResult:
    """The result of a node that was never started."""
    return StepResult(status=status, failure=Failure(code="not_run", message=reason, exit_code=exit_code))


def never_run(halted: str) -> StepResult:
    """The result of a node that nothing will start any more, because of ``halted``, or because it waits in vain."""
    if halted:
        return not_run(f"not run because {halted}")
    return not_run("not run because it waits for a node that is not there, or for itself", status="failed")


def over_limit(path: str, calls: int, most: int) -> StepResult:
    """The result of a node with which the calls of maps and bodies would be too many."""
    message = (
        f"{path}: with it the maps and bodies of the plan come to {calls} calls, at most max_nodes = {most} are "
        "allowed; raise it (--max-nodes) and resume, or let the plan go through less."
    )
    return StepResult(
        status="spent", failure=Failure(code=BudgetSpent.code, message=message, exit_code=BudgetSpent.exit_code)
    )


def blocked(node: Node, waits: Sequence[str], results: Mapping[str, StepResult]) -> StepResult | None:
    """The result of ``node`` when a parent, one of ``waits``, does not let it run, else None.

    A parent that failed or was denied skips it, with the first cause as the reason; a parent that is
    still to be decided (waiting, doubt, spent, cancelled) leaves it undecided too. A parent skipped by its
    own condition skips only those that use its value.
    """
    bad = [id for id in waits if results[id].status != "done"]
    if not bad:
        return None
    quiet = False
    for id in bad:
        result = results[id]
        if result.status == "skipped" and result.failure is None:
            quiet = quiet or any(parse_ref(text).head == id for text in refs(node))
            continue
        failure = result.failure
        status: Status = "skipped" if result.status in ("failed", "denied", "skipped") else "cancelled"
        if failure is not None and failure.code == "not_run":
            return not_run(failure.message, status=status, exit_code=failure.exit_code)
        what = _UNDECIDED.get(result.status, {"denied": "was denied"}.get(result.status, result.status))
        why = f": {failure.message}" if failure is not None else ""
        return not_run(
            f"not run because {id} {what}{why}", status=status, exit_code=failure.exit_code if failure else 1
        )
    return StepResult(status="skipped") if quiet else None


def turned(path: str, results: Sequence[tuple[str, StepResult]]) -> StepResult:
    """What came of the calls of a turn together, without a value: the gravest of their statuses, and all they took.

    A call that its condition skipped is none that went wrong. ``path`` stands before the ids in messages.
    """
    parts = [result for _, result in results]
    usage, cost = _sums(parts)
    bad = [(id, part) for id, part in results if not part.ok and (part.status != "skipped" or part.failure)]
    status: Status = "done"
    failure = next((part.failure for part in parts if part.substituted), None)
    if bad:
        status = min((part.status for _, part in bad), key=_GRAVEST.index)
        id, first = next((id, part) for id, part in bad if part.status == status)
        failure = first.failure or Failure(code=status, message=status)
        if not failure.message.startswith(path):
            failure = failure.model_copy(update={"message": f"{path}{id}: {failure.message}"})
    begun = [part.started for part in parts if part.started]
    started = min(begun, default=0.0)
    return StepResult(
        status=status,
        failure=failure,
        label=Label().join(*(part.label for part in parts)),
        usage=usage,
        cost=cost,
        started=started,
        seconds=max((part.started + part.seconds for part in parts if part.started), default=0.0) - started,
        replayed=bool(begun) and all(part.replayed for part in parts if part.started),
    )


def last_turn(node: Node, parts: Sequence[StepResult], *, met: bool) -> StepResult:
    """The result of a loop: that of its last turn with what all took; failed when its condition had to be ``met``."""
    last = parts[-1]
    usage, cost = _sums(parts)
    update: dict[str, Any] = {"usage": usage, "cost": cost, "attempts": 1}
    if last.ok and not met:
        until = node.body.until if node.body is not None else None
        message = (
            f"{node.id}: {(until or {}).get('$ref')!r} was not true in any of {len(parts)} turns; "
            "set a larger 'most', or 'unmet' to 'keep' to go on with the last."
        )
        update |= {"status": "failed", "failure": Failure(code="not_met", message=message)}
    started = min((part.started for part in parts if part.started), default=0.0)
    update |= {"started": started, "seconds": last.started + last.seconds - started if last.started else 0.0}
    return last.model_copy(update={**update, "replayed": all(part.replayed for part in parts)})


def _sums(parts: Sequence[StepResult]) -> tuple[Usage, Decimal]:
    usage, cost = Usage(), Decimal(0)
    for part in parts:
        usage, cost = usage + part.usage, cost + part.cost
    return usage, cost


def gathered(id: str, parts: Sequence[StepResult]) -> StepResult:
    """The result of a map: the list of its values, in order.

    When elements did not succeed the map takes the gravest of their statuses, the message counts and
    names them, and the value keeps what did succeed, with null in the gaps.
    """
    usage, cost = _sums(parts)
    label = Label().join(*(part.label for part in parts))
    status: Status = "done"
    failure = None
    bad = [(at, part) for at, part in enumerate(parts) if part.status != "done"]
    if bad:
        status = min((part.status for _, part in bad), key=_GRAVEST.index)
        at, first = next((at, part) for at, part in bad if part.status == status)
        message = first.failure.message if first.failure else status
        message = message if message.startswith(f"{id}[{at}]") else f"{id}[{at}]: {message}"
        failure = Failure(
            code=first.failure.code if first.failure else status,
            message=f"{len(bad)} of {len(parts)} elements did not succeed; {message}",
            exit_code=first.failure.exit_code if first.failure else 1,
        )
    elif replaced := [at for at, part in enumerate(parts) if part.substituted]:
        failure = parts[replaced[0]].failure
        assert failure is not None
        message = f"{len(replaced)} of {len(parts)} elements failed; {id}[{replaced[0]}]: {failure.message}"
        failure = failure.model_copy(update={"message": message})
    value: list[Any] = [part.value if part.status == "done" else None for part in parts]
    return StepResult(
        status=status,
        value=value,
        failure=failure,
        label=label,
        usage=usage,
        cost=cost,
        seconds=max((part.seconds for part in parts), default=0.0),
        started=min((part.started for part in parts), default=0.0),
        attempts=max((part.attempts for part in parts), default=1),
        replayed=all(part.replayed for part in parts),
    )


def labelled(result: StepResult, step: Step) -> StepResult:
    """``result`` with the label of everything that flowed in: its tool, and its arguments' labels."""
    label = result.label
    if "tool" not in label.sources or step.name not in label.tools:
        label = label.join(of_tool(step.name))
    label = label.join(*step.labels.values())
    changes: dict[str, Any] = {}
    if label is not result.label:
        changes["label"] = label
    if result.attempts < step.attempt:
        changes["attempts"] = step.attempt
    return result.model_copy(update=changes) if changes else result


def summary(value: Any, *, width: int = 80) -> str:
    """``value`` in one line of at most ``width`` characters; the work does not grow with the value."""
    if value is None:
        return ""
    if isinstance(value, str):
        text = " ".join(value[: 4 * width].split())
    elif isinstance(value, list) and len(value) > 3:
        text = f"{len(value)} items, {summary(value[0], width=width - 16)}"
    else:
        text = json.dumps(_shallow(value, width), ensure_ascii=False, default=str)
    text = text if len(text) <= width else text[: width - 1] + "…"
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


def _shallow(value: Any, width: int, depth: int = 3) -> Any:
    if isinstance(value, str):
        return value[:width]
    if isinstance(value, dict):
        return {
            str(key)[:width]: _shallow(child, width, depth - 1) if depth else "…"
            for key, child, _ in zip(value.keys(), value.values(), range(8), strict=False)
        }
    if isinstance(value, list):
        return [_shallow(child, width, depth - 1) if depth else "…" for child in value[:8]]
    return value
