"""``shuntyard doctor``."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..errors import ShuntyardError
from ..settings import Settings, cache, home
from . import out
from .options import Options, takes
from .root import single

app = single()

CORE = ("langgraph", "litellm", "pydantic", "sqlalchemy", "chromadb", "networkx", "typer")
EXTRAS = {"engine": ("xllamacpp", "onnxruntime", "tokenizers", "numpy")}
ENOUGH = 3_000_000_000
"""Bytes that the models and a database of some thousand runs take."""


class Check(NamedTuple):
    """One line of the report."""

    name: str
    ok: bool
    text: str
    mend: str = ""


@app.command()
@takes(Options)
def doctor(options: Options) -> int:
    """Check this installation and say how to mend what is amiss; exit code 1 when something is."""
    checks = [check for found in (_settings(options), _versions()) for check in found]
    try:
        settings = options.settings()
    except ShuntyardError:
        settings = None
    if settings is not None:
        checks.extend(_places(settings))
        checks.extend(_models(settings))
        checks.extend(_safety(settings))
    bad = [check for check in checks if not check.ok]
    if options.json:
        out.result_json({"ok": not bad, "checks": [check._asdict() for check in checks]})
    else:
        for check in checks:
            mend = "" if check.ok or not check.mend else f"\n      mend: {check.mend}"
            out.result(f"{'ok  ' if check.ok else 'warn'}  {check.name}: {check.text}{mend}")
    return 1 if bad else 0


def _settings(options: Options) -> Iterator[Check]:
    try:
        settings = options.settings()
    except ShuntyardError as error:
        yield Check("settings", False, error.message, "correct that value; the other checks need it.")
        return
    yield Check("settings", True, f"workspace {settings.workspace}, model {settings.model or 'chosen by the router'}")


def _versions() -> Iterator[Check]:
    from importlib.metadata import PackageNotFoundError, version

    python = platform.python_version()
    yield Check(
        "python",
        sys.version_info >= (3, 11),
        f"{python} on {platform.system()} {platform.machine()}",
        "use Python 3.11 or newer.",
    )
    found, missing = [], []
    for name in ("shuntyard", *CORE):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    text = ", ".join(found) + (f"; missing: {', '.join(missing)}" if missing else "")
    yield Check("packages", not missing, text, f"pip install {' '.join(missing)}")
    for extra, names in EXTRAS.items():
        lacking = [name for name in names if not _installed(name)]
        text = "installed" if not lacking else f"without {', '.join(lacking)} there are no local models"
        yield Check(
            f"extra {extra}", not lacking, text, f"pip install 'shuntyard[{extra}]', or use a model behind a URL."
        )


def _installed(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


def _places(settings: Settings) -> Iterator[Check]:
    yield _place("data", home(settings), "SHUNTYARD_HOME")
    yield _place("cache", cache(settings), "SHUNTYARD_CACHE")
    yield _database(settings)
    free = shutil.disk_usage(_nearest(cache(settings))).free
    yield Check("disk", free > ENOUGH, f"{out.size(free)} free", f"free some: models and runs need {out.size(ENOUGH)}.")


def _place(name: str, folder: Path, variable: str) -> Check:
    base = _nearest(folder)
    ok = base.is_dir() and os.access(base, os.W_OK)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0
    text = f"{folder}, {out.size(size)}{'' if ok else ', not writable'}"
    return Check(name, ok, text, f"make it writable or set {variable} to another folder.")


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _database(settings: Settings) -> Check:
    from ..memory.store import FILE
    from .kept import opened

    if not (home(settings) / FILE).exists():
        return Check("database", True, "not made yet; the first run makes it")
    try:
        with opened(settings) as kept:
            size = kept.runs.size()
    except ShuntyardError as error:
        return Check("database", False, error.message, "see the message.")
    from ..memory.tables import HEAD

    counts = f"{size.runs} runs, {size.steps} steps, {size.trajectories} remembered tasks"
    apart = (
        f", {size.blobs} big value{'' if size.blobs == 1 else 's'} in files ({out.size(size.blob_bytes)})"
        if size.blobs
        else ""
    )
    total = out.size(size.bytes + size.index_bytes + size.blob_bytes)
    return Check("database", True, f"version {HEAD}, {counts}{apart}, {total}")


def _models(settings: Settings) -> Iterator[Check]:
    from .models import engines, rows

    there = [row.name for row in rows(settings) if row.installed]
    text = ", ".join(there) or "none installed"
    yield Check(
        "models", bool(there), text, "shuntyard models pull qwen2.5-coder-1.5b, or name a URL in shuntyard.toml."
    )
    running = engines(settings)
    yield Check("engines", True, ", ".join(running) or "none running")


def _safety(settings: Settings) -> Iterator[Check]:
    yield _sandbox()
    hosts = ", ".join(settings.allow_http) or "off: http_get may fetch from no host"
    yield Check("network", True, hosts)


def _sandbox() -> Check:
    import anyio

    from ..tools.python import isolation

    mend = "run_python asks before every snippet; allow user namespaces and Landlock, or deny it by a rule."
    try:
        closed = anyio.run(isolation)
    except (ShuntyardError, OSError) as error:
        return Check("sandbox", False, f"no snippet can run: {error}", mend)
    open_ = [name for name, shut in closed.items() if not shut]
    if open_:
        return Check("sandbox", False, f"this system cannot keep snippets from {', '.join(open_)}", mend)
    return Check("sandbox", True, f"snippets are kept from {' and '.join(closed)} of this machine")
