"""How many answers an engine writes at once: as many as whole contexts fit a fixed piece of memory.

One pass of a model over several answers costs much less than a pass for each, so calls that an agent makes at once end
sooner on as many slots ("BatchLLM: Optimizing Large Batched LLM Inference with Global Prefix Sharing and
Throughput-oriented Token Batching" fills batches by memory, too). Every slot has memory for a whole context of its
own: an engine that shares it among slots aborts all answers when it runs out.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from ...errors import ModelFileBad
from ...settings import Settings
from ..engine import SLOTS
from ..knobs.knobs import Knobs, from_settings
from .shape import Shape, read_shape
from .work import Setup, setup_of

MOST = 8
"""More gain little: a pass of so many tokens is bound by computing."""
KV_MIB = 1024.0
"""Memory of keys and values up to which there are more slots than ``SLOTS``."""


def slots_of(shape: Shape, setup: Setup) -> int:
    """Return how many slots ``setup`` should have: at least ``SLOTS``, at most ``MOST``."""
    one = shape.kv_bytes(setup.kv_type) * setup.context / 2**20
    return max(SLOTS, min(MOST, int(KV_MIB / max(1.0, one))))


def more_bytes(weights: Path, context: int, settings: Settings) -> int:
    """Return the memory of an engine's slots beyond ``SLOTS``."""
    knobs = with_slots(from_settings(settings), weights, context, settings)
    if knobs.slots <= SLOTS:
        return 0
    with suppress(ModelFileBad):
        setup = setup_of(context, knobs)
        return int(read_shape(weights).kv_bytes(setup.kv_type) * context * (knobs.slots - SLOTS))
    return 0


def with_slots(knobs: Knobs, weights: Path, context: int, settings: Settings) -> Knobs:
    """Return ``knobs`` with the slots of the settings or, where those do not say, with as many as memory allows.

    Engines of a fleet, and those of files that nobody here understands, keep ``SLOTS``.
    """
    slots = settings.engine.slots or SLOTS
    if not settings.engine.slots and settings.fleet.instances == 1:
        with suppress(ModelFileBad):
            slots = slots_of(read_shape(weights), setup_of(context, knobs))
    return knobs.model_copy(update={"slots": slots})
