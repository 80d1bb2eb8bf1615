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

BATCH = 256
"""Prompt tokens computed in one go at most: bounds how long a running answer waits for a newcomer's prompt. Of 512 a
token takes no less; of 128 it takes 6 % more (SmolLM2-135M, two cores of an AMD EPYC)."""
SPIN = "1000"
"""``GOMP_SPINCOUNT``, which counts only when it is set before the library loads: how long a thread spins at one of the
hundreds of barriers of a pass before it sleeps. Milliseconds a token of Qwen2.5-Coder-1.5B, two threads on two cores of
an AMD EPYC: with 0 (asleep at once) 50 on idle cores, 64 and 123 beside one and two busy programs; with 1000 35, 79 and
83; with OpenMP's own 33, 111 and 152."""
SLOTS = 3
"""Conversations whose prompts stay warm, and answers generated at once, where ``knobs.slots`` does not say more."""
GUESS = 3
"""Tokens that n-grams guess at once: with the one before them a pass of four, which kernels compute at a time."""
_CHEAP = 4
"""Up to so many tokens at once a wrong guess costs little; more are guessed only where more speaks for them."""
PROMPT_CACHE_MIB = 512
"""Memory for prompts that lost their slot."""


def parameters(order: dict[str, Any]) -> Any:
    """Return llama.cpp's parameters for an order (``model``, ``context``, ``threads``, ``token``, ``states``).

    ``states`` is the folder of saved prompt states; without it none are saved. ``knobs`` are those of
    ``serving/knobs/``, ours where they are not given. ``plain``, when it is there, asks for llama.cpp's own defaults
    with that many slots, which benchmarks compare with.
    """
    from xllamacpp import CommonParams

    params = CommonParams()
    knobs = order.get("knobs", {})
    params.model.path = order["model"]
    plain = int(order.get("plain", 0))
    params.n_parallel = plain or knobs.get("slots", SLOTS)
    params.n_ctx = order["context"] * params.n_parallel
    if not plain:
        # The context is split among the slots: with one shared by all, two long answers abort each other.
        params.kv_unified = False
        params.cache_ram_mib = PROMPT_CACHE_MIB
        _turn(params, knobs)
    if order.get("states"):
        params.slot_save_path = order["states"] + os.sep
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = order["threads"]
    params.cpuparams_batch.n_threads = knobs.get("threads_batch") or order["threads"]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [order["token"]]
    params.ui = False
    params.verbosity = order.get("verbosity", 1)
    return params


def _turn(params: Any, knobs: dict[str, Any]) -> None:
    from xllamacpp import common_speculative_type, ggml_type, llama_flash_attn_type

    params.n_batch = knobs.get("batch", BATCH)
    params.n_ubatch = knobs.get("ubatch") or params.n_batch
    params.cache_type_k = ggml_type[f"GGML_TYPE_{knobs.get('kv_keys', 'f16').upper()}"]
    params.cache_type_v = ggml_type[f"GGML_TYPE_{knobs.get('kv_values', 'f16').upper()}"]
    flash = {"auto": "AUTO", "on": "ENABLED", "off": "DISABLED"}[knobs.get("flash", "auto")]
    params.flash_attn_type = llama_flash_attn_type[f"LLAMA_FLASH_ATTN_TYPE_{flash}"]
    kind = knobs.get("speculation", "off")
    if kind == "off":
        return
    guess = params.speculative
    ahead = knobs.get("guess", GUESS)
    # Tokens in a row that must have been seen before; llama.cpp's are for long copies, and agents' answers are short.
    behind, least = (3, 1) if ahead <= _CHEAP else (6, 2)
    guess.ngram_mod.n_match, guess.ngram_mod.n_min, guess.ngram_mod.n_max = behind, min(least, ahead), ahead
    guess.ngram_map_k.size_n, guess.ngram_map_k.size_m = behind, ahead
    guess.ngram_simple.size_n, guess.ngram_simple.size_m = behind, ahead
    if kind == "draft":
        guess.draft.mparams.path = knobs["draft"]
        guess.draft.cpuparams.n_threads = guess.draft.cpuparams_batch.n_threads = params.cpuparams.n_threads
        kind = "draft_simple"
    guess.types = [common_speculative_type[f"COMMON_SPECULATIVE_TYPE_{kind.upper()}"]]


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
