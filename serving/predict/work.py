"""What one phase of a call computes and moves, operator by operator; the amounts that a host's constants price.

The list of operators and their formulas follow "LLM Inference Unveiled: Survey and Roofline Model Insights". One thing
differs: a roofline takes the larger of computing and moving, and on processor cores, where the thread that multiplies
also unpacks, both are paid one after the other (measured: a batch of 2, 4 and 8 takes 1.4, 2.1 and 3.5 times as long as
a batch of 1). So the times add, and the larger of the two is what binds. And the first few tokens of a pass are dearer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from ..engine import BATCH, SLOTS
from ..knobs.knobs import Knobs
from .shape import Shape

Resource: TypeAlias = Literal["compute", "memory", "overhead"]

GIGA = 1e9
FEW = 4
"""Tokens of a pass that do not fill the kernels' tiles, and are computed at a rate of their own."""
BASE_MIB = 50.0
"""An engine without a model."""


@dataclass(frozen=True, slots=True)
class Setup:
    """How an engine is set up."""

    context: int
    """Tokens of one slot."""
    slots: int = SLOTS
    batch: int = BATCH
    """Prompt tokens of one pass."""
    kv_type: str = "f16/f16"
    """Of keys and of values."""
    threads: int = 0
    """0: as the settings say."""


def setup_of(context: int, knobs: Knobs) -> Setup:
    """Return the set-up of an engine that is started with ``knobs``."""
    types = f"{knobs.kv_keys}/{knobs.kv_values}"
    return Setup(context, slots=knobs.slots, batch=knobs.batch, kv_type=types, threads=knobs.threads)


class Part(NamedTuple):
    """One price to be paid: ``amount`` of what the constant is for."""

    operator: str
    resource: Resource
    constant: str
    amount: float
    """GFLOP, GB, or a number."""


def prefill(shape: Shape, setup: Setup, *, tokens: int, cached: int = 0, calls: int = 1) -> list[Part]:
    """Reading ``tokens`` behind ``cached`` known ones, up to the first token of each of ``calls`` answers."""
    passes = -(-tokens * calls // setup.batch)
    attended = calls * tokens * (cached + (tokens + 1) / 2)
    # Every pass streams what is before its middle once; the queries of a pass share it.
    streamed = passes * (cached + tokens / 2) * shape.kv_bytes(setup.kv_type) / GIGA
    rows = [
        Part("call", "overhead", "call", calls),
        Part("attention", "memory", "kv", streamed),
    ]
    return rows + _forward(shape, passes=passes, tokens=tokens * calls, outputs=calls, attended=attended)


def decode(shape: Shape, setup: Setup, *, depth: int, steps: int, batch: int = 1) -> list[Part]:
    """``steps`` passes that generate one token each for ``batch`` answers, the first behind ``depth`` tokens."""
    attended = batch * steps * (depth + (steps + 1) / 2)
    # Each query head goes through the keys and values of its group by itself.
    group = shape.heads / max(1.0, shape.kv_heads)
    streamed = attended * group * shape.kv_bytes(setup.kv_type) / GIGA
    rows = [Part("attention", "memory", "kv", streamed)]
    return rows + _forward(shape, passes=steps, tokens=steps * batch, outputs=steps * batch, attended=attended)


def memory_mib(shape: Shape, setup: Setup) -> float:
    """Memory of an engine once it is warm: weights, their repacked copies, keys and values, buffers, base.

    Keys and values are committed at the start for every slot's whole context, however short the prompts are.
    """
    cells = shape.kv_bytes(setup.kv_type) * setup.context * setup.slots
    buffers = setup.batch * 4 * (3 * shape.ff + 6 * shape.embd) + setup.slots * 16 * shape.vocab
    return BASE_MIB + (shape.file_bytes + shape.repacked + cells + buffers) / 2**20


def _forward(shape: Shape, *, passes: float, tokens: int, outputs: int, attended: float) -> list[Part]:
    parts: list[Part] = []
    share = shape.experts_used / shape.experts if shape.experts else 1.0
    # Of the experts, a pass reads those that any of its tokens chose.
    read = 1.0 - (1.0 - share) ** (tokens / max(1.0, passes))
    for item in shape.weights:
        rows = outputs if item.operator == "lm_head" else tokens
        times = outputs if item.operator == "lm_head" and outputs < passes else passes
        some = item.operator == "experts"
        flops = 2.0 * item.elements * (share if some else 1.0) / GIGA
        few = min(rows, FEW * max(1.0, times))
        moved = item.bytes * times * (read if some else 1.0) / GIGA
        parts.append(Part(item.operator, "compute", f"few:{item.type}", flops * few))
        parts.append(Part(item.operator, "compute", f"flops:{item.type}", flops * (rows - few)))
        parts.append(Part(item.operator, "memory", f"bytes:{item.type}", moved))
    attention = 2.0 * (shape.key + shape.value) * shape.heads * shape.layers * attended / GIGA
    width = 8 * shape.embd + 3 * shape.ff + 2 * shape.heads * shape.key
    parts.append(Part("attention", "compute", "attention", attention))
    parts.append(Part("activations", "memory", "activations", 4.0 * width * shape.layers * tokens / GIGA))
    parts.append(Part("passes", "overhead", "layer", passes * shape.layers))
    parts.append(Part("sampling", "overhead", "sampling", outputs * shape.vocab / 1e6))
    return parts
