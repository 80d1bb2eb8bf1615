"""What an engine is started with, as a value; engines with other knobs are other engines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from ...messages import Frozen
from ...settings import Settings
from ..engine import BATCH, GUESS, SLOTS

KvType: TypeAlias = Literal["f16", "q8_0", "q4_0"]
Speculation: TypeAlias = Literal["off", "ngram_mod", "ngram_map_k", "ngram_simple", "draft"]


class Knobs(Frozen):
    """Everything that is fixed when an engine starts, besides the model and its context."""

    threads: Annotated[int, Field(ge=1)] = 1
    threads_batch: Annotated[int, Field(ge=0)] = 0
    """Threads that read prompts; 0: as ``threads``."""
    batch: Annotated[int, Field(ge=1)] = BATCH
    """Prompt tokens computed in one go: bounds how long a running answer waits for a newcomer's prompt."""
    ubatch: Annotated[int, Field(ge=0)] = 0
    """Of those, how many in one pass; 0: all."""
    kv_keys: KvType = "f16"
    kv_values: KvType = "f16"
    flash: Literal["auto", "on", "off"] = "auto"
    """Flash attention; ``auto`` is on where the model allows it."""
    speculation: Speculation = "off"
    """Guesses from what was read and said before (``ngram_*``), or by a small model, all checked: same tokens."""
    guess: Annotated[int, Field(ge=1, le=64)] = GUESS
    """Most tokens of one guess of ``ngram_*``."""
    draft: str = ""
    """File of the small model of ``draft``."""
    slots: Annotated[int, Field(ge=1, le=64)] = SLOTS
    """Answers generated at once, each with memory for a whole context (``predict.slots``)."""

    @model_validator(mode="after")
    def _together(self) -> Knobs:
        if self.kv_values != "f16" and self.flash == "off":
            raise ValueError(f"kv_values={self.kv_values!r} needs flash attention; set flash = 'auto'")
        if (self.speculation == "draft") != bool(self.draft):
            raise ValueError(f"speculation={self.speculation!r} with draft={self.draft!r}; give both or none")
        if self.ubatch > self.batch:
            raise ValueError(f"ubatch={self.ubatch} is more than batch={self.batch}; lower it")
        return self

    @property
    def kv(self) -> str:
        """What a saved prompt state depends on: the types, and the layout that values have without flash attention."""
        return f"{self.kv_keys}/{self.kv_values}{'/plain' if self.flash == 'off' else ''}"

    @property
    def small(self) -> bool:
        """Whether keys or values have fewer bits than the engine's default: to be gated."""
        return (self.kv_keys, self.kv_values) != ("f16", "f16")

    def order(self) -> dict[str, object]:
        """What the engine's process is told."""
        return self.model_dump(mode="json")


def cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_of(settings: Settings) -> int:
    """Return the threads an engine gets: the setting, or the cores this process may use, at most 8."""
    return settings.threads or max(1, min(cores(), 8))


def from_settings(settings: Settings, *, draft: Path | None = None) -> Knobs:
    """Return the knobs that ``settings`` ask for; ``draft`` is the file of the model ``engine.draft``.

    ``speculation = "auto"`` starts without.
    """
    asked = settings.engine
    return Knobs(
        threads=threads_of(settings),
        threads_batch=asked.threads_batch,
        batch=asked.batch,
        ubatch=asked.ubatch,
        kv_keys=asked.kv_keys,
        kv_values=asked.kv_values,
        flash=asked.flash,
        speculation="off" if asked.speculation == "auto" else asked.speculation,
        guess=asked.guess,
        draft=str(draft or ""),
        slots=asked.slots or SLOTS,
    )
