"""Where values came from: what guards judge and people read beside a value."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from .messages import Frozen

Source = Literal["task", "memory", "model", "tool", "person", "substitute"]


class Label(Frozen):
    """Where a value came from. Untrusted as soon as a tool's reading is in it."""

    sources: tuple[Source, ...] = ()
    tools: tuple[str, ...] = ()
    """Names of the tools whose results flowed in."""

    @property
    def trusted(self) -> bool:
        """True while no tool result and no unverified memory is in the value."""
        return "tool" not in self.sources and "memory" not in self.sources

    def join(self, *others: Label) -> Label:
        """The label of a value made from this one and ``others``."""
        if len(others) == 1 and not self.sources and not self.tools:
            return others[0]
        sources, tools = list(self.sources), list(self.tools)
        for other in others:
            sources += [source for source in other.sources if source not in sources]
            tools += [name for name in other.tools if name not in tools]
        if len(sources) == len(self.sources) and len(tools) == len(self.tools):
            return self
        return Label(sources=tuple(sources), tools=tuple(tools))


@lru_cache(maxsize=1024)
def of_tool(name: str) -> Label:
    """The label of what the tool ``name`` returned; equal ones are one object, as every call needs one."""
    return Label(sources=("tool",), tools=(name,))
