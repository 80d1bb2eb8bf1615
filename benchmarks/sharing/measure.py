"""The four measurements."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import anyio
import anyio.to_thread

from ...errors import UnknownName
from ...messages import Completion, Place
from ...protocols import Model
from ...serving.fetch import ensure
from ...serving.schedule.order import ApplicationFirst, RequestFifo
from ...serving.schedule.play import App, simulate
from ...serving.supervise import threads_of
from ...settings import load
from .engines import Measured, bare, engine, fresh, model, request, states_in, words

NAME = "sharing"
PARTS = ("agents", "applications", "restart", "stall")


@dataclass(frozen=True, slots=True)
class _Setup:
    weights: Path
    threads: int
    folder: Path
    prefix: int
    calls: int
    tokens: int
    rounds: int
    say: Callable[[str], None]


async def run(
    *,
    model: str = "smollm2-135m",
    parts: str = ",".join(PARTS),
    prefix: int = 1200,
    calls: int = 8,
    tokens: int = 24,
    rounds: int = 1,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Measure ``parts`` with a prompt beginning of ``prefix`` tokens and ``calls`` calls of ``tokens`` tokens.

    ``rounds`` is how often the wall time of warm calls is taken; the median counts.
    """
    settings = load({})
    (weights,) = await anyio.to_thread.run_sync(ensure, model, settings)
    found: dict[str, Any] = {"model": model, "prefix": prefix, "calls": calls, "tokens": tokens}
    known: dict[str, Callable[[_Setup], Awaitable[dict[str, Any]]]] = {
        "agents": _agents,
        "applications": _applications,
        "restart": _restart,
        "stall": _stall,
    }
    for part in parts.split(","):
        if part not in known:
            raise UnknownName("part", part, list(known))
        with tempfile.TemporaryDirectory() as folder:
            found[part] = await known[part](
                _Setup(
                    weights=weights,
                    threads=threads_of(settings),
                    folder=Path(folder),
                    prefix=prefix,
                    calls=calls,
                    tokens=tokens,
                    rounds=rounds,
                    say=say or (lambda text: None),
                )
            )
    return found


async def _agents(setup: _Setup) -> dict[str, Any]:
    """A prefix, calls at once, a join: a burst at the engine's defaults, and ours, cold and warm."""
    system = words(setup.prefix)
    tasks = [f"Write a long story about tool {n} and its maker." for n in range(setup.calls)]
    join = f"Write a long story that joins these: {'; '.join(tasks)}"
    with engine(setup.weights, setup.threads, plain=setup.calls) as plain:
        spent, begin = plain.cpu(), time.monotonic()
        last: list[dict[str, Any]] = []

        async def ask(task: str) -> None:
            last.append(await bare(plain, request(system, task, setup.tokens)))

        async with anyio.create_task_group() as group:
            for task in tasks:
                group.start_soon(ask, task)
        await ask(join)
        burst = {
            "cpu": round(plain.cpu() - spent, 2),
            "wall": round(time.monotonic() - begin, 2),
            "prefilled": sum(int(event["timings"]["prompt_n"]) for event in last),
            "generated": sum(int(event["tokens_predicted"]) for event in last),
        }
    setup.say(f"burst at the engine's defaults: {burst}")
    with engine(setup.weights, setup.threads, str(setup.folder)) as ours:
        states = states_in(setup.folder, setup.weights)
        spent, begin = ours.cpu(), time.monotonic()
        opened = model(ours, states=states)
        answers = await _together(opened, system, tasks, setup.tokens)
        answers.append(await opened.complete(request(system, join, setup.tokens)))
        shared = {
            "cpu": round(ours.cpu() - spent, 2),
            "wall": round(time.monotonic() - begin, 2),
            "prefilled": fresh(answers),
            "generated": sum(answer.usage.completion for answer in answers),
        }
        setup.say(f"prefix shared: {shared}")
        warm = await _warm(setup, ours, system)
    return {
        "burst": burst,
        "shared": shared,
        "cpu_ratio": round(burst["cpu"] / shared["cpu"], 2),
        "prefilled_ratio": round(burst["prefilled"] / shared["prefilled"], 1),
        "warm": warm,
    }


async def _warm(setup: _Setup, ours: Measured, system: str) -> dict[str, Any]:
    """Wall of calls at once over a known prefix, against one slot in sequence, one after the other per round."""
    walls: dict[str, list[float]] = {"slots": [], "sequence": []}
    ways: dict[str, Model] = {
        "slots": model(ours, states=states_in(setup.folder, setup.weights)),
        "sequence": model(ours, slots=1),
    }
    for turn in range(setup.rounds + 1):
        for way, opened in ways.items():
            tasks = [f"Write a long story about town {turn}-{n}-{way}." for n in range(setup.calls)]
            begin = time.monotonic()
            await _together(opened, system, tasks, setup.tokens)
            # The first round makes each of them warm.
            if turn:
                walls[way].append(round(time.monotonic() - begin, 2))
        setup.say(f"warm, round {turn}: {walls}")
    return {
        **{way: median(seconds) for way, seconds in walls.items()},
        "wall_ratio": round(median(walls["sequence"]) / median(walls["slots"]), 2),
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
    means: dict[str, float] = {}
    with engine(setup.weights, setup.threads) as ours:
        for name in ("fifo", "first"):
            opened = model(ours, slots=1, fifo=name == "fifo")
            await opened.complete(request("", "Write a long story about nothing.", 8))
            begin = ours.cpu()
            ends: list[float] = []

            async def application(number: int, opened: Model = opened, ends: list[float] = ends) -> None:
                for step in range(steps):
                    place = Place(
                        run=f"app{number}", arrived=1.0 + number, priority=steps - step, follows=step + 1 < steps
                    )
                    await opened.complete(request("", f"Write a long story {step}{number}.", 16, place=place))
                ends.append(ours.cpu())

            async with anyio.create_task_group() as group:
                for number in range(apps):
                    group.start_soon(application, number)
            means[name] = sum(end - begin for end in ends) / len(ends)
            setup.say(f"{apps} applications of {steps} steps, {name}: mean completion {means[name]:.2f} CPU-s")
    predicted, measured = played["fifo"] / played["first"], means["fifo"] / means["first"]
    return {
        "applications": apps,
        "steps": steps,
        "predicted": round(predicted, 3),
        "measured": round(measured, 3),
        "off": round(measured / predicted - 1, 3),
    }


async def _restart(setup: _Setup) -> dict[str, Any]:
    """The same call on a new engine, without and with the states that an earlier one saved."""
    asked = request(words(setup.prefix), "Write a long story about tool 3.", setup.tokens)
    found: list[tuple[float, float, Completion]] = []
    for _ in range(2):
        with engine(setup.weights, setup.threads, str(setup.folder)) as ours:
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
    long = request("", words(setup.prefix, "row"), 2)
    short = request("", "Hello.", 2)
    found: dict[str, dict[str, float]] = {}
    for way in ("defaults", "ours"):
        with engine(setup.weights, setup.threads, plain=0 if way == "ours" else 3) as one:
            opened = model(one)
            first: dict[str, float] = {}
            begin = {"long": one.cpu()}

            async def ask(
                which: str, one: Measured = one, opened: Model = opened, way: str = way, first: dict[str, float] = first
            ) -> None:
                asked = long if which == "long" else short

                def heard(text: str = "") -> None:
                    first.setdefault(which, one.cpu())

                if way == "ours":
                    await opened.complete(asked, on_text=heard)
                else:
                    await bare(one, asked, first=heard)

            async with anyio.create_task_group() as group:
                group.start_soon(ask, "long")
                while one.cpu() - begin["long"] < 0.5:  # noqa: ASYNC110 - the engine's clock, which nobody rings
                    await anyio.sleep(0.02)
                begin["short"] = one.cpu()
                group.start_soon(ask, "short")
            found[way] = {which: round(first[which] - begin[which], 2) for which in ("long", "short")}
            setup.say(f"stall, {way}: {found[way]}")
    return {
        **found,
        "stall_ratio": round(found["defaults"]["short"] / max(found["ours"]["short"], 0.01), 1),
        "long_ratio": round(found["ours"]["long"] / found["defaults"]["long"], 2),
    }
