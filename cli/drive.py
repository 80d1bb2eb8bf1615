"""Drives one run from the terminal: displays, questions, Ctrl-C, and the last lines with the exit code."""

from __future__ import annotations

import re
import sys
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, redirect_stdout
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import NeedsPerson
from ..events import ApprovalAsked, Event, RunDone
from ..steps import RunResult, StepResult
from . import out
from .approver import TerminalApprover
from .options import RunOptions

if TYPE_CHECKING:
    from ..agents.agent import Agent

T = TypeVar("T")
EXIT = {"done": 0, "refused": 1, "failed": 1, "denied": 3, "spent": 4, "waiting": 5, "doubt": 5, "cancelled": 130}


class Watch:
    """A sink that remembers what the last lines need: the run, its open questions, its end."""

    def __init__(self) -> None:
        """Nothing seen yet."""
        self.run = ""
        self.asked: list[ApprovalAsked] = []
        self.done: RunDone | None = None

    def __call__(self, event: Event) -> None:
        """Take one event."""
        self.run = event.run or self.run
        if isinstance(event, ApprovalAsked):
            self.asked.append(event)
        elif isinstance(event, RunDone):
            self.done = event

    def close(self) -> None:
        """Nothing to end."""


def drive(options: RunOptions, start: Callable[[Agent], Awaitable[RunResult]]) -> int:
    """Build the agent, run ``start`` with it, print what came of it and return the exit code."""
    watch = Watch()
    result = follow(options, start, watch)
    return 130 if result is None else report(result, watch, options)


def follow(options: RunOptions, start: Callable[[Agent], Awaitable[T]], watch: Watch) -> T | None:
    """Build the agent and run ``start`` with it on display; None when the person interrupted it.

    While the run is on, prints of tools go to stderr: stdout carries the result alone.
    """
    settings = options.settings()
    import anyio

    from ..agents.sinks import JsonlSink, progress_sink

    display = None if options.quiet else progress_sink(sys.stderr)
    sinks: list[Any] = [watch, *([JsonlSink(sys.stdout)] if options.events else []), *([display] if display else [])]
    approver = TerminalApprover(getattr(display, "pause", nullcontext)) if TerminalApprover.possible() else None

    async def go() -> T:
        from ..agents.agent import Agent  # takes a second; the display is up by now

        async with Agent(settings=settings, approver=approver, sinks=sinks) as agent:
            return await start(agent)

    try:
        with redirect_stdout(sys.stderr):
            return anyio.run(go)
    except KeyboardInterrupt:
        if display is not None:
            display.close()
        out.note("interrupted" + (f"; resume with: shuntyard resume {watch.run}" if watch.run else ""))
        return None
    finally:
        if display is not None:
            display.close()


def report(result: RunResult, watch: Watch, options: RunOptions) -> int:
    """Print the result on stdout and how it went on stderr; return the exit code."""
    if options.json:
        out.result_json(as_json(result))
    elif not options.events and result.answer and result.status != "refused":
        out.result(result.answer)
    for line in last_lines(result, watch.asked):
        out.note(line)
    if not options.quiet:
        out.note(summary(result))
    return exit_code(result)


def exit_code(result: RunResult) -> int:
    """The exit code of a run: that of its failure where it failed, else that of its status."""
    if result.status == "failed" and result.failure is not None:
        return result.failure.exit_code
    return EXIT.get(result.status, 1)


def last_lines(result: RunResult, asked: list[ApprovalAsked]) -> list[str]:
    """What the person should read or do next."""
    again = f"shuntyard resume {result.run}"
    why = result.failure.message if result.failure is not None else ""
    if result.status == "refused":
        return [f"refused: {result.answer or (result.plan.refusal if result.plan else '')}"]
    if result.status == "waiting":
        lines = [f"waiting: {item.path} {item.tool}: {item.reason}  {item.preview}" for item in asked]
        if not asked and result.failure is not None and result.failure.code == NeedsPerson.code:
            return [f"waiting: {why}"]
        ids = " ".join(item.approval for item in asked)
        return [*(lines or [f"waiting: {why}"]), f"  shuntyard approve {ids or 'ID'} && {again}"]
    if result.status == "doubt":
        paths = [path for path, step in result.results.items() if step.status == "doubt"]
        # In a map or a body it is a call inside that is in doubt: its message names it.
        found = [(path, result.results[path].failure) for path in paths]
        named = [re.search(r"--assume (\S+)=done", failure.message) if failure else None for _, failure in found]
        paths = [match[1] if match else path for match, path in zip(named, paths, strict=True)]
        flags = " ".join(f"--assume {path}=done" for path in paths)
        return [
            f"in doubt: {why or 'the outcome of ' + ', '.join(paths) + ' was never recorded'}",
            f"  look what happened, then: {again} {flags}   (or =not-done to do it again)",
        ]
    if result.status == "done":
        return []
    label = {"failed": "error", "denied": "denied", "spent": "budget"}.get(result.status, result.status)
    lines = [f"{label}: {why or result.status}"]
    if result.status in ("spent", "cancelled") or (result.failure is not None and result.failure.exit_code == 6):
        lines.append(f"  finished steps are kept; go on with: {again}")
    return lines


def summary(result: RunResult) -> str:
    """One line: status, steps, tokens, dollars, seconds, run."""
    steps = len(result.results)
    usage = result.usage
    cached = f" ({usage.cached:,} cached)" if usage.cached else ""
    return (
        f"{result.status} · {steps} step{'' if steps == 1 else 's'} · {usage.total:,} tokens{cached} · "
        f"{out.money(result.cost)} · {result.seconds:.1f} s · run {result.run}"
    )


def as_json(result: RunResult) -> dict[str, Any]:
    """The whole result as plain JSON; ``exit_code`` beside the fields of RunResult."""
    body: dict[str, Any] = result.model_dump(mode="json")
    body["exit_code"] = exit_code(result)
    return body


def step_line(path: str, step: StepResult) -> str:
    """One line for a step: status, attempts, seconds, cost and the model that answered."""
    parts = [f"{path}: {step.status}", f"{step.seconds:.2f} s"]
    if step.attempts > 1:
        parts.append(f"{step.attempts} attempts")
    if step.cost or step.usage.total:
        parts.append(f"{step.usage.total:,} tokens {out.money(step.cost)}")
    if step.decision is not None:
        parts.append(f"model {step.decision.model}: {step.decision.reason}")
        parts.extend(f"fell back from {failed}" for failed in step.decision.failed)
    if step.verdict is not None and (step.verdict.decision != "allow" or step.verdict.by != "policy"):
        parts.append(f"{step.verdict.decision} by {step.verdict.by}, rule {step.verdict.rule}: {step.verdict.reason}")
        if (edit := step.verdict.edit) is not None:
            was, now = (", ".join(text.splitlines()) or "nothing" for text in (edit.was, edit.now))
            parts.append(f"{edit.by} changed {was} to {now} (call {edit.before} → {edit.after})")
    if step.failure is not None:
        parts.append(step.failure.message)
    return " · ".join(parts)
