"""A person's own tools, from a file or a module."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from ..errors import ShuntyardError, UsageError
from ..protocols import Tool
from .langchain import LangChainTool, is_langchain
from .spec import FunctionTool

_PREFIX = "shuntyard_tools_"
"""Begins the module names of tools files, which no import finds."""


def load_tools(source: str) -> list[Tool]:
    """Return the tools of ``FILE.py`` or ``pkg.module``, ours and LangChain's, in the order they are written.

    Runs the file or imports the module: name only code you trust. Raises UsageError when it is not
    there, does not run, or has no tools.
    """
    module = load_module(source)
    tools: dict[int, Tool] = {}
    for item in vars(module).values():
        if isinstance(item, FunctionTool | LangChainTool):
            tools[id(item)] = item
        elif is_langchain(item):
            tools[id(item)] = LangChainTool(item)
    if not tools:
        raise UsageError(f"{source!r} has no tools; put @tool (from shuntyard import tool) above a typed function.")
    return list(tools.values())


def load_module(source: str) -> ModuleType:
    """Run ``FILE.py`` or import ``pkg.module``. Raises UsageError when it is not there or does not run."""
    return _from_file(source) if source.endswith(".py") or "/" in source else _from_module(source)


def source_of(module: ModuleType) -> str:
    """Return what ``load_module`` gets ``module`` from in another process: its file for a tools file, else its name."""
    return str(module.__file__) if module.__name__.startswith(_PREFIX) else module.__name__


def _from_file(source: str) -> ModuleType:
    path = Path(source).expanduser().absolute()
    if not path.is_file():
        raise UsageError(f"there is no tools file {source!r}; check the path.")
    name = f"{_PREFIX}{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{source!r} is not a Python file; name a .py file or a module.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        raise _explain(source, error) from error
    return module


def _from_module(source: str) -> ModuleType:
    try:
        return importlib.import_module(source)
    except BaseException as error:
        raise _explain(source, error) from error


def _explain(source: str, error: BaseException) -> BaseException:
    if isinstance(error, SyntaxError):
        return UsageError(f"{source!r}, line {error.lineno}: {error.msg}; mend the syntax.")
    if (
        isinstance(error, ModuleNotFoundError)
        and error.name
        and (source == error.name or source.startswith(error.name + "."))
    ):
        return UsageError(f"there is no module {source!r}; check the name, or name a file ending in .py.")
    if isinstance(error, ShuntyardError):
        return UsageError(f"{source!r}: {error.message}")
    if isinstance(error, Exception | SystemExit):
        return UsageError(f"{source!r} cannot be loaded: {type(error).__name__}: {error}; mend the file.")
    return error
