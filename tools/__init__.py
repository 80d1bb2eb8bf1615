"""The tools room: typed callables for plans, confined to the workspace, arguments and results checked."""

from typing import TYPE_CHECKING

from ..plugins import lazy

if TYPE_CHECKING:
    from .builtin import builtin_tools
    from .langchain import LangChainTool
    from .load import load_tools
    from .registry import Registry
    from .spec import FunctionTool, tool

__all__ = ["FunctionTool", "LangChainTool", "Registry", "builtin_tools", "load_tools", "tool"]

__getattr__ = lazy(
    __name__,
    {
        "FunctionTool": ".spec",
        "LangChainTool": ".langchain",
        "Registry": ".registry",
        "builtin_tools": ".builtin",
        "load_tools": ".load",
        "tool": ".spec",
    },
)
