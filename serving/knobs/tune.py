"""The search over an engine's settings, on the engine itself."""

from __future__ import annotations

import random
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import product
from math import inf
from pathlib import Path
from typing import Any

from ...errors import ModelUnavailable, SettingsInvalid
from ...settings import Settings
from ..engine import BATCH
from . import gate
from .knobs import Knobs, cores, threads_of
from .lone import Lone, lone
from .profiles import Profile, host_of
from .texts import fresh
from .tuner import Cost, search

BATCHES = (32, 64, 128, 256)
SPECULATIONS = ("off", "ngram_mod", "ngram_map_k", "ngram_simple")
KV_TYPES = (("f16", "f16"), ("q8_0", "q8_0"))
"""Keys and values. Smaller types only ever cost time on a CPU, so that more of them are not worth the search."""
GENERATED = 12
"""Tokens of each of the three answers in one unit of work."""
_OPEN = 2
"""Engines kept for the next measurement: those of the last comparison."""


def tune(
    weights: Path, settings: Settings, *, seconds: float, say: Callable[[str], None] = lambda text: None
) -> Profile:
    """Search for ``seconds`` and return what was found, which may be the default; nothing is kept yet.

    Blocks. Its own engines run beside those of others, which disturbs both. Raises ModelUnavailable.
    """
    default = Knobs(threads=threads_of(settings))
    say(f"searching for {seconds:.0f} s, beginning with the default; each setting takes an engine of its own")
    with Bench(weights, settings, default, say, seconds=seconds) as bench:
        found = search(default, candidates(default), bench.measure, seconds=seconds)
    return Profile(
        host=host_of(weights),
        knobs=found.best,
        ratio=found.ratio,
        tried=found.tried,
        seconds=round(found.took, 1),
        why=found.why,
    )


def candidates(default: Knobs) -> list[Knobs]:
    """Return what is searched, without the default: first one change at a time, then all else in a fixed shuffle."""
    threads = sorted({1, 2, cores() // 2, cores()} & set(range(1, cores() + 1)))
    axes: dict[str, Sequence[Any]] = {
        "speculation": SPECULATIONS,
        "threads": threads,
        "batch": BATCHES,
        "kv": KV_TYPES,
        "flash": ("auto", "off"),
    }
    usual = {"speculation": "off", "threads": default.threads, "batch": default.batch, "flash": "auto"}
    usual["kv"] = KV_TYPES[0]
    every = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    random.Random(0).shuffle(every)

    def changes(setting: dict[str, Any]) -> int:
        return sum(setting[name] != usual[name] for name in axes)

    every.sort(key=lambda setting: min(changes(setting), 2))
    return [_knobs(default, setting) for setting in every if changes(setting) and _possible(setting)]


def _possible(setting: dict[str, Any]) -> bool:
    return bool(setting["flash"] != "off" or setting["kv"][1] == "f16")


def _knobs(default: Knobs, setting: dict[str, Any]) -> Knobs:
    keys, values = setting["kv"]
    rest = {name: value for name, value in setting.items() if name != "kv"}
    return Knobs.model_validate({**default.model_dump(), **rest, "kv_keys": keys, "kv_values": values})


class Bench:
    """Measures settings on engines of its own, which end with the block."""

    def __init__(
        self, weights: Path, settings: Settings, default: Knobs, say: Callable[[str], None], *, seconds: float = inf
    ) -> None:
        """Nothing is started yet. ``default`` must start; others are left out where they do not.

        What is not ready to be measured within ``seconds`` from now is not measured.
        """
        self._weights = weights
        self._settings = settings
        self._default = default
        self._say = say
        self._open: OrderedDict[Knobs, tuple[Lone, ExitStack]] = OrderedDict()
        self._turn = 0
        self._end = time.monotonic() + seconds

    def __enter__(self) -> Bench:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the engines."""
        while self._open:
            self._open.popitem()[1][1].close()

    def measure(self, knobs: Knobs, work: int) -> Cost:
        """Read a prompt and write a plan, an edit and a chat answer, ``work`` times.

        The time of a gate and of an engine's start counts as taken; where the time is over after them nothing is
        measured, and the cost is ``inf``. Raises ModelUnavailable for the default that does not start.
        """
        begin = time.monotonic()
        try:
            if knobs.small and gate.known(self._weights, knobs, self._settings) is None:
                self._say(f"measuring whether answers stay as they are with KV {knobs.kv_keys}/{knobs.kv_values}")
            if knobs.small:
                gate.ensure(self._weights, knobs, self._settings)
            engine = self._engine(knobs)
        except (ModelUnavailable, SettingsInvalid) as error:
            if knobs == self._default:
                raise
            self._say(f"left out: {error.message}")
            return Cost(wall=inf, cpu=inf, took=time.monotonic() - begin)
        if time.monotonic() >= self._end:
            self._say("the time is over")
            return Cost(wall=inf, cpu=inf, took=time.monotonic() - begin)
        wall, cpu = time.monotonic(), engine.cpu()
        reading = self._work(engine, work)
        cost = Cost(
            wall=time.monotonic() - wall,
            cpu=engine.cpu() - cpu,
            took=time.monotonic() - begin,
            # The clock on the wall is noisy, and a batch of the default's size stalls nobody longer.
            gap=reading * knobs.batch if knobs.batch > BATCH else 0.0,
        )
        self._say(f"{describe(knobs)}: {cost.wall:.2f} s, {cost.cpu:.2f} CPU-s for {work}")
        return cost

    def _work(self, engine: Lone, work: int) -> float:
        """Return the seconds that a prompt token took."""
        reading: list[float] = []
        for _ in range(work):
            self._turn += 1
            for text in fresh(self._turn):
                timings = engine.answer(engine.read(text.said), GENERATED, ignore_eos=True)["timings"]
                reading.append(timings["prompt_ms"] / 1000 / max(1, timings["prompt_n"]))
        return sum(reading) / len(reading)

    def _engine(self, knobs: Knobs) -> Lone:
        if knobs in self._open:
            self._open.move_to_end(knobs)
            return self._open[knobs][0]
        while len(self._open) >= _OPEN:
            self._open.popitem(last=False)[1][1].close()
        self._say(f"starting an engine: {describe(knobs)}")
        stack = ExitStack()
        engine = stack.enter_context(lone(self._weights, knobs))
        self._open[knobs] = engine, stack
        # The first pass of a process pays for its pages.
        engine.answer(engine.read((("user", "Hello."),)), 2)
        return engine


def describe(knobs: Knobs) -> str:
    """Return what differs between settings, in one line."""
    return (
        f"threads {knobs.threads}, batch {knobs.batch}, KV {knobs.kv_keys}/{knobs.kv_values}, flash {knobs.flash}, "
        f"speculation {knobs.speculation}"
    )
