"""llama.cpp token by token: logits, and sequences that are copied, cut, shifted, divided, saved and restored.

A binding of our own to the shared object in the wheel, which has no Python interface for this. Use it in a process
that may die: an argument that llama.cpp refuses can end the process.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ...errors import ContextTooLong, ModelUnavailable
from . import layout

Row: TypeAlias = npt.NDArray[np.float32]
"""One logit per entry of the vocabulary."""

_P, _I, _B, _S = ctypes.c_void_p, ctypes.c_int32, ctypes.c_bool, ctypes.c_char_p
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "llama_backend_init": (None, []),
    "llama_model_load_from_file": (_P, [_S, layout.ModelParams]),
    "llama_init_from_model": (_P, [_P, layout.ContextParams]),
    "llama_free": (None, [_P]),
    "llama_model_free": (None, [_P]),
    "llama_model_get_vocab": (_P, [_P]),
    "llama_model_n_ctx_train": (_I, [_P]),
    "llama_model_chat_template": (_S, [_P, _S]),
    "llama_n_ctx": (ctypes.c_uint32, [_P]),
    "llama_n_batch": (ctypes.c_uint32, [_P]),
    "llama_n_ubatch": (ctypes.c_uint32, [_P]),
    "llama_n_seq_max": (ctypes.c_uint32, [_P]),
    "llama_vocab_n_tokens": (_I, [_P]),
    "llama_vocab_bos": (_I, [_P]),
    "llama_vocab_eos": (_I, [_P]),
    "llama_vocab_is_eog": (_B, [_P, _I]),
    "llama_tokenize": (_I, [_P, _S, _I, _P, _I, _B, _B]),
    "llama_token_to_piece": (_I, [_P, _I, _S, _I, _I, _B]),
    "llama_decode": (_I, [_P, layout.Batch]),
    "llama_get_logits_ith": (ctypes.POINTER(ctypes.c_float), [_P, _I]),
    "llama_get_memory": (_P, [_P]),
    "llama_memory_seq_rm": (_B, [_P, _I, _I, _I]),
    "llama_memory_seq_cp": (None, [_P, _I, _I, _I, _I]),
    "llama_memory_seq_add": (None, [_P, _I, _I, _I, _I]),
    "llama_memory_seq_div": (None, [_P, _I, _I, _I, ctypes.c_int]),
    "llama_memory_seq_pos_max": (_I, [_P, _I]),
    "llama_state_seq_get_size": (ctypes.c_size_t, [_P, _I]),
    "llama_state_seq_get_data": (ctypes.c_size_t, [_P, _P, ctypes.c_size_t, _I]),
    "llama_state_seq_set_data": (ctypes.c_size_t, [_P, _P, ctypes.c_size_t, _I]),
}


@dataclass(frozen=True, slots=True)
class Load:
    """What a model is loaded with."""

    model: Path
    context: int
    """Tokens of all sequences together, and the most of one."""
    threads: int = 1
    sequences: int = 16
    batch: int = 128
    """Most tokens of one pass; longer prompts are read in several."""


@dataclass(slots=True)
class Counts:
    """What a model did since it was loaded."""

    passes: int = 0
    tokens: int = 0


@dataclass(slots=True)
class Tokens:
    """Tokens of one pass, in order."""

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    sequences: list[tuple[int, ...]] = field(default_factory=list)
    """Of each token; several share one computation."""
    outputs: list[int] = field(default_factory=list)
    """Indices of those that give logits."""

    def add(self, token: int, position: int, sequences: tuple[int, ...], *, output: bool) -> int:
        """Append and return its index."""
        if output:
            self.outputs.append(len(self.ids))
        self.ids.append(token)
        self.positions.append(position)
        self.sequences.append(sequences)
        return len(self.ids) - 1


class Llama:
    """One model with one memory that all sequences share (``kv_unified``). Not for several threads."""

    def __init__(self, load: Load) -> None:
        """Load it. Raises ModelUnavailable for a layout that is not known or a file that it cannot read."""
        self._lib = lib = ctypes.CDLL(str(layout.library()))
        layout.check(lib)
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(lib, name)
            function.restype, function.argtypes = result, arguments
        # Its messages would drown the log; what matters comes back as a return value.
        self._quiet = ctypes.CFUNCTYPE(None, ctypes.c_int, _S, _P)(lambda level, text, data: None)
        lib.llama_log_set(self._quiet, None)
        lib.llama_backend_init()
        params = layout.returning(lib, "llama_model_default_params", layout.ModelParams)()
        params.n_gpu_layers = 0
        self._model = lib.llama_model_load_from_file(str(load.model).encode(), params)
        if not self._model:
            raise ModelUnavailable(f"llama.cpp cannot load {str(load.model)!r}; pull the model again.")
        self._context = lib.llama_init_from_model(self._model, self._params(load))
        if not self._context:
            raise ModelUnavailable(f"no memory for a context of {load.context} tokens; lower it.")
        self._read_back(load)
        self._vocab = lib.llama_model_get_vocab(self._model)
        self._memory = lib.llama_get_memory(self._context)
        self.load = load
        self.counts = Counts()
        self.before: Callable[[], None] | None = None
        """Called before every pass; it raises to stop."""
        self.vocabulary = int(lib.llama_vocab_n_tokens(self._vocab))
        self.trained = int(lib.llama_model_n_ctx_train(self._model))

    def _params(self, load: Load) -> Any:
        params = layout.returning(self._lib, "llama_context_default_params", layout.ContextParams)()
        params.n_ctx = load.context
        params.n_batch = params.n_ubatch = params.n_outputs_max = params.n_outputs_max_per_seq = load.batch
        params.n_seq_max = load.sequences
        params.n_threads = params.n_threads_batch = load.threads
        params.kv_unified = True
        return params

    def _read_back(self, load: Load) -> None:
        """A struct that was misread loads a context of other sizes. llama.cpp rounds the context up to 256."""
        context = -(-load.context // 256) * 256
        asked = {"n_ctx": context, "n_batch": load.batch, "n_ubatch": load.batch, "n_seq_max": load.sequences}
        for name, value in asked.items():
            found = getattr(self._lib, f"llama_{name}")(self._context)
            if found != value:
                raise ModelUnavailable(
                    f"the engine has {name}={found!r} and {value!r} was asked for; its layout is another one: "
                    f"install {layout.WHEEL}=={layout.KNOWN[-1]}."
                )

    def close(self) -> None:
        """Free everything; the object is of no use afterwards."""
        if self._context:
            self._lib.llama_free(self._context)
            self._lib.llama_model_free(self._model)
            self._context = self._model = None

    @property
    def template(self) -> str:
        """The chat template in the model's file; empty without one."""
        found = self._lib.llama_model_chat_template(self._model, None)
        return found.decode() if found else ""

    @property
    def marks(self) -> tuple[str, str]:
        """The texts of the tokens that begin and end a text."""
        ids = self._lib.llama_vocab_bos(self._vocab), self._lib.llama_vocab_eos(self._vocab)
        begin, end = (self.piece(token, special=True).decode(errors="replace") if token >= 0 else "" for token in ids)
        return begin, end

    def tokenize(self, text: str, *, special: bool = True) -> list[int]:
        """Return the tokens of ``text``; ``special`` reads marks such as ``<|im_end|>`` as one token."""
        data = text.encode()
        room = (ctypes.c_int32 * (len(data) + 16))()
        count = self._lib.llama_tokenize(self._vocab, data, len(data), room, len(room), special, special)
        if count < 0:
            raise ContextTooLong(f"a text of {len(data)} bytes cannot be tokenised; shorten it.")
        return list(room[:count])

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """Return the bytes of ``token``; a mark has none unless ``special``."""
        room = ctypes.create_string_buffer(512)
        count = self._lib.llama_token_to_piece(self._vocab, token, room, len(room), 0, special)
        return room.raw[: max(count, 0)]

    def text(self, tokens: Sequence[int]) -> str:
        """Return what ``tokens`` say."""
        return b"".join(self.piece(token) for token in tokens).decode(errors="replace")

    def ends(self, token: int) -> bool:
        """Whether ``token`` ends an answer."""
        return bool(self._lib.llama_vocab_is_eog(self._vocab, token))

    def run(self, tokens: Tokens) -> list[Row]:
        """Compute one pass and return the logits of its outputs, in order.

        Positions of a sequence must follow on from what it holds. Raises ContextTooLong when the memory is full.
        """
        if self.before is not None:
            self.before()
        ids = np.array(tokens.ids, np.int32)
        positions = np.array(tokens.positions, np.int32)
        sizes = np.array([len(item) for item in tokens.sequences], np.int32)
        flat = np.array([number for item in tokens.sequences for number in item], np.int32)
        starts = (flat.ctypes.data + 4 * (np.cumsum(sizes, dtype=np.int64) - sizes)).astype(np.uint64)
        wanted = np.zeros(len(ids), np.int8)
        wanted[tokens.outputs] = 1
        arrays = (positions, sizes, starts, wanted)
        batch = layout.Batch(len(ids), ids.ctypes.data, None, *(array.ctypes.data for array in arrays))
        code = self._lib.llama_decode(self._context, batch)
        if code == 1:
            raise ContextTooLong(f"the {self.load.context} tokens of the engine's memory are full; shorten the prompt.")
        if code:
            raise ModelUnavailable(f"llama.cpp refuses a pass of {len(ids)} tokens (code {code}); try again.")
        self.counts.passes += 1
        self.counts.tokens += len(ids)
        return [self._row(index) for index in tokens.outputs]

    def _row(self, index: int) -> Row:
        pointer = self._lib.llama_get_logits_ith(self._context, index)
        return np.ctypeslib.as_array(pointer, (self.vocabulary,)).copy()

    def feed(self, ids: Sequence[int], at: int, *, sequence: int = 0) -> Row:
        """Read ``ids`` from position ``at`` on and return the logits after the last. Raises as ``run``."""
        row: Row | None = None
        for begin in range(0, len(ids), self.load.batch):
            part = Tokens()
            for offset, token in enumerate(ids[begin : begin + self.load.batch], start=begin):
                part.add(token, at + offset, (sequence,), output=offset == len(ids) - 1)
            rows = self.run(part)
            row = rows[0] if rows else row
        if row is None:
            raise ValueError("no tokens to read; give at least one.")
        return row

    def cut(self, sequence: int, begin: int = -1, end: int = -1) -> None:
        """Forget the positions from ``begin`` up to ``end``; -1 is from the first, to the last."""
        self._lib.llama_memory_seq_rm(self._memory, sequence, begin, end)

    def copy(self, source: int, target: int, begin: int = -1, end: int = -1) -> None:
        """Let ``target`` hold what ``source`` holds there too; nothing is computed or moved."""
        self._lib.llama_memory_seq_cp(self._memory, source, target, begin, end)

    def shift(self, sequence: int, begin: int, end: int, by: int) -> None:
        """Move positions; the keys are turned at the next pass."""
        self._lib.llama_memory_seq_add(self._memory, sequence, begin, end, by)

    def divide(self, sequence: int, begin: int, end: int, by: int) -> None:
        """Divide positions, so that ``by`` neighbours share one."""
        self._lib.llama_memory_seq_div(self._memory, sequence, begin, end, by)

    def last(self, sequence: int = 0) -> int:
        """Return the largest position that ``sequence`` holds; -1 when it holds none."""
        return int(self._lib.llama_memory_seq_pos_max(self._memory, sequence))

    def save(self, sequence: int) -> bytes:
        """Return the state of ``sequence``, for ``restore`` on the same model and settings."""
        room = ctypes.create_string_buffer(self._lib.llama_state_seq_get_size(self._context, sequence))
        count = self._lib.llama_state_seq_get_data(self._context, room, len(room), sequence)
        return room.raw[:count]

    def restore(self, sequence: int, state: bytes) -> None:
        """Let ``sequence`` hold what ``save`` returned. Raises ModelUnavailable for a state of another kind."""
        self.cut(sequence)
        if self._lib.llama_state_seq_set_data(self._context, state, len(state), sequence) != len(state):
            raise ModelUnavailable(f"a saved state of {len(state)} bytes does not fit the engine; compute it anew.")
