"""What the engine was compiled with, and an engine compiled for this machine in its place.

A build of one's own is never required and never trusted: before its first use with a model it must write the tokens
that the engine of the package writes, and obey a grammar, in a process of its own. One that crashes (kernels for AMX
do on some machines), writes something else or was built without llguidance is told of and left alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

import httpx

from ..errors import SettingsInvalid
from ..messages import Frozen
from .engine import SPIN
from .part import writing
from .schema import compact

KERNELS = (
    "AVX",
    "AVX2",
    "FMA",
    "F16C",
    "AVX512",
    "AVX512_VBMI",
    "AVX512_VNNI",
    "AVX512_BF16",
    "AVX_VNNI",
    "AMX_INT8",
    "NEON",
    "SVE",
)
"""Those that matter for speed, as llama.cpp calls them."""
_FLAGS = {
    "AVX512": "avx512f",
    "AVX512_VBMI": "avx512vbmi",
    "AVX512_VNNI": "avx512_vnni",
    "AVX512_BF16": "avx512_bf16",
    "AVX_VNNI": "avx_vnni",
    "AMX_INT8": "amx_int8",
    "NEON": "asimd",
}
PROMPT = "A river runs from the mountains to the sea. On its way it passes towns, fields and woods. At its mouth lies a"
"""Of more than one batch of one token: the known crash of AMX kernels needs two."""
TOKENS = 12
WORD = "zx-41"
"""No model writes it by itself: an engine that does obeys the grammar."""
_PATIENCE = 300.0


class Kernels(Frozen):
    """What an engine is, and what of the machine it uses."""

    engine: str
    """Name and version, and the folder of one's own build."""
    uses: tuple[str, ...]
    """Kernels that it was compiled with."""
    unused: tuple[str, ...]
    """Kernels that this machine could run besides. AMX is among them; see docs/kernels.md before building for it."""


class Checked(Frozen):
    """What the self-check of a build with a model came to."""

    good: bool
    why: str


@dataclass(frozen=True, slots=True)
class Trial:
    """What an engine did when it was tried."""

    tokens: list[int]
    """How it continues ``PROMPT`` greedily."""
    obeys: bool
    """Whether it wrote what a grammar for llguidance wants, by which schemas are enforced."""


def kernels(build: str = "") -> Kernels:
    """Return what the engine of the package, or the one in the folder ``build``, was compiled with.

    It is asked in a process of its own; one that cannot be loaded uses nothing.
    """
    code = "import sys; sys.path[:0] = sys.argv[1:]; import xllamacpp; print(xllamacpp.get_system_info())"
    try:
        asked = subprocess.run(
            [sys.executable, "-P", "-c", code, *([build] if build else [])],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        uses = uses_of(asked.stdout)
    except (OSError, subprocess.TimeoutExpired):
        uses = ()
    return Kernels(engine=name_of(build), uses=uses, unused=tuple(name for name in _machine() if name not in uses))


def place_of(build: Path) -> Path:
    """Return the whole path of a build of one's own. Raises SettingsInvalid where there is none."""
    place = build.expanduser().absolute()
    if not (place / "xllamacpp").is_dir():
        raise SettingsInvalid(
            f"engine_path = {str(build)!r} holds no xllamacpp; make a build with "
            "`pip install --no-deps --target FOLDER WHEEL` and name that folder, or remove engine_path."
        )
    return place


def uses_of(system_info: str) -> tuple[str, ...]:
    """Return the kernels in llama.cpp's line ``CPU : AVX = 1 | AVX2 = 1 | …``."""
    found = {name for name, value in re.findall(r"(\w+) = (\d+)", system_info) if value != "0"}
    return tuple(name for name in KERNELS if name in found)


def name_of(build: str = "") -> str:
    """Return the engine's name and version; that of a build of one's own changes with its files."""
    if build:
        own = next((found.version for found in distributions(name="xllamacpp", path=[build])), "of unknown version")
        return f"xllamacpp {own}, own build {_mark(Path(build))}"
    try:
        return f"xllamacpp {version('xllamacpp')}"
    except PackageNotFoundError:
        return "xllamacpp (not installed)"


def cpu_name() -> str:
    """Return the processor's name and a hash of what it can do."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}".strip()
    found = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    able = hashlib.sha256(found.get("flags", found.get("Features", "")).encode()).hexdigest()[:8]
    return f"{found.get('model name', platform.machine())} {able}"


def usable(build: Path, model: Path, folder: Path, *, threads: int, tell: Callable[[str], None]) -> str:
    """Return ``build`` when it may run ``model``, else "" (the engine of the package); ``tell`` is told why not.

    The check takes two loads of the model, and is made once per build, model and version of the package; its outcome
    is kept in ``folder``. Blocks. Raises SettingsInvalid where there is no build.
    """
    build = place_of(build)
    state = model.stat()
    key = json.dumps([name_of(str(build)), str(model), state.st_size, state.st_mtime_ns])
    note = folder / f"kernels-{hashlib.sha256(key.encode()).hexdigest()[:16]}.check"
    checked = _noted(note)
    if checked is None:
        checked = compare(_try(model, threads, ""), _try(model, threads, str(build)))
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            note.write_text(checked.model_dump_json(), encoding="utf-8")
    if not checked.good:
        tell(f"the engine in {str(build)!r} is not used: {checked.why}; the engine of the package runs")
    return str(build) if checked.good else ""


def compare(default: Trial | None, own: Trial | None) -> Checked:
    """Judge an own build by the package's engine; None where an engine gave nothing.

    Other kernels round differently, so a rare tie may fall otherwise: half of the tokens must be equal from the
    beginning on.
    """
    if own is None:
        return Checked(good=False, why="it crashed, or did not answer")
    if not own.obeys:
        return Checked(good=False, why="it enforces no JSON schema; build it with llguidance (docs/kernels.md)")
    if default is None:
        # Then there is nothing to fall back to, and it did answer.
        return Checked(good=True, why="the engine of the package does not run here")
    pairs = zip(default.tokens, own.tokens, strict=False)
    shorter = min(len(default.tokens), len(own.tokens))
    same = next((at for at, (a, b) in enumerate(pairs) if a != b), shorter)
    if same * 2 < max(len(default.tokens), 1):
        return Checked(
            good=False, why=f"only {same} of its first {len(default.tokens)} tokens are right ({own.tokens!r})"
        )
    return Checked(good=True, why=f"{same} of {len(default.tokens)} tokens equal")


def _try(model: Path, threads: int, build: str) -> Trial | None:
    """Have an engine of its own continue ``PROMPT`` greedily and obey a grammar; None when it dies of it."""
    token = secrets.token_urlsafe(16)
    order = {"model": str(model), "context": 256, "threads": threads, "token": token, "build": build}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", f"{__package__}.engine"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "GOMP_SPINCOUNT": SPIN},
    )
    assert process.stdin is not None and process.stdout is not None
    # One that hangs is killed, and then its answer ends.
    limit = threading.Timer(_PATIENCE, process.kill)
    limit.start()
    try:
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        url = json.loads(process.stdout.readline())["url"]
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=url, headers=headers, timeout=_PATIENCE, trust_env=False) as client:
            return _tried(client)
    except (OSError, ValueError, KeyError, TypeError, httpx.HTTPError):
        return None
    finally:
        limit.cancel()
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def _tried(client: httpx.Client) -> Trial:
    body = {"prompt": PROMPT, "n_predict": TOKENS, "temperature": 0, "return_tokens": True}
    tokens = [int(item) for item in client.post("/completion", json=body).json()["tokens"]]
    asked = {"prompt": PROMPT, "n_predict": 4 * TOKENS, "temperature": 0, "grammar": compact({"const": WORD})}
    answer = client.post("/completion", json=asked)
    # An engine without llguidance refuses the request.
    return Trial(tokens, obeys=answer.is_success and answer.json()["content"].strip() == json.dumps(WORD))


def _noted(note: Path) -> Checked | None:
    try:
        return Checked.model_validate_json(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _mark(build: Path) -> str:
    files: list[Any] = []
    for path in sorted(build.glob("xllamacpp*/*")):
        state = path.stat()
        # Folders are left out: Python makes one for its bytecode at the first use.
        if path.is_file():
            files.append([path.name, state.st_size, state.st_mtime_ns])
    return hashlib.sha256(json.dumps([str(build), files]).encode()).hexdigest()[:8]


def _machine() -> tuple[str, ...]:
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split())
    except OSError:
        return ()
    return tuple(name for name in KERNELS if _FLAGS.get(name, name.lower()) in flags)
