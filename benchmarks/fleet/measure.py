"""The measurements."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread

from ...errors import UnknownName
from ...messages import ModelInfo, ModelRequest
from ...serving.desk import Desk
from ...serving.fetch import ensure
from ...serving.fleet import Fleet, Machine, Member, Played, Rates, Role, simulate
from ...serving.supervise import Running
from ...settings import load
from ..sharing.engines import CONTEXT, Measured, engine, request, states_in, words
from .traces import heavy, mean, p99

NAME = "fleet"
PARTS = ("tails", "urgent", "split", "move", "handoff")
_FAST = Rates(prefill_rate=600, step=0.04, each=0.01)
_CHEAP = Rates(prefill_rate=80, step=0.02, each=0.002)


@dataclass(frozen=True, slots=True)
class _Setup:
    model: str
    prefix: int
    tokens: int
    requests: int
    seeds: int


async def run(
    *,
    model: str = "smollm2-135m",
    parts: str = ",".join(PARTS),
    prefix: int = 300,
    tokens: int = 32,
    requests: int = 300,
    seeds: int = 5,
) -> dict[str, Any]:
    """Measure ``parts``: ``requests`` in virtual time with each of ``seeds`` traces; ``tokens`` of a real answer."""
    known: dict[str, Callable[[_Setup], Awaitable[dict[str, Any]]]] = {
        "tails": _tails,
        "urgent": _urgent,
        "split": _split,
        "move": _move,
        "handoff": _handoff,
    }
    found: dict[str, Any] = {"model": model}
    for part in parts.split(","):
        if part not in known:
            raise UnknownName("part", part, list(known))
        found[part] = await known[part](_Setup(model, prefix, tokens, requests, seeds))
    return found


async def _tails(setup: _Setup) -> dict[str, Any]:
    """Four equal machines: by turns, by freedom, by freedom with moves."""
    found: dict[str, Any] = {"widened": 0, "moves": 0, "answers": 0, "requests": setup.requests * setup.seeds}
    for way in ("round_robin", "dispatch", "migrate"):
        played = [
            simulate(heavy(seed, requests=setup.requests, rate=1.5), [Machine()] * 4, way=way)
            for seed in range(setup.seeds)
        ]
        found[way] = _times(played)
        if way == "migrate":
            found["moves"] = sum(len(one.gaps) for one in played)
            found["widened"] = sum(after > before for one in played for before, after in one.gaps)
            found["answers"] = sum(out.answers for one in played for out in one.outcomes)
    return found


def _times(played: list[Played]) -> dict[str, float]:
    """Means over the traces."""
    return {
        "p99": round(mean([p99([out.seconds for out in one.outcomes]) for one in played]), 2),
        "p99_first": round(mean([p99([out.first for out in one.outcomes]) for one in played]), 2),
        "mean": round(mean([mean([out.seconds for out in one.outcomes]) for one in played]), 2),
    }


async def _urgent(setup: _Setup) -> dict[str, Any]:
    """First tokens of a tenth of the requests on a busy fleet, as urgent ones and as ordinary ones."""
    found: dict[str, list[float]] = {"urgent": [], "ordinary": [], "others": [], "others_before": []}
    for seed in range(setup.seeds):
        asked = heavy(seed, requests=setup.requests, rate=2.0)
        for mark, rest, trace in (
            ("urgent", "others", asked),
            ("ordinary", "others_before", [replace(one, urgent=False) for one in asked]),
        ):
            for out, one in zip(simulate(trace, [Machine()] * 4).outcomes, asked, strict=True):
                found[mark if one.urgent else rest].append(out.first)
    return {key: round(mean(values), 2) for key, values in found.items()}


async def _split(setup: _Setup) -> dict[str, Any]:
    """One machine that reads fast and one that writes cheaply: both do both, or each what it is good at."""
    found: dict[str, Any] = {}
    pairs: dict[str, tuple[Role, Role]] = {"mixed": ("mixed", "mixed"), "split": ("prefill", "decode")}
    for name, roles in pairs.items():
        played = [
            simulate(
                heavy(seed, requests=setup.requests, rate=0.7, urgent=0),
                [Machine(6, role=roles[0], costs=_FAST), Machine(6, role=roles[1], costs=_CHEAP)],
                way="dispatch",
            )
            for seed in range(setup.seeds)
        ]
        pace = mean([p99([out.pace for out in one.outcomes]) for one in played])
        found[name] = _times(played) | {"p99_pace": round(pace, 3)}
    return found


async def _move(setup: _Setup) -> dict[str, Any]:
    """A real answer that moves after a third of its tokens, against the same answer left alone."""

    async def work(engines: list[Measured], member: Callable[..., Member]) -> dict[str, Any]:
        one = request(words(setup.prefix), "Tell a long story about a bird.", setup.tokens)
        still = await Fleet(_info(), [member(engines[1])], reuse=False).complete(one)
        fleet = Fleet(_info(), [member(item) for item in engines], reuse=False)
        heard: list[str] = []

        def hear(text: str) -> None:
            heard.append(text)
            if len(heard) == setup.tokens // 3:
                fleet.send(1)

        cpu = engines[1].cpu()
        answer = await fleet.complete(one, on_text=hear)
        journey = fleet.journeys[-1]
        return {
            "same_text": answer.text == still.text == "".join(heard),
            "prompt": answer.usage.prompt,
            "known": journey.parts[1].known,
            "computed": journey.parts[1].computed,
            "cpu": round(engines[1].cpu() - cpu, 2),
        }

    return await _on_two(setup, work)


async def _handoff(setup: _Setup) -> dict[str, Any]:
    """A real prompt that one engine reads and another answers."""

    async def work(engines: list[Measured], member: Callable[..., Member]) -> dict[str, Any]:
        one: ModelRequest = request("", words(setup.prefix, seed="book"), setup.tokens)
        cpu = engines[1].cpu()
        alone = await Fleet(_info(), [member(engines[1])], reuse=False).complete(one)
        alone_cpu = engines[1].cpu() - cpu
        # Told that it reads slowly, so that the transfer pays; on one machine none is gained.
        writer = member(engines[1], role="decode", costs=Rates(prefill_rate=1))
        split = Fleet(_info(), [member(engines[0], role="prefill"), writer], reuse=False)
        cpu = engines[1].cpu()
        answer = await split.complete(one)
        journey = split.journeys[-1]
        return {
            "same_text": answer.text == alone.text,
            "prompt": answer.usage.prompt,
            "computed": journey.parts[1].computed,
            "alone_cpu": round(alone_cpu, 2),
            "writer_cpu": round(engines[1].cpu() - cpu, 2),
        }

    return await _on_two(setup, work)


async def _on_two(
    setup: _Setup, work: Callable[[list[Measured], Callable[..., Member]], Awaitable[dict[str, Any]]]
) -> dict[str, Any]:
    settings = load({})
    (weights,) = await anyio.to_thread.run_sync(ensure, setup.model, settings)
    with (
        tempfile.TemporaryDirectory() as folder,
        engine(weights, 1, folder) as one,
        engine(weights, 1, folder) as other,
    ):
        return await work([one, other], partial(_member, weights, Path(folder)))


def _member(
    weights: Path, folder: Path, measured: Measured, *, role: Role = "mixed", costs: Rates | None = None
) -> Member:
    async def connect(distrust: bool) -> Running:
        return measured.running

    desk = Desk(slots=3, states=states_in(folder, weights), keep=0)
    return Member(_info(), connect, desk=desk, slots=3, role=role, costs=costs)


def _info() -> ModelInfo:
    return ModelInfo(name="bench", context=CONTEXT)
