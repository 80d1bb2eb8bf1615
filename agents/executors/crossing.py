"""What crosses to a worker and back: a call as data, what came of it as data, and which tools can go at all."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FunctionType
from typing import Any

from ... import errors
from ...errors import ShuntyardError, ToolError
from ...protocols import Ctx, Tool
from ...steps import Limits, Step
from ...tools.load import source_of
from ...tools.spec import FunctionTool

_OWN = __name__.partition(".")[0]
_TRACE = 4000


@dataclass(frozen=True, slots=True)
class Source:
    """Where a worker gets a tool from."""

    module: str
    """Dotted name, or absolute path of a tools file."""
    name: str
    """Qualified name of the tool, or of its plain function, in the module."""
    binds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """The body of one tool call: everything that a worker needs, and nothing that only this process has."""

    source: Source
    step: Step
    """Without callbacks. Its arguments are JSON data and ``Bound`` texts."""
    workspace: Path
    limits: Limits

    @classmethod
    def of(cls, source: Source, step: Step, ctx: Ctx) -> Call:
        """Describe ``step``."""
        bare = Step(key=step.key, kind=step.kind, name=step.name)
        data = replace(step, on_text=bare.on_text, before_effect=bare.before_effect)
        return cls(source, data, ctx.workspace, ctx.limits)


@dataclass(frozen=True, slots=True)
class Raised:
    """An exception as data, because many a class cannot be pickled, or not be read where it was never imported."""

    kind: str
    """Name of the exception's class."""
    base: str
    """Name of its nearest class in the error tree; empty when it is none of ours."""
    message: str
    trace: str = ""
    ids: Mapping[str, str] = field(default_factory=dict)
    marks: Mapping[str, Any] = field(default_factory=dict)
    """``code``, ``retryable`` and ``exit_code``, which a subclass may have changed."""

    @classmethod
    def of(cls, error: BaseException) -> Raised:
        """Describe ``error``."""
        trace = "".join(traceback.format_exception(error))[-_TRACE:]
        kind = type(error)
        if not isinstance(error, ShuntyardError):
            # A time-out of the tool's own counts like ours, as it does in process.
            base = "TimeoutError" if isinstance(error, TimeoutError) else ""
            return cls(kind.__name__, base, str(error), trace)
        base = next(item.__name__ for item in kind.__mro__ if item.__module__ == errors.__name__)
        marks = {"code": error.code, "retryable": error.retryable, "exit_code": error.exit_code}
        return cls(kind.__name__, base, error.message, trace, error.ids, marks)

    def error(self, tool: str) -> Exception:
        """Return an exception with the same code, words and ids; the worker's traceback is a note of it."""
        error = self._rebuilt(tool)
        error.add_note(f"In the worker:\n{self.trace}")
        return error

    def _rebuilt(self, tool: str) -> Exception:
        if self.base == "TimeoutError":
            return TimeoutError(self.message)
        if not self.base:
            return ToolError(f"{tool} raised {self.kind}: {self.message}")
        kind: type[ShuntyardError] = getattr(errors, self.base)
        if self.kind != self.base:
            kind = type(self.kind, (kind,), dict(self.marks))
        # Not by its constructor: some take other things than a message.
        error = ShuntyardError.__new__(kind)
        ShuntyardError.__init__(error, self.message, ids=self.ids)
        return error


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call."""

    value: Any = None
    raised: Raised | None = None

    def result(self, tool: str) -> Any:
        """Return the value, or raise what the tool raised."""
        if self.raised is not None:
            raise self.raised.error(tool)
        return self.value


def crossing(tool: Tool) -> Source | str:
    """Return where a worker gets ``tool`` from, or why its calls stay in this process.

    A worker imports; so a tool crosses when it is a plain ``@tool`` function at the top of a module or tools file.
    """
    if not isinstance(tool, FunctionTool):
        return f"it is an object ({type(tool).__name__}), no @tool function"
    function = tool.function
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    name = getattr(function, "__qualname__", "")
    if module is None or not name or "<locals>" in name or "<lambda>" in name:
        return "it is made inside a function; put it at the top of a file"
    if module.__name__.startswith(f"{_OWN}.tools."):
        return "it comes with Shuntyard and is short"
    if not tool.cpu:
        return "it waits rather than computes; @tool(cpu=True) would move it"
    if module.__name__ == "__main__":
        return "it stands in the program that was started; put it into a file of its own"
    if find(module, name) not in (tool, function):
        return f"{module.__name__}.{name} is something else by now"
    return Source(source_of(module), name, tool.spec.binds)


def find(module: object, name: str) -> Any:
    """Return the object with the qualified ``name``, None when there is none."""
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def as_tool(item: Any, call: Call) -> FunctionTool[..., Any] | None:
    """Return the tool that a worker found under a call's source; None when it is none."""
    if isinstance(item, FunctionTool):
        return item
    return FunctionTool(item, name=call.step.name, binds=call.source.binds) if isinstance(item, FunctionType) else None
