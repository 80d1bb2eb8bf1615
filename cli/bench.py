"""``shuntyard bench``."""

from __future__ import annotations

import inspect
import sys
from contextlib import redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from types import ModuleType
from typing import Annotated, Any

import typer

from ..errors import UnknownName, UsageError
from . import out
from .options import Options, takes
from .root import single

app = single()

PACKAGE = f"{__package__.rpartition('.')[0]}.benchmarks"


@app.command()
@takes(Options)
def bench(
    options: Options,
    name: Annotated[str, typer.Argument(help="Name of the benchmark; none lists them.")] = "",
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Parameters of the benchmark.")
    ] = None,
) -> int:
    """Run a benchmark of Shuntyard itself; without a name list them with their parameters."""
    known = names()
    if not name:
        _list(known, options)
        return 0
    if name not in known:
        raise UnknownName("benchmark", name, known)
    module = import_module(f"{PACKAGE}.{name}")
    given = read_parameters(module, settings or [])
    if "say" in inspect.signature(module.run).parameters:
        given["say"] = out.note
    with redirect_stdout(sys.stderr):
        measured = _measure(module, given)
    if options.json:
        out.result_json(measured)
    elif hasattr(module, "describe"):
        out.result(module.describe(measured))
    else:
        out.result("\n".join(f"{key}: {value}" for key, value in measured.items()))
    return 0


def names() -> list[str]:
    """Every benchmark that is installed."""
    spec = find_spec(PACKAGE)
    places = list(spec.submodule_search_locations or []) if spec is not None else []
    return sorted(module.name for module in iter_modules(places) if not module.name.startswith("_"))


def read_parameters(module: ModuleType, given: list[str]) -> dict[str, Any]:
    """Read ``KEY=VALUE`` words by the types of the defaults of ``run``. Raises UsageError, UnknownName."""
    known = _parameters(module)
    found: dict[str, Any] = {}
    for item in given:
        key, equals, text = item.partition("=")
        if not equals:
            raise UsageError(f"{item!r} is not KEY=VALUE; the parameters are {', '.join(known) or 'none'}.")
        if key not in known:
            raise UnknownName("parameter", key, list(known))
        found[key] = _value(key, text, known[key])
    return found


def _parameters(module: ModuleType) -> dict[str, Any]:
    """Parameters of ``run`` that can be written on a command line, with their defaults."""
    parameters = inspect.signature(module.run).parameters.values()
    return {item.name: item.default for item in parameters if isinstance(item.default, str | int | float | bool)}


def _value(key: str, text: str, default: Any) -> Any:
    try:
        if isinstance(default, bool):
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text.lower()]
        return type(default)(text)
    except (KeyError, ValueError):
        raise UsageError(f"{key}={text!r} is no {type(default).__name__}; write it like {key}={default}.") from None


def _list(known: list[str], options: Options) -> None:
    modules = {name: import_module(f"{PACKAGE}.{name}") for name in known}
    rows = [
        (
            name,
            (module.__doc__ or "").strip().partition("\n")[0],
            " ".join(f"{key}={value}" for key, value in _parameters(module).items()),
        )
        for name, module in modules.items()
    ]
    if options.json:
        out.result_json([{"name": name, "measures": text, "parameters": words} for name, text, words in rows])
    else:
        out.result(_shown(rows))


def _shown(rows: list[tuple[str, str, str]]) -> str:
    """What each measures beside its name, and its parameters below, as wide as the terminal."""
    import shutil
    import textwrap

    margin = max(len(name) for name, _, _ in rows) + 2
    wrap = textwrap.TextWrapper(
        width=max(60, shutil.get_terminal_size((100, 24)).columns),
        subsequent_indent=" " * margin,
        break_on_hyphens=False,
        break_long_words=False,
    )
    lines = []
    for name, text, words in [("NAME", "MEASURES", "PARAMETERS"), *rows]:
        for before, part in ((name, text), ("", words)):
            wrap.initial_indent = before.ljust(margin)
            lines += wrap.wrap(part)
    return "\n".join(lines)


def _measure(module: ModuleType, given: dict[str, Any]) -> dict[str, Any]:
    if not inspect.iscoroutinefunction(module.run):
        measured: dict[str, Any] = module.run(**given)
        return measured
    import anyio

    async def go() -> dict[str, Any]:
        found: dict[str, Any] = await module.run(**given)
        return found

    return anyio.run(go)
