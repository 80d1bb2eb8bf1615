"""What a model computes and holds, by operator and tensor type."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ...errors import ModelFileBad
from ...messages import Frozen
from .gguf import Header, Tensor, read_header

Operator: TypeAlias = Literal["embedding", "qkv", "attention out", "ffn", "experts", "lm_head", "other"]

REPACKED = frozenset({"Q4_0", "Q4_K", "Q2_K", "IQ4_NL"})
"""Types whose matrices llama.cpp keeps a second time on x86, in an order that its kernels read faster."""
_BLOCK = re.compile(r"blk\.\d+\.(.+)\.weight$")
_OPERATORS: tuple[tuple[str, Operator], ...] = (
    (r"ffn_(gate|up|down|gate_up)_exps", "experts"),
    (r"ffn_.+", "ffn"),
    (r"attn_(q|k|v|qkv)", "qkv"),
    (r"attn_output", "attention out"),
)


class Weights(Frozen):
    """The matrices of one operator in one tensor type, of all layers together."""

    operator: Operator
    type: str
    elements: int
    bytes: int


class Shape(Frozen):
    """One model as its file describes it."""

    architecture: str
    name: str
    layers: int
    embd: int
    heads: int
    kv_heads: float
    """Of a layer; a mean where layers differ."""
    key: int
    """Width of a key of one head."""
    value: int
    ff: float
    vocab: int
    context: int
    """Tokens that it was trained for."""
    experts: int = 0
    experts_used: int = 0
    """For each token."""
    tied: bool
    """The embedding is also the last matrix, in memory once."""
    parameters: int
    file_bytes: int
    weights: tuple[Weights, ...]
    """Matrices that are multiplied with; a tied embedding counts as ``lm_head``."""

    @property
    def active(self) -> float:
        """Parameters of matrices that one token is multiplied with."""
        share = self.experts_used / self.experts if self.experts else 1.0
        return sum(item.elements * (share if item.operator == "experts" else 1.0) for item in self.weights)

    @property
    def mix(self) -> dict[str, float]:
        """Share of the bytes of the matrices by tensor type, largest first."""
        total = Counter[str]()
        for item in self.weights:
            total[item.type] += item.bytes
        return {kind: count / total.total() for kind, count in total.most_common()}

    @property
    def repacked(self) -> int:
        """Bytes of matrices that are in memory twice."""
        return sum(item.bytes for item in self.weights if item.type in REPACKED and item.operator != "lm_head")

    def kv_bytes(self, kv_type: str) -> float:
        """Keys and values of one token, in all layers; ``kv_type`` as ``f16/f16``. Raises KeyError for other types."""
        keys, _, values = kv_type.partition("/")
        width = self.key * KV_BYTES[keys] + self.value * KV_BYTES[values or keys]
        return self.layers * self.kv_heads * width


KV_BYTES = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32, "q5_1": 0.75, "q5_0": 22 / 32, "q4_1": 0.625}
KV_BYTES["q4_0"] = KV_BYTES["iq4_nl"] = 18 / 32
"""Bytes of one number in the engine's memory of keys and values."""


def read_shape(path: Path) -> Shape:
    """Read what ``path`` is made of. Raises as ``read_header``, and ModelFileBad where a field is missing."""
    return shape_of(read_header(path), path)


def shape_of(header: Header, path: Path) -> Shape:
    """Return the shape that ``header`` describes; ``path`` is for messages."""
    fields = header.fields
    arch = fields.get("general.architecture")

    def number(key: str, default: float | None = None) -> float:
        found: Any = fields.get(f"{arch}.{key}", default)
        if isinstance(found, list) and found:
            found = sum(found) / len(found)
        if not isinstance(found, int | float) or found < 0:
            raise ModelFileBad(f"{str(path)!r} has {found!r} as {arch}.{key}; use a GGUF file of a language model.")
        return found

    embedding = next((item for item in header.tensors if item.name == "token_embd.weight"), None)
    if embedding is None or len(embedding.dims) != 2:
        raise ModelFileBad(f"{str(path)!r} has no 'token_embd.weight'; use a GGUF file of a language model.")
    heads = int(number("attention.head_count"))
    embd = int(number("embedding_length"))
    tied = all(item.name != "output.weight" for item in header.tensors)
    return Shape(
        architecture=str(arch),
        name=str(fields.get("general.name", path.stem)),
        layers=int(number("block_count")),
        embd=embd,
        heads=heads,
        kv_heads=number("attention.head_count_kv", heads),
        key=int(number("attention.key_length", embd // max(1, heads))),
        value=int(number("attention.value_length", embd // max(1, heads))),
        ff=number("feed_forward_length", 0),
        vocab=embedding.dims[1],
        context=int(number("context_length")),
        experts=int(number("expert_count", 0)),
        experts_used=int(number("expert_used_count", 0)),
        tied=tied,
        parameters=sum(item.elements for item in header.tensors),
        file_bytes=header.bytes,
        weights=_weights(header.tensors, tied=tied),
    )


def _weights(tensors: tuple[Tensor, ...], *, tied: bool) -> tuple[Weights, ...]:
    found: dict[tuple[Operator, str], list[Tensor]] = defaultdict(list)
    for tensor in tensors:
        operator = _operator(tensor, tied=tied)
        if operator != "embedding" and len(tensor.dims) > 1:
            found[operator, tensor.type].append(tensor)
    return tuple(
        Weights(
            operator=operator,
            type=kind,
            elements=sum(item.elements for item in items),
            bytes=sum(item.bytes for item in items),
        )
        for (operator, kind), items in found.items()
    )


def _operator(tensor: Tensor, *, tied: bool) -> Operator:
    if tensor.name == "output.weight" or (tied and tensor.name == "token_embd.weight"):
        return "lm_head"
    if tensor.name == "token_embd.weight":
        return "embedding"
    block = _BLOCK.match(tensor.name)
    if block is not None:
        for pattern, operator in _OPERATORS:
            if re.fullmatch(pattern, block[1]):
                return operator
    return "other"
