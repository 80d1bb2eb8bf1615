"""What is imported on first need: lazy exports of packages, and plugins by entry point.

Groups: ``shuntyard.tools``, ``.models``, ``.policies``, ``.sinks``, ``.suites``, ``.commands``.
``SHUNTYARD_PLUGINS=a,b`` limits them to the named entry points; empty loads none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, Literal

Group = Literal["tools", "models", "policies", "sinks", "suites", "commands"]


def lazy(package: str, table: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a module ``__getattr__`` (PEP 562) that imports ``table[name]`` of ``package`` on first use."""

    def getattribute(name: str) -> Any:
        if name not in table:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(table[name], package), name)

    return getattribute


def load(group: Group) -> Iterator[tuple[str, Any]]:
    """Yield the name and object of every installed plugin of ``group``; a broken one raises as it is."""
    from importlib.metadata import entry_points

    allowed = os.environ.get("SHUNTYARD_PLUGINS")
    names = None if allowed is None else {name.strip() for name in allowed.split(",")}
    for point in entry_points(group=f"shuntyard.{group}"):
        if names is None or point.name in names:
            yield point.name, point.load()
