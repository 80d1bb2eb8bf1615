"""The measurement of the server's cost, and its bars."""

from __future__ import annotations

import os
import secrets
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import anyio
import httpx

from .foretold import foretold
from .foretold import lines as shown
from .places import Held, Place, engine_of, relay_before, server_before

BARS = {"wall": 0.05, "cpu_ms_per_request": 2.0, "cpu_us_per_token": 50.0}
"""Most that our server may add: a share of the wall time, and CPU of its process."""
GRAMMAR = "root ::= [0-9]{500}"
"""Keeps a model talking until its limit, so that both answers have as many tokens."""


@dataclass(slots=True)
class Spent:
    """What some requests took."""

    wall: float
    cpu: float


async def run(
    *,
    model: str = "smollm2-135m",
    tokens: int = 64,
    rounds: int = 5,
    requests: int = 2,
    leak: int = 0,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Return, for 1 and 8 clients, the wall ratio and the CPU of our process per request and per streamed token.

    In each of ``rounds`` every client sends ``requests`` of ``tokens`` to the engine's own server, then to ours; the
    median of the rounds' ratios counts. CPU per token is the slope between answers of one token and of ``tokens``;
    ``floors_us_per_token`` is the same slope of relays that look at nothing, by the event loop they run in.
    With a real model ``foretold`` has what the cost model says of some calls beside what they take.
    ``leak`` requests of one token follow (10,000 is the bar), with the growth of memory in both
    halves, and of open files. ``say`` hears what begins.
    """
    told = say or (lambda text: None)
    with ExitStack() as stack:
        told(f"starting the engine of {model}, our server and relays before it")
        engine = stack.enter_context(engine_of(model))
        ours = stack.enter_context(server_before(engine))
        relays = {name: stack.enter_context(relay_before(engine, name)) for name in _loops()}
        for place in (engine, ours, *relays.values()):
            await _load(place, 1, 1, 1)
        found: dict[str, Any] = {"model": model, "tokens": tokens, "clients": {}}
        for clients in (1, 8):
            told(
                f"{clients} clients: {rounds} rounds, in each {requests} answers of {tokens} tokens a client and place"
            )
            found["clients"][clients] = await _measure(engine, ours, relays, (clients, requests, tokens, rounds))
            told(f"{clients} clients: {found['clients'][clients]}")
        if model != "stub":
            told("calls beside what was predicted of them")
            found["foretold"] = await foretold(ours, told)
        if leak:
            told(f"{leak} requests for leaks")
            found["leak"] = await _leak(ours, leak)
    found["load"] = round(os.getloadavg()[0], 1)
    return found


def describe(result: dict[str, Any]) -> str:
    """Show the figures beside their bars."""
    lines = [f"{result['model']}, {result['tokens']} tokens an answer, load average {result['load']}", ""]
    for clients, row in result["clients"].items():
        for name, bar in BARS.items():
            value = row[name]
            sign = "<=" if value <= bar else "> "
            lines.append(
                f"{clients} clients  {name:20} {value:>9.3f} {sign} {bar:g}{'' if value <= bar else '  MISSED'}"
            )
        for name, value in row["floors_us_per_token"].items():
            lines.append(f"{clients} clients  {f'relay, {name}, us':20} {value:>9.3f}")
    if "foretold" in result:
        lines += ["", "predicted / measured, on the clock", *shown(result["foretold"])]
    if "leak" in result:
        lines += ["", "  ".join(f"{name} {value}" for name, value in result["leak"].items())]
    return "\n".join(lines)


def _loops() -> list[str]:
    return ["asyncio", *(["uvloop"] if find_spec("uvloop") is not None else [])]


async def _measure(
    engine: Place, ours: Place, relays: dict[str, Place], size: tuple[int, int, int, int]
) -> dict[str, Any]:
    clients, requests, tokens, rounds = size
    walls = []
    places = {"": ours, **relays}
    short: dict[str, list[float]] = {name: [] for name in places}
    long: dict[str, list[float]] = {name: [] for name in places}
    for _ in range(rounds):
        bare = await _load(engine, clients, requests, tokens)
        served = await _load(ours, clients, requests, tokens)
        walls.append(served.wall / bare.wall)
        long[""].append(served.cpu)
        for name, relay in relays.items():
            long[name].append((await _load(relay, clients, requests, tokens)).cpu)
        for name, place in places.items():
            short[name].append((await _load(place, clients, requests, 1)).cpu)
    count = clients * requests
    each = {
        name: (statistics.median(long[name]) - statistics.median(short[name])) / count / (tokens - 1) for name in places
    }
    per_token = each.pop("")
    return {
        "wall": round(statistics.median(walls) - 1, 4),
        "wall_rounds": [round(ratio - 1, 4) for ratio in walls],
        "cpu_us_per_token": round(per_token * 1e6, 1),
        "floors_us_per_token": {name: round(value * 1e6, 1) for name, value in each.items()},
        "cpu_ms_per_request": round((statistics.median(short[""]) / count - per_token) * 1e3, 3),
    }


async def _load(place: Place, clients: int, requests: int, tokens: int) -> Spent:
    """Have ``clients`` stream ``requests`` answers each, one after the other."""
    began, cpu = time.perf_counter(), place.cpu()
    async with anyio.create_task_group() as group:
        for _ in range(clients):
            group.start_soon(_client, place, requests, tokens)
    return Spent(time.perf_counter() - began, place.cpu() - cpu)


async def _client(place: Place, requests: int, tokens: int) -> None:
    asked: dict[str, Any] = {
        "model": place.model,
        "messages": [{"role": "user", "content": "Count as far as you can."}],
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
        "grammar": GRAMMAR,
    }
    async with httpx.AsyncClient(timeout=None, trust_env=False, headers=place.headers) as client:
        for _ in range(requests):
            # Of equal calls only the first would be generated.
            asked["seed"] = secrets.randbelow(2**31)
            async with client.stream("POST", f"{place.url}/v1/chat/completions", json=asked) as response:
                body = b"".join([part async for part in response.aiter_raw()])
            if response.status_code != 200 or b'"length"' not in body:
                raise RuntimeError(f"{place.url} answered {response.status_code}: {body[-300:]!r}")


async def _leak(ours: Place, count: int) -> dict[str, Any]:
    each = max(1, count // 16)
    await _load(ours, 8, max(1, count // 80), 1)
    before = await _at_rest(ours)
    await _load(ours, 8, each, 1)
    halfway = await _at_rest(ours)
    await _load(ours, 8, each, 1)
    after = await _at_rest(ours)
    return {
        "requests": each * 16,
        # Answers are kept for equal requests, up to a bound that a leak would go on beyond.
        "kib_per_1000": [
            round((later.kib - earlier.kib) / each / 8 * 1000, 1)
            for earlier, later in ((before, halfway), (halfway, after))
        ],
        "files_before": before.files,
        "files_after": after.files,
    }


async def _at_rest(place: Place) -> Held:
    """What ``place`` holds once nobody asks: the sockets of clients that just left are closed a moment later."""
    held = place.held()
    for _ in range(20):
        await anyio.sleep(0.1)
        now = place.held()
        held = now if now.files <= held.files else held
    return held
