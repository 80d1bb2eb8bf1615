"""The structs of llama.cpp's C interface as one release of the wheel lays them out, and the check that they are so.

The wheel exports the functions and ships no header, and the structs change between releases without a sign. So only
releases that were looked at are accepted, and at every load the defaults that the library fills in are compared with
what they are in that release: a field that has moved shows another value.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from ...errors import ModelUnavailable

WHEEL = "xllamacpp"
KNOWN = ("2026.10.11549",)
"""Releases of the wheel whose layout is the one below."""
FILL = 0xAB


class ModelParams(ctypes.Structure):
    """``llama_model_params``: 80 bytes, of which the library writes 78."""

    _fields_ = [
        ("devices", ctypes.c_void_p),
        ("buffer_overrides", ctypes.c_void_p),
        ("n_gpu_layers", ctypes.c_int32),
        ("split_mode", ctypes.c_int32),
        ("load_mode", ctypes.c_int32),
        ("lazy_mode", ctypes.c_int32),
        ("main_gpu", ctypes.c_int32),
        ("tensor_split", ctypes.c_void_p),
        ("progress", ctypes.c_void_p),
        ("progress_data", ctypes.c_void_p),
        ("kv_overrides", ctypes.c_void_p),
        ("vocab_only", ctypes.c_bool),
        ("check_tensors", ctypes.c_bool),
        ("use_extra_bufts", ctypes.c_bool),
        ("no_host", ctypes.c_bool),
        ("no_alloc", ctypes.c_bool),
        ("load_mtp", ctypes.c_bool),
    ]


class ContextParams(ctypes.Structure):
    """``llama_context_params``: 168 bytes. ``unnamed`` is a pointer that nothing here sets."""

    _fields_ = [
        ("n_ctx", ctypes.c_uint32),
        ("n_batch", ctypes.c_uint32),
        ("n_ubatch", ctypes.c_uint32),
        ("n_seq_max", ctypes.c_uint32),
        ("n_rs_seq", ctypes.c_uint32),
        ("n_outputs_max", ctypes.c_uint32),
        ("n_outputs_max_per_seq", ctypes.c_uint32),
        ("n_threads", ctypes.c_int32),
        ("n_threads_batch", ctypes.c_int32),
        ("ctx_type", ctypes.c_int32),
        ("rope_scaling_type", ctypes.c_int32),
        ("pooling_type", ctypes.c_int32),
        ("attention_type", ctypes.c_int32),
        ("flash_attn_type", ctypes.c_int32),
        ("rope_freq_base", ctypes.c_float),
        ("rope_freq_scale", ctypes.c_float),
        ("yarn_ext_factor", ctypes.c_float),
        ("yarn_attn_factor", ctypes.c_float),
        ("yarn_beta_fast", ctypes.c_float),
        ("yarn_beta_slow", ctypes.c_float),
        ("yarn_orig_ctx", ctypes.c_uint32),
        ("defrag_thold", ctypes.c_float),
        ("cb_eval", ctypes.c_void_p),
        ("cb_eval_data", ctypes.c_void_p),
        ("type_k", ctypes.c_int32),
        ("type_v", ctypes.c_int32),
        ("abort", ctypes.c_void_p),
        ("abort_data", ctypes.c_void_p),
        ("unnamed", ctypes.c_void_p),
        ("embeddings", ctypes.c_bool),
        ("offload_kqv", ctypes.c_bool),
        ("no_perf", ctypes.c_bool),
        ("op_offload", ctypes.c_bool),
        ("swa_full", ctypes.c_bool),
        ("kv_unified", ctypes.c_bool),
        ("samplers", ctypes.c_void_p),
        ("n_samplers", ctypes.c_size_t),
        ("ctx_other", ctypes.c_void_p),
    ]


class Batch(ctypes.Structure):
    """``llama_batch``: tokens, their positions, the sequences of each, and which give logits."""

    _fields_ = [
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.c_void_p),
        ("embd", ctypes.c_void_p),
        ("pos", ctypes.c_void_p),
        ("n_seq_id", ctypes.c_void_p),
        ("seq_id", ctypes.c_void_p),
        ("logits", ctypes.c_void_p),
    ]


MODEL_DEFAULTS = {"n_gpu_layers": -1, "split_mode": 1, "load_mode": -1, "lazy_mode": 1, "main_gpu": 0} | {
    "vocab_only": False, "check_tensors": False, "use_extra_bufts": True, "no_host": False, "no_alloc": False,
    "load_mtp": False,
}  # fmt: skip
CONTEXT_DEFAULTS = {
    "n_ctx": 512, "n_batch": 2048, "n_ubatch": 512, "n_seq_max": 1, "n_rs_seq": 0, "n_outputs_max": 0,
    "n_outputs_max_per_seq": 1, "n_threads": 4, "n_threads_batch": 4, "ctx_type": 0, "rope_scaling_type": -1,
    "pooling_type": -1, "attention_type": -1, "flash_attn_type": -1, "yarn_ext_factor": -1.0, "yarn_beta_slow": -1.0,
    "defrag_thold": -1.0, "type_k": 1, "type_v": 1, "embeddings": False, "offload_kqv": True, "no_perf": True,
    "op_offload": True, "swa_full": True, "kv_unified": False, "n_samplers": 0,
}  # fmt: skip
WRITTEN = {"llama_model_default_params": 78, "llama_context_default_params": 168}
"""Bytes up to the last one that the library writes."""


def unavailable() -> str:
    """Return why there is no token-level engine on this machine; empty when there is one. Loads nothing."""
    if find_spec(WHEEL) is None:
        return f"the package {WHEEL!r} is not installed; run `pip install 'shuntyard[engine]'`."
    try:
        found = version(WHEEL)
    except PackageNotFoundError:
        found = ""
    if found not in KNOWN:
        return f"{WHEEL} {found!r} is not a release whose layout is known; install {WHEEL}=={KNOWN[-1]}."
    machine = (sys.platform, platform.machine())
    if machine != ("linux", "x86_64"):
        return f"it was checked on Linux x86_64 only, and this is {' '.join(machine)!r}; use the server engine."
    return ""


def library() -> Path:
    """Return the file with llama.cpp in it. Raises ModelUnavailable."""
    why = unavailable()
    if why:
        raise ModelUnavailable(f"the token-level engine is not available: {why}")
    spec = find_spec(WHEEL)
    folders = list(spec.submodule_search_locations or []) if spec is not None else []
    found = sorted(path for folder in folders for path in Path(folder).glob(f"{WHEEL}*.so"))
    if not found:
        raise ModelUnavailable(f"{WHEEL} has no shared object in {folders!r}; install it again.")
    return found[0]


def check(lib: ctypes.CDLL) -> None:
    """Compare the library's defaults with this page's. Raises ModelUnavailable, naming what differs."""
    for name, size in WRITTEN.items():
        found = _written(lib, name)
        if found != size:
            raise _other(f"{name} writes {found!r} bytes and not {size}")
    model = returning(lib, "llama_model_default_params", ModelParams)()
    context = returning(lib, "llama_context_default_params", ContextParams)()
    for struct, expected in ((model, MODEL_DEFAULTS), (context, CONTEXT_DEFAULTS)):
        for field, value in expected.items():
            if getattr(struct, field) != value:
                raise _other(f"{type(struct).__name__}.{field} is {getattr(struct, field)!r} and not {value!r}")


def returning(lib: ctypes.CDLL, name: str, kind: type[ctypes.Structure]) -> ctypes._NamedFuncPointer:
    """Return a function without arguments that gives a struct by value."""
    function = lib[name]
    function.argtypes = []
    function.restype = kind
    return function


def _written(lib: ctypes.CDLL, name: str) -> int:
    """Return how far the function writes; a struct by value comes back through a hidden first pointer."""
    space = (ctypes.c_uint8 * 512)(*([FILL] * 512))
    function = lib[name]
    function.argtypes = [ctypes.c_void_p]
    function.restype = None
    function(ctypes.addressof(space))
    return max((index + 1 for index, value in enumerate(space) if value != FILL), default=0)


def _other(what: str) -> ModelUnavailable:
    return ModelUnavailable(
        f"the layout of {WHEEL} is not the one that is known ({what}); install {WHEEL}=={KNOWN[-1]}."
    )
