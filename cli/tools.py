"""``shuntyard tools``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from ..errors import UnknownName, UsageError
from ..steps import ToolSpec
from . import out
from .options import ToolOptions, takes
from .root import single

app = single()


@app.command()
@takes(ToolOptions)
def tools(
    options: ToolOptions,
    action: Annotated[Literal["list", "show"], typer.Argument(help="List them, or show one.")] = "list",
    name: Annotated[str, typer.Argument(metavar="NAME", help="show: which tool.")] = "",
) -> int:
    """List the tools that plans can use, or show one with its parameters."""
    if action == "show" and not name:
        raise UsageError("which tool? Write: shuntyard tools show NAME.")
    from ..agents.executors import executor_for
    from ..agents.rooms import gather_tools
    from ..tools.registry import Registry

    settings = options.settings()
    registry = Registry(gather_tools(settings, (), builtin=True))
    specs = {spec.name: spec for spec in registry.specs()}
    if action == "list":
        return _list(list(specs.values()), as_json=options.json)
    if name not in specs:
        raise UnknownName("tool", name, list(specs))
    if options.json:
        out.result_json(specs[name].model_dump(mode="json"))
    else:
        where = executor_for(settings, registry).where(name)
        out.result("\n".join([*describe(specs[name]), f"runs {where}"]))
    return 0


def describe(spec: ToolSpec) -> list[str]:
    """A tool for people: what it does, what it takes, what it may do to the world."""
    lines = [f"{spec.name}  ({spec.effect.value})", f"  {spec.description}", "", "parameters"]
    required = spec.parameters.get("required", [])
    for name, schema in spec.parameters.get("properties", {}).items():
        default = "" if name in required else f" = {schema.get('default')!r}"
        text = schema.get("description", "")
        lines.append(f"  {name}: {kind_of(schema)}{default}{'  ' + text if text else ''}")
    if spec.returns is not None:
        lines.extend(["", f"returns {kind_of(spec.returns)}"])
    notes = [f"time limit {spec.timeout:g} s"]
    if spec.idempotent:
        notes.append("may be repeated after a crash")
    if spec.resource:
        notes.append(f"uses {spec.resource}")
    if spec.limit is not None:
        notes.append(f"at most {spec.limit} at once")
    if spec.cost:
        notes.append(f"{out.money(spec.cost)} a call")
    return [*lines, "", ", ".join(notes)]


def kind_of(schema: dict[str, Any]) -> str:
    """A JSON schema's type in a word or two."""
    if "enum" in schema:
        return " | ".join(repr(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(kind_of(part) for part in schema["anyOf"])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {kind_of(schema.get('items', {}))}"
    return " | ".join(kind) if isinstance(kind, list) else str(kind)


def _list(specs: list[ToolSpec], *, as_json: bool) -> int:
    if as_json:
        out.result_json([spec.model_dump(mode="json") for spec in specs])
        return 0
    rows = [(spec.name, spec.effect.value, " ".join(spec.description.split())) for spec in specs]
    out.result(out.table(rows, header=("NAME", "EFFECT", "DOES")))
    return 0
