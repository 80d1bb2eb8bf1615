"""``@tool``: a typed function becomes a tool that a plan can call."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any, Generic, Literal, ParamSpec, TypedDict, TypeVar, Unpack, overload

import anyio.to_thread

from ..errors import ArgumentsInvalid, PathRefused, UsageError
from ..protocols import Ctx
from ..steps import Bound, Effect, Step, ToolSpec
from .schema import Signature, unknowable
from .values import to_json
from .workspace import resolve

P = ParamSpec("P")
R = TypeVar("R")

Check = Callable[[Mapping[str, Any], Ctx], Awaitable[list[str]]]
"""Looks at planned arguments (values may be ``Pending`` or ``Bound``) and returns problems worded for a model."""


class ToolOptions(TypedDict, total=False):
    """What ``@tool(...)`` takes; all by name."""

    name: str
    """Default: the function's name."""
    effect: Literal["read", "write", "external"] | Effect
    idempotent: bool
    seconds: float
    """Typical duration."""
    cost: Decimal | float | str
    """Dollars per call."""
    timeout: float
    resource: str
    """What its calls share with those of other tools, e.g. ``network``; a run may limit it."""
    limit: int
    """At most this many calls at once in a run."""
    binds: tuple[str, ...]
    """Parameters annotated ``str | Bound``."""
    paths: tuple[str, ...]
    """Parameters that are paths in the workspace."""
    stability: Literal["pure", "stable", "fresh"]
    """What an equal call gives: always the same, the same until an effect changes something, or anything."""
    batches: str
    """Parameter that takes one value or a list of them, for which the result is the list of results."""
    check: Check
    cpu: bool
    """True: it computes, so executors with workers run it in one, also when it is ``async``. False: it stays in
    the process of the run. Default: plain functions go, ``async`` ones stay, because they wait."""


class FunctionTool(Generic[P, R]):
    """A function with a ``ToolSpec``; calling the object calls the function as it was written.

    Sync functions run in a worker thread that is left behind when the call is cancelled: give
    long ones a ``timeout`` and write them so that a late end does no harm, or run them in worker
    processes, which end with the call (``executor = "processes"``).
    """

    def __init__(self, function: Callable[P, R], **options: Unpack[ToolOptions]) -> None:
        """Build the spec; UsageError for missing annotations, a missing docstring or a bad option."""
        name = options.get("name") or str(getattr(function, "__name__", ""))
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
            raise UsageError(f"tool name {name!r} is not valid; use lower-case letters, digits and _ (name=...).")
        self.function = function
        self.signature = Signature(function, name, binds=options.get("binds", ()))
        unknown = [path for path in options.get("paths", ()) if path not in self.signature.parameters["properties"]]
        if unknown:
            raise UsageError(f"tool {name!r}: paths names {unknown[0]!r}, which is no parameter; correct it.")
        batches = options.get("batches", "")
        if batches and batches not in self.signature.parameters["properties"]:
            raise UsageError(f"tool {name!r}: batches names {batches!r}, which is no parameter; correct it.")
        chosen: dict[str, Any] = {
            key: value for key, value in options.items() if key not in ("name", "check", "cost", "cpu")
        }
        self._spec = ToolSpec(
            name=name,
            description=self.signature.description,
            parameters=self.signature.parameters,
            returns=self.signature.returns,
            cost=Decimal(str(options.get("cost", 0))),
            **chosen,
        )
        self._check = options.get("check")
        self._awaited = inspect.iscoroutinefunction(function)
        self.cpu = options.get("cpu", not self._awaited)
        functools.update_wrapper(self, function)

    @property
    def spec(self) -> ToolSpec:
        """Its description."""
        return self._spec

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the plain function."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<tool {self._spec.name}>"

    async def call(self, args: Mapping[str, Any], ctx: Ctx, step: Step) -> Any:
        """Validate, run and return JSON data. Raises ArgumentsInvalid before anything ran, ToolError, ToolRetry."""
        bound = {name: args[name] for name in self._spec.binds if isinstance(args.get(name), Bound)}
        given: dict[str, Any] = self.signature.validate(args, skip=bound) if bound else self.signature.validate(args)
        given |= bound
        for name, kind in self.signature.injected.items():
            given[name] = ctx if kind is Ctx else step
        run: Callable[[], Any] = functools.partial(self.function, **given)
        if self._awaited:
            result = await run()
        else:
            result = await anyio.to_thread.run_sync(run, abandon_on_cancel=True)
        return to_json(result, tool=self._spec.name)

    async def check(self, args: Mapping[str, Any], ctx: Ctx) -> list[str]:
        """Problems that can be seen before running: names, types, paths, and what the tool itself checks."""
        known = self._spec.parameters["properties"]
        pending = [name for name in args if name in known and (isinstance(args[name], Bound) or unknowable(args[name]))]
        try:
            self.signature.validate(args, skip=pending)
        except ArgumentsInvalid as error:
            return error.message.split("; " + self._spec.name + ": ")
        problems = []
        for name in self._spec.paths:
            if isinstance(args.get(name), str):
                try:
                    resolve(ctx.workspace, args[name])
                except PathRefused as error:
                    problems.append(f"{self._spec.name}: {error.message}")
        if not problems and self._check is not None:
            problems = await self._check(args, ctx)
        return problems


@overload
def tool(function: Callable[P, R], /) -> FunctionTool[P, R]: ...


@overload
def tool(**options: Unpack[ToolOptions]) -> Callable[[Callable[P, R]], FunctionTool[P, R]]: ...


def tool(function: Callable[..., Any] | None = None, /, **options: Unpack[ToolOptions]) -> Any:
    """Make a typed function, sync or async, a tool: ``@tool`` or ``@tool(effect="write", timeout=5)``.

    The first line of the docstring tells the model what the result is; its ``Args`` section describes
    the parameters. A parameter annotated ``Ctx`` or ``Step`` receives the run context and is not in the
    schema. Raise ``ToolRetry("why")`` to be called again, ``ToolError("why")`` to fail.
    """
    if function is not None:
        return FunctionTool(function, **options)
    return functools.partial(FunctionTool, **options)
