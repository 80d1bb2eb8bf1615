"""The engine: llama.cpp's HTTP server, alone in a process that ends when its parent does.

Run as ``python -m shuntyard.serving.engine``. The first line of stdin is its order (JSON); the answer on
stdout is one line, ``{"url": …}``. It serves until stdin ends, which happens by itself when the parent is
killed. Everything llama.cpp prints goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

BATCH = 128
"""Prompt tokens computed in one go: bounds how long a running answer waits for a newcomer's prompt."""
SLOTS = 3
"""Conversations whose prompts stay warm, and answers generated at once."""
KV_TYPE = "f16/f16"
"""Types of keys and values in the engine's memory: llama.cpp's default."""
PROMPT_CACHE_MIB = 512
"""Memory for prompts that lost their slot."""


def parameters(order: dict[str, Any]) -> Any:
    """Return llama.cpp's parameters for an order (``model``, ``context``, ``threads``, ``token``, ``states``).

    ``states`` is the folder of saved prompt states; without it none are saved. ``plain``, when it is there, asks
    for llama.cpp's own defaults with that many slots, which benchmarks compare with.
    """
    from xllamacpp import CommonParams

    params = CommonParams()
    params.model.path = order["model"]
    plain = int(order.get("plain", 0))
    params.n_parallel = plain or SLOTS
    params.n_ctx = order["context"] * params.n_parallel
    if not plain:
        # The context is split among the slots: with one shared by all, two long answers abort each other.
        params.kv_unified = False
        params.n_batch = params.n_ubatch = BATCH
        params.cache_ram_mib = PROMPT_CACHE_MIB
    if order.get("states"):
        params.slot_save_path = order["states"] + os.sep
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = order["threads"]
    params.cpuparams_batch.n_threads = order["threads"]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [order["token"]]
    params.ui = False
    params.verbosity = 1
    return params


def main() -> None:
    """Serve until stdin ends."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    order = json.loads(sys.stdin.readline())
    # Also while the model is being loaded, a parent that dies takes the engine with it.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if order.get("build"):
        # A build of a person's own goes before the package.
        sys.path.insert(0, order["build"])
    from xllamacpp import Server

    server = Server(parameters(order))
    answer.write(json.dumps({"url": server.listening_address}) + "\n")
    answer.flush()
    threading.Event().wait()


def _end_with_parent() -> None:
    while sys.stdin.readline():
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
