"""``shuntyard bench``."""

from __future__ import annotations

import inspect
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Annotated, Any

import typer

from ..errors import UnknownName
from . import out
from .options import Options, takes
from .root import single

app = single()

PACKAGE = "shuntyard.benchmarks"


@app.command()
@takes(Options)
def bench(
    options: Options, name: Annotated[str, typer.Argument(help="Name of the benchmark; none lists them.")] = ""
) -> int:
    """Run a benchmark of Shuntyard itself; without a name list them.

    A benchmark is a module of benchmarks/ with a function run() that returns numbers by name.
    """
    known = names()
    if not name:
        rows = [(item, summary(item)) for item in known]
        if options.json:
            out.result_json([{"name": item, "summary": text} for item, text in rows])
        else:
            out.result(out.table(rows, header=("NAME", "MEASURES")))
        return 0
    if name not in known:
        raise UnknownName("benchmark", name, known)
    measured = _measure(import_module(f"{PACKAGE}.{name}").run)
    if options.json:
        out.result_json(measured)
    else:
        out.result("\n".join(f"{key}: {value}" for key, value in measured.items()))
    return 0


def names() -> list[str]:
    """Every benchmark that is installed."""
    spec = find_spec(PACKAGE)
    places = list(spec.submodule_search_locations or []) if spec is not None else []
    return sorted(module.name for module in iter_modules(places) if not module.name.startswith("_"))


def summary(name: str) -> str:
    """First line of the benchmark's docstring."""
    return (import_module(f"{PACKAGE}.{name}").__doc__ or "").strip().partition("\n")[0]


def _measure(run: Any) -> dict[str, Any]:
    if not inspect.iscoroutinefunction(run):
        measured: dict[str, Any] = run()
        return measured
    import anyio

    found: dict[str, Any] = anyio.run(run)
    return found
