"""``shuntyard show``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from ..steps import Plan, RunResult, StepResult
from . import out
from .drive import step_line
from .estimates import bounds_json, estimate_line, ranges_json, took_line
from .kept import Kept, opened
from .options import Options, takes
from .root import single
from .runs import status_of, when

if TYPE_CHECKING:
    from ..estimates import Took
    from ..memory.approvals import Question
    from ..memory.runs import RunRow, StepRow
    from ..moves import Choice

app = single()


@app.command()
@takes(Options)
def show(
    options: Options,
    run: Annotated[str, typer.Argument(help="Id of the run, or the beginning of it; last for the newest.")] = "last",
) -> int:
    """Show one run: its plan with results, every step and attempt, what it cost and who decided."""
    with opened(options.settings()) as kept:
        found = _read(kept, run, whole=options.json)
    if options.json:
        out.result_json(_json(found))
    else:
        out.result("\n".join(_text(found)))
    return 0


class _Found(NamedTuple):
    """All that is kept of a run."""

    row: RunRow
    plans: Sequence[Plan]
    steps: Sequence[StepRow]
    questions: Sequence[Question]
    took: Took


def _read(kept: Kept, run: str, *, whole: bool) -> _Found:
    """Read a run; big values only when they are to be printed whole, because each is a file."""
    row = kept.runs.get(run)
    steps = kept.runs.steps(row.run)
    took = kept.runs.took(row.run)
    if whole:
        row, steps = kept.runs.whole(row), [kept.runs.whole_step(row.run, step) for step in steps]
    return _Found(row, kept.runs.plans(row.run), steps, kept.approvals.questions(row.run), took)


def _json(found: _Found) -> Any:
    predicted = found.row.result.predicted if found.row.result is not None else None
    return {
        **found.row.model_dump(mode="json", exclude={"settings"}),
        "status": status_of(found.row),
        "predicted": None if predicted is None else {**bounds_json(predicted.plan), "ranges": ranges_json(predicted)},
        "took": found.took.model_dump(mode="json"),
        "plans": [plan.model_dump(mode="json") for plan in found.plans],
        "steps": [step.model_dump(mode="json", exclude={"blob"}) for step in found.steps],
        "approvals": [question.model_dump(mode="json") for question in found.questions],
    }


def _text(found: _Found) -> list[str]:
    row, plans, steps, questions, took = found
    result = row.result
    spent = f" · {result.usage.total:,} tokens · {out.money(result.cost)} · {result.seconds:.1f} s" if result else ""
    lines = [f"run    {row.run}  {status_of(row)}  {when(row.started)}{spent}", f"task   {row.task}"]
    if row.parent:
        lines.append(f"       replays a part of run {row.parent}")
    if row.interrupted:
        lines.append(f"       its process is gone; go on with: shuntyard resume {row.run}")
    if row.choice is not None and (row.choice.planner != "dag" or row.choice.reason):
        lines.append(f"how    {how(row.choice)}")
    for hint in result.hints if result else ():
        lines.append(f"recall {hint.similarity:.0%} like run {hint.run}: {hint.task}")
    if result is not None and result.predicted is not None:
        lines.append(f"guess  {estimate_line(result.predicted)}")
        lines.append(f"took   {took_line(took)}, planning apart")
    lines.extend(_early(result.results) if result is not None else ())
    lines.extend(_plan(plans, steps, result.results if result is not None else {}))
    lines.extend(["", "steps"])
    lines.extend(f"  {_step(step)}{_vain(step, result)}" for step in steps)
    for question in questions:
        lines.append(f"  asked {question.id} {question.path} {question.tool}: {_answer(question)}  {question.preview}")
    if result is not None and result.failure is not None:
        lines.extend(["", f"failure {result.failure.message}"])
    if result is not None and result.answer:
        lines.extend(["", "answer", *(f"  {line}" for line in result.answer.splitlines())])
    return lines


def _early(results: Mapping[str, StepResult]) -> list[str]:
    """What it gained and cost to start reads before their condition was known."""
    guesses = [result for result in results.values() if result.ahead]
    saved = sum(min(result.ahead, result.seconds) for result in guesses if result.ok)
    wasted = sum(result.seconds for result in guesses if not result.ok)
    count = f"{len(guesses)} read{'' if len(guesses) == 1 else 's'}"
    return [f"early  {count} before the condition: {saved:.2f} s saved, {wasted:.2f} s wasted"] if guesses else []


def _vain(step: StepRow, result: RunResult | None) -> str:
    end = result.results.get(step.path) if result is not None else None
    return " · made in vain: its condition did not hold" if end is not None and end.ahead and not end.ok else ""


def _answer(question: Question) -> str:
    if question.allowed is None:
        return "open"
    changed = ""
    if question.edited is not None:
        changed = f" with {'all of ' if question.whole else ''}{json.dumps(question.edited, ensure_ascii=False)}"
    return f"{'approved' if question.allowed else 'denied'} by {question.by}{changed}"


def how(choice: Choice) -> str:
    """Return a planner and, where no person named it, why it was chosen."""
    return f"planned by {choice.planner}" + (f": {choice.reason}" if choice.reason else "")


def _plan(plans: Sequence[Plan], steps: Sequence[StepRow], ends: Mapping[str, StepResult]) -> list[str]:
    from ..planner.render import tree

    lines: list[str] = []
    results: dict[str, StepResult] = {}
    own = {node.id for plan in plans for node in plan.nodes if node.over is not None or node.body is not None}
    for plan in plans:
        # Of a map and of a body only the calls are steps.
        results.update({id: result for id, result in ends.items() if id in own})
        results.update({s.path: _headed(s, s.result) for s in steps if s.result and s.revision <= plan.revision})
        # What was read in vain is on record as done; to the plan it is skipped.
        results.update({id: end for id, end in ends.items() if end.ahead and not end.ok})
        title = "plan" if plan.revision == 0 else f"plan, revision {plan.revision}"
        lines.extend(["", title, tree(plan, results).rstrip() if plan.nodes else f"  refused: {plan.refusal}"])
    return lines


def _headed(step: StepRow, result: StepResult) -> StepResult:
    """The result with the head of a big value in the place of the value."""
    return result if step.blob is None else result.model_copy(update={"value": step.blob.head})


def _step(step: StepRow) -> str:
    where = f"{step.path}" if step.revision == 0 else f"{step.path}@{step.revision}"
    name = "" if step.kind == "model" else f" {step.name}"
    if step.result is None:
        return f"{where}{name}: {step.state}, outcome unknown"
    attempt = f" (attempt {step.attempt})" if step.attempt > 1 else ""
    return step_line(f"{where}{name}{attempt}", step.result)
