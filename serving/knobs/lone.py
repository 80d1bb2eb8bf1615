"""An engine by itself, for measurements: nobody finds it, and it ends with its block. Everything blocks."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx

from ...errors import ModelUnavailable
from ..engine import SPIN
from .knobs import Knobs

_KV = re.compile(r"KV buffer size = +([0-9.]+) MiB")
_LOUD = 4
"""From this level on llama.cpp says how large its KV buffers are."""


@dataclass(frozen=True, slots=True)
class Lone:
    """An engine that only its starter knows."""

    client: httpx.Client
    pid: int
    tokens_of_kv: int
    """Tokens that its KV memory holds, all slots together."""
    kv_mib: float
    """Size of that memory, as the engine says."""

    def cpu(self) -> float:
        """CPU seconds of its process so far; the wall clock where the system does not tell."""
        try:
            text = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        except OSError:
            return time.monotonic()
        return (int(text[11]) + int(text[12])) / os.sysconf("SC_CLK_TCK")

    def read(self, said: Sequence[tuple[str, str]]) -> list[int]:
        """Return the tokens of a conversation of (role, content)."""
        messages = [{"role": role, "content": content} for role, content in said]
        prompt = self._post("/apply-template", {"messages": messages})["prompt"]
        found = self._post("/tokenize", {"content": prompt, "add_special": True, "parse_special": True})
        return list(found["tokens"])

    def answer(self, tokens: Sequence[int], count: int, **more: Any) -> dict[str, Any]:
        """Generate ``count`` tokens greedily after ``tokens``, on the first slot."""
        body = {"prompt": list(tokens), "n_predict": count, "temperature": 0, "cache_prompt": True, "id_slot": 0}
        return self._post("/completion", body | more)

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = self.client.post(path, json=body)
        except httpx.HTTPError as error:
            raise ModelUnavailable(f"the engine that was measured stopped ({error!r}); measure again.") from None
        if answer.status_code != 200:
            raise ModelUnavailable(f"the engine answers HTTP {answer.status_code} to {path}: {answer.text[:200]}.")
        return dict(answer.json())


@contextmanager
def lone(
    weights: Path, knobs: Knobs, *, context: int = 2048, states: Path | None = None, build: str = "", plain: int = 0
) -> Iterator[Lone]:
    """An engine on ``weights`` that ends with the block; ``build`` and ``plain`` as in an engine's order.

    Raises ModelUnavailable with what it said last.
    """
    if find_spec("xllamacpp") is None:
        raise ModelUnavailable("nothing to measure without the engine; run `pip install 'shuntyard[engine]'`.")
    token = secrets.token_urlsafe(16)
    order = {
        "model": str(weights),
        "context": context,
        "threads": knobs.threads,
        "token": token,
        "knobs": knobs.order(),
        "states": str(states or ""),
        "verbosity": _LOUD,
        "build": build,
        "plain": plain,
    }
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", f"{__package__.partition('.')[0]}.serving.engine"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "GOMP_SPINCOUNT": SPIN},
        )
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(order).encode() + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
            log.seek(0)
            said = log.read().decode(errors="replace")
            if not line:
                last = next((part for part in reversed(said.splitlines()) if part.strip()), "it left no message")
                raise ModelUnavailable(f"no engine starts on {str(weights)!r} with {knobs.kv}: {last[:300]}.")
            headers = {"Authorization": f"Bearer {token}"}
            url = json.loads(line)["url"]
            with httpx.Client(base_url=url, headers=headers, timeout=None, trust_env=False, verify=False) as client:
                held = sum(float(size) for size in _KV.findall(said))
                yield Lone(client, process.pid, context * (plain or knobs.slots), held)
        finally:
            process.stdin.close()
            process.wait()
            process.stdout.close()
