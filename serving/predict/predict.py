"""What a call of a local model takes, before it is made; and what fits a deadline, a pace or a memory.

After "GenZ" (an architecture, a platform and a use case give time to first token, time per token and memory) with the
operators of "LLM Inference Unveiled: Survey and Roofline Model Insights", and constants measured on the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from ...errors import UsageError
from ...messages import Frozen
from .pace import Pace
from .shape import KV_BYTES, Shape
from .work import Part, Resource, Setup, decode, prefill
from .work import memory_mib as memory

Phase: TypeAlias = Literal["prefill", "decode"]


class Prediction(Frozen):
    """One call, or ``batch`` equal ones at once, on a machine as busy as it was of late."""

    ttft: float
    """Seconds to the first token, of the last one where several are asked at once."""
    itl: float
    """Seconds from one token to the next; 0 for an answer of one token."""
    seconds: float
    """To the last token."""
    cpu: float
    """Processor seconds of the engine."""
    tokens_per_second: float
    """Generated, by all calls together, over the whole time."""
    memory_mib: float
    """Of the engine. Keys and values count for every slot's whole context, which is committed at its start."""
    spread: float
    """The relative error to expect: one standard deviation."""
    binds: Resource
    """What most of the time goes to: computing, moving weights and keys, or overhead."""
    ttft_binds: Resource
    itl_binds: Resource


class Bound(Frozen):
    """One operator of one phase; the seconds of all add up to those of the call."""

    phase: Phase
    operator: str
    binds: Resource
    """The larger of the two that its time goes to."""
    gflop: float
    gb: float
    seconds: float
    share: float


@dataclass(frozen=True, slots=True)
class Asked:
    """A use of the model."""

    prompt: int
    """Tokens, those that are known included."""
    output: int = 1
    batch: int = 1
    """Equal calls at once."""
    cached: int = 0
    """Tokens of the prompt that the engine knows already."""

    def __post_init__(self) -> None:
        for name, least in (("prompt", 1), ("output", 1), ("batch", 1), ("cached", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"{name}={getattr(self, name)!r} is too small; give {least} or more.")
        if self.cached > self.prompt:
            raise UsageError(f"cached={self.cached!r} is more than prompt={self.prompt!r}; give at most the prompt.")

    def check(self, context: int) -> None:
        """Raise UsageError where the prompt and its answer do not fit ``context`` tokens."""
        if self.prompt + self.output > context:
            raise UsageError(
                f"a prompt of {self.prompt!r} tokens and an answer of {self.output!r} do not fit the context of "
                f"{context}; give less."
            )

    @property
    def fresh(self) -> int:
        """Prompt tokens to be computed; the last one always is."""
        return max(1, self.prompt - self.cached)


@dataclass(frozen=True, slots=True)
class Predictor:
    """A model on a host."""

    shape: Shape
    pace: Pace
    setup: Setup

    def predict(self, asked: Asked) -> Prediction:
        """Predict ``asked``. Raises UsageError where a prompt and its answer do not fit the context."""
        setup = self.fitted(asked.batch)
        asked.check(setup.context)
        read, written = self._phases(asked)
        pace = self.pace
        ttft, rest = self._times(asked)
        spreads = (pace.spread(read, "wall:prefill"), pace.spread(written, "wall:decode") if written else 0.0)
        return Prediction(
            ttft=ttft,
            itl=rest / (asked.output - 1) if written else 0.0,
            seconds=ttft + rest,
            cpu=pace.seconds(read) + pace.seconds(written),
            tokens_per_second=asked.batch * asked.output / (ttft + rest),
            memory_mib=memory(self.shape, setup),
            spread=(ttft * spreads[0] + rest * spreads[1]) / (ttft + rest),
            binds=self._binds([*read, *written]),
            ttft_binds=self._binds(read),
            itl_binds=self._binds(written or read),
        )

    def explain(self, asked: Asked) -> tuple[Bound, ...]:
        """Return where the time of ``asked`` goes, operator by operator."""
        phases: tuple[tuple[Phase, list[Part]], ...] = tuple(
            zip(("prefill", "decode"), self._phases(asked), strict=True)
        )
        total = sum(self.pace.seconds(parts) * self.pace.value(f"wall:{phase}") for phase, parts in phases)
        found = []
        for phase, parts in phases:
            wall = self.pace.value(f"wall:{phase}")
            for operator in dict.fromkeys(part.operator for part in parts):
                own = [part for part in parts if part.operator == operator]
                seconds = self.pace.seconds(own) * wall
                found.append(
                    Bound(
                        phase=phase,
                        operator=operator,
                        binds=self._binds(own),
                        gflop=sum(part.amount for part in own if part.resource == "compute"),
                        gb=sum(part.amount for part in own if part.resource == "memory"),
                        seconds=seconds,
                        share=seconds / total,
                    )
                )
        return tuple(found)

    def longest_prompt(self, *, deadline: float, output: int = 1, batch: int = 1) -> int:
        """Return the most prompt tokens that are answered within ``deadline`` seconds; 0 where none are."""
        most = self.setup.context - output
        return _last(most, lambda n: sum(self._times(Asked(n, output, batch))) <= deadline)

    def longest_output(self, *, deadline: float, prompt: int, batch: int = 1, cached: int = 0) -> int:
        """Return the most tokens that are generated within ``deadline`` seconds; 0 where not even the first is."""
        most = self.setup.context - prompt
        return _last(most, lambda n: sum(self._times(Asked(prompt, n, batch, cached))) <= deadline)

    def largest_batch(self, *, itl: float, prompt: int, most: int = 64) -> int:
        """Return the most calls at once, each behind ``prompt`` tokens, whose tokens come at most ``itl`` apart."""
        return _last(most, lambda n: self._times(Asked(prompt, 2, n))[1] <= itl)

    def longest_context(self, *, memory_mib: float, slots: int = 0) -> int:
        """Return the most tokens of context per slot with which the engine stays below ``memory_mib``."""
        base = replace(self.setup, slots=slots or self.setup.slots)
        return _last(self.shape.context, lambda n: memory(self.shape, replace(base, context=n)) <= memory_mib)

    def knee(self, *, prompt: int, gain: float = 0.1, most: int = 64) -> int:
        """Return the batch from which on one more call at once brings less than ``gain`` in tokens per second."""
        for batch in range(1, most):
            one, more = (self._times(Asked(prompt, 2, n))[1] / n for n in (batch, batch + 1))
            if one / more - 1.0 < gain:
                return batch
        return most

    def with_kv(self, kv_type: str) -> Predictor:
        """Return the same model with other keys and values: their bytes differ; computing them is not measured."""
        return replace(self, setup=replace(self.setup, kv_type=kv_type))

    def fitted(self, batch: int) -> Setup:
        """The engine's setup, with a slot for every call of ``batch``."""
        setup = self.setup
        return replace(setup, slots=max(setup.slots, batch))

    def _times(self, asked: Asked) -> tuple[float, float]:
        """Seconds to the first token, and from there to the last."""
        read, written = self._phases(asked)
        pace = self.pace
        return pace.seconds(read) * pace.value("wall:prefill"), pace.seconds(written) * pace.value("wall:decode")

    def _phases(self, asked: Asked) -> tuple[list[Part], list[Part]]:
        setup, known = self.setup, asked.prompt - asked.fresh
        read = prefill(self.shape, setup, tokens=asked.fresh, cached=known, calls=asked.batch)
        if asked.output == 1:
            return read, []
        return read, decode(self.shape, setup, depth=asked.prompt, steps=asked.output - 1, batch=asked.batch)

    def _binds(self, parts: Iterable[Part]) -> Resource:
        sums: dict[Resource, float] = {"compute": 0.0, "memory": 0.0, "overhead": 0.0}
        for part in parts:
            sums[part.resource] += part.amount * self.pace.value(part.constant)
        return max(sums, key=sums.__getitem__)


def kv_type_of(text: str) -> str:
    """Return ``text`` (``q8_0`` or ``q8_0/q4_0``) as keys/values. Raises UsageError for unknown types."""
    keys, _, values = text.partition("/")
    if keys not in KV_BYTES or (values or keys) not in KV_BYTES:
        raise UsageError(f"{text!r} is no type of keys and values; the types are {', '.join(sorted(KV_BYTES))}.")
    return f"{keys}/{values or keys}"


def _last(most: int, holds: Callable[[int], bool]) -> int:
    """Return the largest number from 1 to ``most`` that holds, where smaller ones do too; 0 for none."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return low
