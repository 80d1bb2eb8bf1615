"""Tools of LangChain and LangGraph as tools of ours: their schema, our arguments, time-outs, guard and journal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from ..errors import ToolError, UsageError
from ..protocols import Ctx
from ..steps import Effect, Step, ToolSpec


class LangChainTool:
    """A ``BaseTool`` behind our Tool protocol.

    LangChain does not say what a tool does to the world, so ``effect`` is ``external`` until its user says
    better: such a call is asked about, runs at most once, and never before the whole plan stands.
    """

    def __init__(
        self,
        tool: Any,
        *,
        effect: Literal["read", "write", "external"] | Effect = Effect.EXTERNAL,
        idempotent: bool = False,
        name: str = "",
        timeout: float = 60.0,
    ) -> None:
        """Take its schema; UsageError for a name that cannot be one and for arguments that only a graph can give."""
        self._tool = tool
        parameters = _parameters(tool)
        self._spec = ToolSpec(
            name=name or _name(tool.name),
            description=" ".join(str(tool.description).split()),
            parameters=parameters,
            effect=Effect(effect),
            idempotent=idempotent,
            timeout=timeout,
        )

    @property
    def spec(self) -> ToolSpec:
        """Its description."""
        return self._spec

    async def call(self, args: Mapping[str, Any], ctx: Ctx, step: Step) -> Any:
        """Run it and return what it gives a model; raises ToolError with its own words when it says that it failed."""
        from langchain_core.tools import ToolException

        try:
            return await self._tool.ainvoke(dict(args))
        except ToolException as error:
            raise ToolError(f"{self._spec.name}: {error}") from error

    async def check(self, args: Mapping[str, Any], ctx: Ctx) -> list[str]:
        """Nothing beyond its schema can be seen before it runs."""
        return []


def is_langchain(item: object) -> bool:
    """Return whether ``item`` is a tool of LangChain, without importing it."""
    return any(
        base.__name__ == "BaseTool" and base.__module__.startswith("langchain_core.") for base in type(item).__mro__
    )


def _parameters(tool: Any) -> dict[str, Any]:
    """JSON schema of what a model gives; UsageError when the tool needs more than that."""
    seen = tool.tool_call_schema
    schema: dict[str, Any] = dict(seen) if isinstance(seen, Mapping) else seen.model_json_schema()
    whole = tool.args_schema
    fields = getattr(whole, "model_fields", {})
    hidden = [
        name for name, field in fields.items() if name not in schema.get("properties", {}) and field.is_required()
    ]
    if hidden:
        raise UsageError(
            f"tool {tool.name!r} takes {hidden[0]!r} from the state of a graph, which there is none of here; "
            "give it a default, or write the tool as a typed function with @tool."
        )
    kept = ("properties", "required", "$defs", "additionalProperties")
    return {"type": "object", "properties": {}, **{key: schema[key] for key in kept if key in schema}}


def _name(given: str) -> str:
    """``Search the Web`` and ``searchTheWeb`` become ``search_the_web``."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", given)
    name = re.sub(r"[^a-z0-9]+", "_", split.casefold()).strip("_")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
        raise UsageError(f"tool name {given!r} cannot be a name here; give one: LangChainTool(tool, name=...).")
    return name
