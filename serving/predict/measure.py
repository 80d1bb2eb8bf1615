"""Short measurements on the real engine, and the constants learned from them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
import httpx

from ...errors import ModelUnavailable
from ..supervise import Running
from .pace import Pace
from .shape import Shape
from .work import Part, Setup, decode, prefill

NOISE, WALL_NOISE = 0.08, 0.15
"""Relative errors of processor and of wall seconds of one measurement."""

LEAST_READ, LEAST_WRITTEN = 16, 4
"""Tokens of a call below which its times are mostly not the engine's."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Reads ``fresh`` tokens behind ``depth`` known ones, then generates ``steps`` for each of ``batch`` calls."""

    depth: int
    fresh: int
    steps: int
    batch: int = 1


@dataclass(frozen=True, slots=True)
class Took:
    """Of one phase, on the engine's processor and on the clock."""

    cpu: float | None
    """None where the system does not tell."""
    wall: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What a probe took."""

    probe: Probe
    read: Took
    written: Took


CALIBRATION = (Probe(0, 32, 24), Probe(0, 192, 16), Probe(192, 384, 24), Probe(0, 32, 24, batch=3))
"""Reading and writing at three depths, and writing with three at once: about 700 tokens in all."""
ROUNDS = 2
"""Other programs only make a measurement longer, so the shortest of some counts."""


class Prober:
    """Runs probes on one engine, which nobody else should use meanwhile."""

    def __init__(self, engine: Running, shape: Shape) -> None:
        """Use the slots from 0 on."""
        self._engine = engine
        self._shape = shape
        # An engine that was measured before still knows the prompts of that time.
        self._salt = time.time_ns() % 1_000_000

    async def run(self, probes: Sequence[Probe]) -> list[Measured]:
        """Run ``probes`` one after the other, each on prompts of its own. Raises ModelUnavailable."""
        headers = {"Authorization": f"Bearer {self._engine.token}"}
        try:
            async with httpx.AsyncClient(
                base_url=self._engine.url, headers=headers, timeout=None, trust_env=False, verify=False
            ) as client:
                return [await self._probe(client, probe) for probe in probes]
        except httpx.HTTPError as error:
            raise ModelUnavailable(
                f"the engine of {self._engine.name!r} cannot be measured ({error!r}); run it again."
            ) from None

    async def _probe(self, client: httpx.AsyncClient, probe: Probe) -> Measured:
        self._salt += 1
        prompts = [self._tokens(probe.depth + probe.fresh, slot) for slot in range(probe.batch)]
        if probe.depth:
            await self._together(client, [prompt[: probe.depth] for prompt in prompts], 0)
        read = await self._together(client, prompts, 0)
        written = await self._together(client, prompts, probe.steps)
        return Measured(probe, read, written)

    async def _together(self, client: httpx.AsyncClient, prompts: Sequence[list[int]], steps: int) -> Took:
        cpu, wall = cpu_of(self._engine.engine_pid), time.monotonic()

        async def ask(slot: int) -> None:
            body = {"prompt": prompts[slot], "n_predict": steps, "temperature": 0, "ignore_eos": True}
            answer = await client.post("/completion", json=body | {"id_slot": slot, "cache_prompt": True})
            answer.raise_for_status()

        async with anyio.create_task_group() as group:
            for slot in range(len(prompts)):
                group.start_soon(ask, slot)
        seconds, later = time.monotonic() - wall, cpu_of(self._engine.engine_pid)
        return Took(None if cpu is None or later is None else later - cpu, seconds)

    def _tokens(self, count: int, slot: int) -> list[int]:
        """Tokens that no earlier prompt began with."""
        most = self._shape.vocab - 512
        return [256 + (position * 7919 + (self._salt * 31 + slot) * 104_729) % most for position in range(count)]


def parts_of(shape: Shape, setup: Setup, probe: Probe) -> tuple[list[Part], list[Part]]:
    """What the two phases of ``probe`` compute; the second reads the prompt's last token again."""
    depth = probe.depth + probe.fresh
    read = prefill(shape, setup, tokens=probe.fresh, cached=probe.depth, calls=probe.batch)
    again = prefill(shape, setup, tokens=1, cached=depth - 1, calls=probe.batch)
    return read, again + decode(shape, setup, depth=depth, steps=probe.steps - 1, batch=probe.batch)


def learn(pace: Pace, shape: Shape, setup: Setup, measured: Sequence[Measured]) -> None:
    """Correct the constants by what probes took."""
    for found in measured:
        read, written = parts_of(shape, setup, found.probe)
        for parts, took, wall in ((read, found.read, "wall:prefill"), (written, found.written, "wall:decode")):
            if took.cpu is None:
                pace.observe(parts, took.wall, noise=WALL_NOISE, wall=wall)
            else:
                pace.observe(parts, took.cpu, noise=NOISE)
                pace.compare(wall, took.wall / took.cpu, noise=2 * WALL_NOISE)


def least(rows: Sequence[Measured]) -> Measured:
    """Return the shortest of the same probe, phase by phase and clock by clock."""

    def shortest(phases: Sequence[Took]) -> Took:
        clocks = [took.cpu for took in phases if took.cpu is not None]
        return Took(min(clocks, default=None), min(took.wall for took in phases))

    return Measured(rows[0].probe, shortest([row.read for row in rows]), shortest([row.written for row in rows]))


async def calibrate(
    engine: Running,
    shape: Shape,
    setup: Setup,
    pace: Pace,
    *,
    rounds: int = ROUNDS,
    say: Callable[[str], None] | None = None,
) -> None:
    """Run the micro-benchmarks of one model and learn from them.

    Takes about as long as reading a prompt of 1,500 tokens. Raises ModelUnavailable.
    """
    prober = Prober(engine, shape)
    # The first call after a start pages the weights in.
    await prober.run([Probe(0, 16, 2)])
    found = []
    for number in range(rounds):
        if say is not None:
            say(f"measuring {engine.name}, round {number + 1} of {rounds}")
        found.append(await prober.run(CALIBRATION))
    learn(pace, shape, setup, [least(rows) for rows in zip(*found, strict=True)])


def refit(pace: Pace, shape: Shape, setup: Setup, timings: Mapping[str, Any]) -> bool:
    """Correct the constants by an engine's ``timings`` of a call that was alone; False where they tell too little."""
    fresh, cached = int(timings.get("prompt_n", 0)), max(0, int(timings.get("cache_n", 0)))
    written = int(timings.get("predicted_n", 0))
    seconds = {key: float(timings.get(f"{key}_ms", 0.0)) / 1000 for key in ("prompt", "predicted")}
    told = False
    if fresh >= LEAST_READ and seconds["prompt"] > 0:
        parts = prefill(shape, setup, tokens=fresh, cached=cached)
        pace.observe(parts, seconds["prompt"], noise=WALL_NOISE, wall="wall:prefill")
        told = True
    if written > LEAST_WRITTEN and seconds["predicted"] > 0:
        parts = decode(shape, setup, depth=cached + fresh, steps=written - 1)
        pace.observe(parts, seconds["predicted"], noise=WALL_NOISE, wall="wall:decode")
        told = True
    return told


def cpu_of(pid: int) -> float | None:
    """Processor seconds of another process so far; None where the system does not tell (only Linux does)."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except (AttributeError, OSError):
        return None
