"""The five measurements."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import anyio
import anyio.to_thread

from ...errors import UnknownName
from ...messages import Completion, ModelRequest, Place
from ...protocols import Model
from ...serving.fetch import ensure
from ...serving.kernels import name_of
from ...serving.knobs.knobs import Knobs, threads_of
from ...serving.predict.slots import with_slots
from ...serving.registry import find
from ...serving.schedule.order import ApplicationFirst, RequestFifo
from ...serving.schedule.play import App, simulate
from ...serving.source import build_of
from ...settings import load
from .chained import chained
from .engines import Measured, bare, completion, engine, fresh, model, request, states_in, words

NAME = "sharing"
PARTS = ("agents", "applications", "restart", "stall", "programs")


@dataclass(frozen=True, slots=True)
class _Setup:
    weights: Path
    threads: int
    build: str
    folder: Path
    prefix: int
    calls: int
    tokens: int
    rounds: int
    slots: int
    say: Callable[[str], None]


async def run(
    *,
    model: str = "smollm2-135m",
    parts: str = ",".join(PARTS),
    prefix: int = 1200,
    calls: int = 8,
    tokens: int = 24,
    rounds: int = 3,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Measure ``parts`` with a prompt beginning of ``prefix`` tokens and ``calls`` calls of ``tokens`` tokens.

    ``rounds`` is how often what is compared is taken, by turns; medians count. The engine has as many slots as
    the model gets.
    """
    settings, say = load({}), say or (lambda text: None)
    (weights,) = await anyio.to_thread.run_sync(ensure, model, settings)
    build = await anyio.to_thread.run_sync(build_of, weights, settings, say)
    slots = with_slots(Knobs(), weights, find(model).context, settings).slots
    found: dict[str, Any] = {"model": model, "engine": name_of(build)}
    found |= {"prefix": prefix, "calls": calls, "tokens": tokens, "slots": slots}
    known: dict[str, Callable[[_Setup], Awaitable[dict[str, Any]]]] = {
        "agents": _agents,
        "applications": _applications,
        "restart": _restart,
        "stall": _stall,
        "programs": partial(_programs, model),
    }
    for part in parts.split(","):
        if part not in known:
            raise UnknownName("part", part, list(known))
        with tempfile.TemporaryDirectory() as folder:
            found[part] = await known[part](
                _Setup(
                    weights=weights,
                    threads=threads_of(settings),
                    build=build,
                    folder=Path(folder),
                    prefix=prefix,
                    calls=calls,
                    tokens=tokens,
                    rounds=rounds,
                    slots=slots,
                    say=say,
                )
            )
    return found


async def _programs(model: str, setup: _Setup) -> dict[str, Any]:
    """Applications as plain calls of a server and as programs."""
    return await chained(model, setup.prefix, setup.tokens, setup.say)


async def _agents(setup: _Setup) -> dict[str, Any]:
    """A prefix, calls at once, a join: as a burst at the engine's defaults, and ours with the prefix new and saved."""
    system = words(setup.prefix)
    tasks = [f"Write a long story about tool {n}." for n in range(setup.calls)]
    with engine(setup.weights, setup.threads, plain=setup.calls, build=setup.build) as plain:

        async def ask(task: str) -> Completion:
            return completion(await bare(plain, request(system, task, setup.tokens)))

        burst = await _workload(plain, tasks, ask)
    setup.say(f"burst at the engine's defaults: {burst}")
    found = {"burst": burst}
    warm: dict[str, Any] = {}
    for way in ("cold", "saved"):
        with engine(setup.weights, setup.threads, str(setup.folder), build=setup.build, slots=setup.slots) as ours:
            opened = model(ours, slots=setup.slots, states=states_in(setup.folder, setup.weights))

            async def through(task: str, opened: Model = opened) -> Completion:
                return await opened.complete(request(system, task, setup.tokens))

            found[way] = await _workload(ours, tasks, through)
            setup.say(f"ours, prefix {way}: {found[way]}")
            if way == "saved":
                warm = await _warm(setup, ours, system)
    ratios = {
        way: {what: round(burst[what] / max(found[way][what], 0.01), 1) for what in ("cpu", "calls_cpu", "prefilled")}
        | {"asked": round(burst["asked"] / found[way]["prefilled"], 1)}
        for way in ("cold", "saved")
    }
    return {**found, "ratios": ratios, "warm": warm}


async def _workload(
    measured: Measured, tasks: Sequence[str], ask: Callable[[str], Awaitable[Completion]]
) -> dict[str, float]:
    """Ask ``tasks`` at once, then for a join; ``calls_cpu`` is without the join, ``asked`` all prompts together."""
    spent, begin = measured.cpu(), time.monotonic()
    answers: list[Completion] = []

    async def keep(task: str) -> None:
        answers.append(await ask(task))

    async with anyio.create_task_group() as group:
        for task in tasks:
            group.start_soon(keep, task)
    calls = measured.cpu() - spent
    await keep(f"Write a long story that joins all: {'; '.join(tasks)}")
    return {
        "cpu": round(measured.cpu() - spent, 2),
        "calls_cpu": round(calls, 2),
        "wall": round(time.monotonic() - begin, 2),
        "asked": sum(answer.usage.prompt for answer in answers),
        "prefilled": fresh(answers),
        "generated": sum(answer.usage.completion for answer in answers),
    }


async def _warm(setup: _Setup, ours: Measured, system: str) -> dict[str, Any]:
    """Calls at once over a known prefix, against one slot in sequence, one after the other per round: wall and CPU."""
    took: dict[str, list[tuple[float, float]]] = {"slots": [], "sequence": []}
    ways: dict[str, Model] = {
        "slots": model(ours, slots=setup.slots, states=states_in(setup.folder, setup.weights)),
        "sequence": model(ours, slots=1),
    }
    for turn in range(setup.rounds + 1):
        for way, opened in ways.items():
            tasks = [f"Write a long story about town {turn}-{n}-{way}." for n in range(setup.calls)]
            begin, spent = time.monotonic(), ours.cpu()
            await _together(opened, system, tasks, setup.tokens)
            # The first round makes each of them warm.
            if turn:
                took[way].append((round(time.monotonic() - begin, 2), round(ours.cpu() - spent, 2)))
        setup.say(f"warm, round {turn}, wall and CPU seconds: {took}")
    walls = {way: median(wall for wall, _ in rounds) for way, rounds in took.items()}
    spent_in = {way: median(cpu for _, cpu in rounds) for way, rounds in took.items()}
    return {
        **walls,
        "wall_ratio": round(walls["sequence"] / walls["slots"], 2),
        "cpu_ratio": round(spent_in["sequence"] / spent_in["slots"], 2),
    }


async def _together(opened: Model, system: str, tasks: Sequence[str], tokens: int) -> list[Completion]:
    answers: list[Completion] = []

    async def ask(task: str) -> None:
        answers.append(await opened.complete(request(system, task, tokens)))

    async with anyio.create_task_group() as group:
        for task in tasks:
            group.start_soon(ask, task)
    return answers


async def _applications(setup: _Setup) -> dict[str, Any]:
    """Applications of three equal steps that come together, on one slot; the clock is the engine's CPU time."""
    apps, steps = 8, 3
    played = {
        name: simulate([App(0.0, [[1.0]] * steps)] * apps, slots=1, order=order).mean
        for name, order in (("fifo", RequestFifo()), ("first", ApplicationFirst()))
    }
    means: dict[str, list[float]] = {"fifo": [], "first": []}
    with engine(setup.weights, setup.threads, build=setup.build) as ours:
        for turn in range(setup.rounds):
            for way, found in means.items():
                opened = model(ours, slots=1, fifo=way == "fifo")
                await opened.complete(request("", "Write a long story about nothing.", 8))
                found.append(await _mean_completion(ours, opened, apps, steps))
            setup.say(f"{apps} applications of {steps} steps, round {turn}, mean completion in CPU-s: {means}")
    predicted = played["fifo"] / played["first"]
    measured = median(fifo / first for fifo, first in zip(means["fifo"], means["first"], strict=True))
    return {
        "applications": apps,
        "steps": steps,
        "predicted": round(predicted, 3),
        "measured": round(measured, 3),
        "off": round(measured / predicted - 1, 3),
    }


async def _mean_completion(ours: Measured, opened: Model, apps: int, steps: int) -> float:
    begin = ours.cpu()
    ends: list[float] = []

    async def application(number: int) -> None:
        for step in range(steps):
            place = Place(run=f"app{number}", arrived=1.0, priority=steps - step, follows=step + 1 < steps)
            await opened.complete(request("", f"Write a long story {step}{number}.", 16, place=place))
        ends.append(ours.cpu())

    async with anyio.create_task_group() as group:
        for number in range(apps):
            group.start_soon(application, number)
    return sum(end - begin for end in ends) / len(ends)


async def _restart(setup: _Setup) -> dict[str, Any]:
    """The same call on a new engine, without and with the states that an earlier one saved."""
    asked = request(words(setup.prefix), "Write a long story about tool 3.", setup.tokens)
    found: list[tuple[float, float, Completion]] = []
    for _ in range(2):
        with engine(setup.weights, setup.threads, str(setup.folder), build=setup.build) as ours:
            opened = model(ours, states=states_in(setup.folder, setup.weights))
            await opened.complete(request("", "Hello.", 1))
            begin = ours.cpu()
            heard: list[float] = []

            def hear(text: str, clock: Measured = ours, heard: list[float] = heard) -> None:
                heard.append(clock.cpu())

            answer = await opened.complete(asked, on_text=hear)
            found.append((answer.ttft, heard[0] - begin, answer))
            setup.say(f"restart: time to first token {answer.ttft:.2f} s, {found[-1][1]:.2f} CPU-s, {answer.usage}")
    cold, again = found
    return {
        "cold": {"ttft": round(cold[0], 3), "cpu": round(cold[1], 3), "prefilled": fresh([cold[2]])},
        "restored": {"ttft": round(again[0], 3), "cpu": round(again[1], 3), "prefilled": fresh([again[2]])},
        "ttft_ratio": round(cold[0] / again[0], 1),
        "cpu_ratio": round(cold[1] / max(again[1], 0.01), 1),
        "same_text": cold[2].text == again[2].text,
    }


async def _stall(setup: _Setup) -> dict[str, Any]:
    """A short call that comes while a long prompt is being read: how long it, and the long one, wait."""
    found: dict[str, list[dict[str, float]]] = {"defaults": [], "ours": []}
    with (
        engine(setup.weights, setup.threads, plain=3, build=setup.build) as plain,
        engine(setup.weights, setup.threads, build=setup.build) as ours,
    ):
        opened = model(ours, states=states_in(setup.folder, setup.weights))

        async def bare_ask(asked: ModelRequest, heard: Callable[[], None]) -> None:
            await bare(plain, asked, first=heard)

        async def our_ask(asked: ModelRequest, heard: Callable[[], None]) -> None:
            await opened.complete(asked, on_text=lambda text: heard())

        for turn in range(setup.rounds):
            long = request("", words(setup.prefix, f"row {turn}"), 2)
            found["defaults"].append(await _meet(plain, long, bare_ask))
            found["ours"].append(await _meet(ours, long, our_ask))
            setup.say(f"stall, round {turn}, CPU-s to the first token: {found}")
    waits = {
        way: {which: median(turn[which] for turn in turns) for which in ("long", "short")}
        for way, turns in found.items()
    }
    return {
        **waits,
        "stall_ratio": round(waits["defaults"]["short"] / max(waits["ours"]["short"], 0.01), 1),
        "long_ratio": round(waits["ours"]["long"] / waits["defaults"]["long"], 2),
    }


async def _meet(
    one: Measured, long: ModelRequest, ask: Callable[[ModelRequest, Callable[[], None]], Awaitable[None]]
) -> dict[str, float]:
    """Ask for ``long``, half a second of its work later for something short."""
    begin, first = {"long": one.cpu()}, dict[str, float]()

    async def timed(which: str, asked: ModelRequest) -> None:
        await ask(asked, partial(_note, first, which, one))

    async with anyio.create_task_group() as group:
        group.start_soon(timed, "long", long)
        while one.cpu() - begin["long"] < 0.5:  # noqa: ASYNC110 - the engine's clock, which nobody rings
            await anyio.sleep(0.02)
        begin["short"] = one.cpu()
        group.start_soon(timed, "short", request("", "Hello.", 2))
    return {which: round(first[which] - begin[which], 2) for which in ("long", "short")}


def _note(first: dict[str, float], which: str, one: Measured) -> None:
    first.setdefault(which, one.cpu())
