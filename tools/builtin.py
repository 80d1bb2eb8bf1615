"""The tools that come with Shuntyard."""

from __future__ import annotations

from ..protocols import Tool
from ..settings import Settings


def builtin_tools(settings: Settings) -> list[Tool]:
    """Return the built-in tools, those that a plan needs most often first.

    ``http_get`` is among them only when ``settings.allow_http`` names a host. Tools that keep a cache
    (``query``) are new in every list: make one list per agent.
    """
    from .calculator import calculator
    from .choose import choose
    from .files import list_files, read_file, search_files, write_file
    from .now import now
    from .python import run_python
    from .tables import QueryTool
    from .text import text_stats

    tools: list[Tool] = [
        QueryTool(), calculator, choose, list_files, read_file, search_files, write_file, text_stats, now,
        run_python,
    ]  # fmt: skip
    if settings.allow_http:
        from .http import http_tool

        tools.append(http_tool(settings.allow_http))
    return tools
