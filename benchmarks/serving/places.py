"""What is measured: an engine's own server, and ours in front of it, each a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import httpx

from ...errors import ModelUnavailable
from ...serving import LocalSource, running
from ...settings import load


class Held(NamedTuple):
    """What a process holds."""

    kib: int
    files: int


@dataclass(frozen=True, slots=True)
class Place:
    """A server to send requests to."""

    url: str
    model: str
    pid: int
    headers: dict[str, str] = field(default_factory=dict)

    def cpu(self) -> float:
        """CPU seconds of the process so far, to the microsecond (Linux)."""
        return time.clock_gettime((~self.pid << 3) | 2)

    def held(self) -> Held:
        """Resident memory and open files of the process (Linux)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        kib = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
        return Held(kib, len(list(Path(f"/proc/{self.pid}/fd").iterdir())))


@contextmanager
def engine_of(model: str) -> Iterator[Place]:
    """The engine's own server: the supervised child of a local model, or the stub. Raises ModelUnavailable."""
    if model == "stub":
        with _process(_module("stub")) as process:
            assert process.stdout is not None
            yield Place(f"http://127.0.0.1:{int(process.stdout.readline())}", "stub", process.pid)
        return
    import anyio.from_thread

    settings = load()
    with anyio.from_thread.start_blocking_portal() as portal:
        portal.call(LocalSource(settings).open, model)
    engine = next(item for item in running(settings) if item.name == model)
    # llama.cpp ends a connection after every stream without a word; a request that follows on it is lost.
    headers = {"Authorization": f"Bearer {engine.token}", "Connection": "close"}
    yield Place(engine.url, model, engine.engine_pid, headers)


@contextmanager
def relay_before(engine: Place, loop: str) -> Iterator[Place]:
    """A program that only hands bytes on to ``engine``, in the event loop named: the floor."""
    port = engine.url.rpartition(":")[2]
    with _process(_module("relay", port, loop)) as process:
        assert process.stdout is not None
        url = f"http://127.0.0.1:{int(process.stdout.readline())}"
        yield Place(url, engine.model, process.pid, engine.headers)


@contextmanager
def server_before(engine: Place) -> Iterator[Place]:
    """Our server in front of ``engine``. Raises ModelUnavailable when it does not start."""
    environment = dict(os.environ)
    if engine.model == "stub":
        environment["SHUNTYARD_MODELS"] = f'{{stub = {{url = "{engine.url}/v1"}}}}'
    with _process(_module("leash", "serve", "--port", "0", "--json", "--model", engine.model), environment) as process:
        assert process.stdout is not None
        text = ""
        for line in process.stdout:
            text += line
            if line == "}\n":
                break
        else:
            raise ModelUnavailable(f"the server did not start ({text!r}); run `shuntyard serve` and see why.")
        url = json.loads(text)["url"]
        _until_it_answers(url)
        yield Place(url, engine.model, process.pid)


def _until_it_answers(url: str) -> None:
    for _ in range(200):
        try:
            if httpx.get(f"{url}/health", trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.05)
    raise ModelUnavailable(f"the server at {url!r} does not answer; run `shuntyard serve` and see why.")


def _module(name: str, *words: str) -> list[str]:
    return [sys.executable, "-P", "-m", f"{__package__}.{name}", *words]


@contextmanager
def _process(command: list[str], environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with the block, or with this process (``leash``)."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=60)
