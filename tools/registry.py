"""Tools by name: the Toolset that a run calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from ..errors import ArgumentsInvalid, UnknownName, UsageError
from ..protocols import Ctx, Tool
from ..steps import Bound, Step, ToolSpec
from .schema import unknowable
from .spec import FunctionTool
from .values import to_json


@runtime_checkable
class Briefing(Protocol):
    """A tool that can say what there is to work on."""

    async def brief(self, ctx: Ctx) -> str:
        """Return a compact description for the planner's prompt."""


@runtime_checkable
class Linking(Protocol):
    """A tool that can say what of a task it knows."""

    async def links(self, task: str, ctx: Ctx) -> str:
        """Return where the names and values of ``task`` stand, for the planner's prompt; empty when nowhere."""


@runtime_checkable
class Shaping(Protocol):
    """A tool that can say before it runs what rows it will give."""

    async def shape(self, args: Mapping[str, Any], ctx: Ctx) -> Mapping[str, str] | None:
        """Return columns and their types; None when they are not known."""


class Registry:
    """A Toolset over tools in the order given."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        """Take the tools; UsageError when two share a name."""
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            if tool.spec.name in self._tools:
                raise UsageError(f"two tools are called {tool.spec.name!r}; rename one with @tool(name=...).")
            self._tools[tool.spec.name] = tool

    def specs(self) -> Sequence[ToolSpec]:
        """Every tool, in the order given."""
        return tuple(tool.spec for tool in self._tools.values())

    def get(self, name: str) -> Tool:
        """Return the tool called ``name``; UnknownName lists the nearest."""
        try:
            return self._tools[name]
        except KeyError:
            raise UnknownName("tool", name, list(self._tools)) from None

    async def call(self, step: Step, ctx: Ctx) -> Any:
        """Validate the arguments and run. Raises UnknownName, ArgumentsInvalid, ToolError."""
        tool = self.get(step.name)
        if isinstance(tool, FunctionTool):
            return await tool.call(step.args, ctx, step)
        problems = by_schema(tool.spec, step.args)
        if problems:
            raise ArgumentsInvalid("; ".join(problems))
        return to_json(await tool.call(step.args, ctx, step), tool=step.name)

    async def check(self, tool: str, args: Mapping[str, Any], ctx: Ctx) -> list[str]:
        """Problems of a planned call, worded for a model; values still to come are not judged."""
        known = self._tools.get(tool)
        if known is None:
            return [f"there is no tool {tool}; the tools are {', '.join(self._tools)}"]
        if not isinstance(known, FunctionTool):
            problems = by_schema(known.spec, args)
            if problems:
                return problems
        return await known.check(args, ctx)

    async def shape(self, tool: str, args: Mapping[str, Any], ctx: Ctx) -> Mapping[str, str] | None:
        """Columns and types of the rows that a planned call will give, where its tool can tell."""
        known = self._tools.get(tool)
        return await known.shape(args, ctx) if isinstance(known, Shaping) else None

    async def brief(self, ctx: Ctx) -> str:
        """What there is to work on, as the tools tell it."""
        parts = [await tool.brief(ctx) for tool in self._tools.values() if isinstance(tool, Briefing)]
        return "\n".join(part for part in parts if part)

    async def links(self, task: str, ctx: Ctx) -> str:
        """Where the names and values of ``task`` stand, as the tools tell it."""
        parts = [await tool.links(task, ctx) for tool in self._tools.values() if isinstance(tool, Linking)]
        return "\n".join(part for part in parts if part)


def by_schema(spec: ToolSpec, args: Mapping[str, Any]) -> list[str]:
    """Problems of arguments against a JSON schema, for tools that are not made from functions."""
    from jsonschema import Draft202012Validator

    properties = spec.parameters.get("properties", {})
    listed = ", ".join(properties) or "none"
    required = spec.parameters.get("required", [])
    open_ended = spec.parameters.get("additionalProperties", False)
    problems = [
        f"{spec.name}: argument {name!r} is missing; the parameters are {listed}"
        for name in required
        if name not in args
    ]
    for name, value in args.items():
        if name not in properties:
            if not open_ended:
                problems.append(f"{spec.name}: argument {name!r} is unknown; the parameters are {listed}")
            continue
        if isinstance(value, Bound) or unknowable(value):
            continue
        schema = properties[name] | {"$defs": spec.parameters.get("$defs", {})}
        for error in Draft202012Validator(schema).iter_errors(value):
            problems.append(f"{spec.name}: argument {name!r} = {value!r:.80} {error.message[:120]}")
            break
    return problems
