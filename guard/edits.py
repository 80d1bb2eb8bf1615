"""Arguments that a person puts in the place of planned ones: laid over the call, checked, judged, told.

A yes to other arguments is no way around the policy: the edited call is judged like any other, and only
what would have been asked is answered by it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from ..edits import Edit
from ..errors import EditInvalid, PolicyDenied
from ..protocols import MAYBE, Ctx, Edited, Gate, Pending
from ..steps import Bound, Label, Step, ToolSpec, Verdict

Check: TypeAlias = Callable[[str, Mapping[str, Any], Ctx], Awaitable[list[str]]]
"""Problems of a call with these arguments, as a Toolset tells them."""

_BIG = 65_536
"""Characters of an argument above which a question does not keep it."""


async def edited(
    step: Step, answer: Edited, spec: ToolSpec, ctx: Ctx, *, gate: Gate, check: Check | None
) -> tuple[Step, Verdict]:
    """Return ``step`` with the arguments of ``answer``, and what the gate says of it: allow, or ask.

    Raises EditInvalid, naming argument, value and mend, when the tool cannot be called like that, and
    PolicyDenied when a rule forbids it.
    """
    changed = _laid_over(step, answer)
    found = await check(spec.name, changed.args, ctx) if check is not None else []
    if wrong := [problem.rstrip(".") for problem in found if not problem.startswith(MAYBE)]:
        raise EditInvalid(f"the arguments do not fit: {'; '.join(wrong)}. Give others, the question stays open.")
    verdict = await gate.judge(changed, spec, ctx)
    if verdict.decision not in ("allow", "ask"):
        told = f"{spec.name!r} with these arguments is denied by rule {verdict.rule!r}: {verdict.reason}"
        raise PolicyDenied(f"{told} Give others, the question stays open.")
    return changed, verdict


def _laid_over(step: Step, answer: Edited) -> Step:
    args = dict(answer.args) if answer.whole else {**step.args, **answer.args}
    person = Label(sources=("person",))
    labels = {name: step.labels[name] for name in args if name in step.labels}
    labels |= {name: person for name in args if name not in step.args or args[name] != step.args[name]}
    return replace(step, args=args, labels=labels)


def told(before: Step, after: Step, by: str, show: Callable[[Mapping[str, Any]], str]) -> Edit | None:
    """Return who changed what; None when it is the planned call still. ``show`` makes text of arguments."""
    if before.digest == after.digest:
        return None
    names = [*before.args, *(name for name in after.args if name not in before.args)]
    different = [name for name in names if before.args.get(name, _ABSENT) != after.args.get(name, _ABSENT)]
    was = {name: before.args[name] for name in different if name in before.args}
    now = {name: after.args[name] for name in different if name in after.args}
    return Edit(by=by, before=before.digest, after=after.digest, was=show(was), now=show(now))


_ABSENT = object()


def keep(args: Mapping[str, Any], redact: Callable[[str], str]) -> dict[str, Any]:
    """Return arguments as JSON without secrets, for a question: an edit is checked against them before it is kept."""
    return {name: _kept(value, redact) for name, value in args.items()}


def _kept(value: Any, redact: Callable[[str], str]) -> Any:
    plain = {"$bound": value.text, "values": dict(value.values)} if isinstance(value, Bound) else value
    text = json.dumps(plain, ensure_ascii=False, default=str)
    return {"$big": len(text)} if len(text) > _BIG else json.loads(redact(text))


def kept(args: Mapping[str, Any]) -> dict[str, Any]:
    """Read what ``keep`` wrote; what was too big is ``Pending``, because it is not known here."""
    return {name: _read(name, value) for name, value in args.items()}


def _read(name: str, value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"$bound", "values"}:
        return Bound(text=value["$bound"], values=value["values"])
    return Pending(name) if isinstance(value, dict) and set(value) == {"$big"} else value
