"""The worker's side of a call, the same in every kind of worker: load tools once, run one call after the other."""

from __future__ import annotations

import asyncio
from types import ModuleType
from typing import Any

from ...errors import UsageError
from ...protocols import Ctx, Emit
from ...tools.load import load_module
from ...tools.spec import FunctionTool
from .crossing import Call, Outcome, Raised, Source, as_tool, find


class Hands:
    """Does what it is asked; errors of tools are outcomes, never raised. One event loop serves all calls."""

    def __init__(self) -> None:
        """Nothing is loaded yet."""
        self._runner = asyncio.Runner()
        self._modules: dict[str, ModuleType] = {}
        self._tools: dict[tuple[Source, str], FunctionTool[..., Any]] = {}

    def do(self, request: Source | Call, emit: Emit) -> Outcome:
        """Load a module, or run a call whose module is loaded."""
        try:
            if isinstance(request, Source):
                self._module(request)
                return Outcome()
            return Outcome(self._runner.run(self._call(request, emit)))
        # A tool that calls sys.exit has failed; its worker goes on.
        except (Exception, SystemExit) as error:
            return Outcome(raised=Raised.of(error))

    def close(self) -> None:
        """End the loop."""
        self._runner.close()

    async def _call(self, call: Call, emit: Emit) -> Any:
        ctx = Ctx(run=call.step.key.run, workspace=call.workspace, emit=emit, limits=call.limits)
        return await self._tool(call).call(call.step.args, ctx, call.step)

    def _tool(self, call: Call) -> FunctionTool[..., Any]:
        key = (call.source, call.step.name)
        if key not in self._tools:
            tool = as_tool(find(self._module(call.source), call.source.name), call)
            if tool is None:
                raise UsageError(
                    f"the worker finds no tool {call.source.name!r} in {call.source.module!r}; "
                    "is the file there the same as here?"
                )
            self._tools[key] = tool
        return self._tools[key]

    def _module(self, source: Source) -> ModuleType:
        if source.module not in self._modules:
            self._modules[source.module] = load_module(source.module)
        return self._modules[source.module]
