"""Model files of any size with random weights, and everything else of a real one: unseen models for a prediction."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import NamedTuple

from ...errors import UsageError
from ...serving.predict.gguf import PACKINGS, read_header

_ALIGNMENT = 32
_TYPES = {packing.name: number for number, packing in PACKINGS.items()}
_HALF = struct.pack("<e", 0.004)
_SCALES = {
    "Q8_0": (0, _HALF),
    "Q4_0": (0, _HALF),
    "Q5_0": (0, _HALF),
    "Q4_1": (0, _HALF + struct.pack("<e", -0.03)),
    "Q4_K": (0, struct.pack("<ee", 0.0002, 0.002)),
    "Q6_K": (208, struct.pack("<e", 0.00001)),
}
"""By type, where in a block its scale stands, and one so small that nothing overflows."""


class Size(NamedTuple):
    """A model to be made."""

    layers: int
    embd: int
    kind: str = "Q4_1"
    """Tensor type of the matrices in its layers."""

    @property
    def heads(self) -> int:
        """Of 64 each."""
        return self.embd // 64

    @property
    def ff(self) -> int:
        """Width of the feed-forward layers; blocks of 256 must fit it."""
        return self.embd * 8 // 3 // 256 * 256


def size_of(text: str) -> Size:
    """Read ``12x768`` or ``12x768:Q4_K``: layers, width and tensor type. Raises UsageError."""
    size, _, kind = text.partition(":")
    layers, _, embd = size.partition("x")
    if not (layers.isdigit() and embd.isdigit() and int(layers) and int(embd) and int(embd) % 256 == 0):
        raise UsageError(f"{text!r} is no size; write LAYERSxWIDTH with a width that 256 divides, like 12x768.")
    if kind and kind not in _SCALES:
        raise UsageError(f"{text!r} has the tensor type {kind!r}; there are {', '.join(_SCALES)}.")
    return Size(int(layers), int(embd), *([kind] if kind else []))


def make(path: Path, source: Path, size: Size) -> Path:
    """Write a model of ``size`` to ``path``; the fields come from ``source``.

    ``source`` must be of the llama architecture. Deterministic.
    """
    header = read_header(source)
    fields = bytearray(source.read_bytes()[24 : header.fields_end])
    for key, value in {
        "block_count": size.layers,
        "embedding_length": size.embd,
        "feed_forward_length": size.ff,
        "attention.head_count": size.heads,
        "attention.head_count_kv": max(1, size.heads // 4),
        "rope.dimension_count": 64,
    }.items():
        _patch(fields, f"llama.{key}", value)
    vocab = next(tensor.dims[1] for tensor in header.tensors if tensor.name == "token_embd.weight")
    tensors = _tensors(size, vocab)
    infos, offset = b"", 0
    for name, dims, form in tensors:
        infos += struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", len(dims))
        infos += struct.pack(f"<{len(dims)}Q", *dims) + struct.pack("<IQ", _TYPES[form], offset)
        offset += -(-_bytes(dims, form) // _ALIGNMENT) * _ALIGNMENT
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(header.fields)) + bytes(fields) + infos
    rng = random.Random(size.layers * 100_003 + size.embd)
    tiles = {form: _tile(form, rng) for form in {form for _, _, form in tensors}}
    with path.open("wb") as stream:
        stream.write(head + bytes(-len(head) % _ALIGNMENT))
        for _, dims, form in tensors:
            count, tile = _bytes(dims, form), tiles[form]
            for begin in range(0, count, len(tile)):
                stream.write(tile[: min(len(tile), count - begin)])
            stream.write(bytes(-count % _ALIGNMENT))
    return path


def _tensors(size: Size, vocab: int) -> list[tuple[str, tuple[int, ...], str]]:
    keys = max(1, size.heads // 4) * 64
    found: list[tuple[str, tuple[int, ...], str]] = [
        ("token_embd.weight", (size.embd, vocab), "Q8_0"),
        ("output_norm.weight", (size.embd,), "F32"),
    ]
    for layer in range(size.layers):
        begin = f"blk.{layer}."
        found += [(f"{begin}{name}.weight", (size.embd,), "F32") for name in ("attn_norm", "ffn_norm")]
        matrices = {
            "attn_q": (size.embd, size.embd),
            "attn_k": (size.embd, keys),
            "attn_v": (size.embd, keys),
            "attn_output": (size.embd, size.embd),
            "ffn_gate": (size.embd, size.ff),
            "ffn_up": (size.embd, size.ff),
            "ffn_down": (size.ff, size.embd),
        }
        found += [(f"{begin}{name}.weight", dims, size.kind) for name, dims in matrices.items()]
    return found


def _bytes(dims: tuple[int, ...], form: str) -> int:
    packing = PACKINGS[_TYPES[form]]
    count = 1
    for dim in dims:
        count *= dim
    return count // packing.elements * packing.bytes


def _tile(form: str, rng: random.Random) -> bytes:
    """Some thousand blocks with a small scale, so that nothing overflows."""
    if form == "F32":
        return struct.pack("<f", 1.0) * 4096
    at, scale = _SCALES[form]
    rest = PACKINGS[_TYPES[form]].bytes - at - len(scale)
    return b"".join(rng.randbytes(at) + scale + rng.randbytes(rest) for _ in range(4096))


def _patch(fields: bytearray, key: str, value: int) -> None:
    """Overwrite a field of four bytes in place."""
    written = struct.pack("<Q", len(key)) + key.encode()
    at = fields.find(written)
    if at >= 0:
        at += len(written) + 4
        fields[at : at + 4] = struct.pack("<I", value)
