"""Prediction beside truth: what calls through our server take on the clock, and what the cost model says they take."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import anyio
import httpx

from ...serving.predict import Asked, Predictor, measured
from ...settings import load
from .places import Place

SHAPES = ((40, 32, 1), (200, 16, 1), (40, 24, 3))
"""Words of the prompt, tokens of the answer, and calls at once."""


class Seen(NamedTuple):
    """One call."""

    prompt: int
    ttft: float
    seconds: float


async def foretold(ours: Place, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Return a row per shape: seconds to the first token and between tokens, as predicted and as measured.

    Where this machine is not known yet the model is measured first.
    """
    predictor, _ = await measured(ours.model, load(), say=say)
    return [await _row(ours, predictor, *shape) for shape in SHAPES]


async def _row(ours: Place, predictor: Predictor, words: int, tokens: int, batch: int) -> dict[str, Any]:
    seen: list[Seen] = []

    async def ask() -> None:
        seen.append(await _ask(ours, words, tokens))

    async with anyio.create_task_group() as group:
        for _ in range(batch):
            group.start_soon(ask)
    ttft, seconds = max(call.ttft for call in seen), max(call.seconds for call in seen)
    told = predictor.predict(Asked(round(sum(call.prompt for call in seen) / batch), tokens, batch))
    return {
        "prompt": seen[0].prompt,
        "output": tokens,
        "batch": batch,
        "ttft": [round(told.ttft, 3), round(ttft, 3)],
        "itl": [round(told.itl, 4), round((seconds - ttft) / (tokens - 1), 4)],
        "seconds": [round(told.seconds, 3), round(seconds, 3)],
        "spread": round(told.spread, 2),
    }


async def _ask(ours: Place, words: int, tokens: int) -> Seen:
    # Words by chance, so that nothing of the prompt is known from before.
    chance = random.Random()
    prompt = " ".join(chance.choice(_WORDS) for _ in range(words))
    body = {
        "model": ours.model,
        "prompt": prompt,
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "grammar": "root ::= [0-9]{500}",
    }
    began, first, read = time.perf_counter(), 0.0, 0
    async with (
        httpx.AsyncClient(timeout=None, trust_env=False) as client,
        client.stream("POST", f"{ours.url}/v1/completions", json=body) as response,
    ):
        response.raise_for_status()
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line[6:])
            first = first or time.perf_counter()
            read = (event.get("usage") or {}).get("prompt_tokens", read)
    return Seen(read, first - began, time.perf_counter() - began)


_WORDS = (
    "river stone light window garden paper winter music table orange silver forest market bridge letter summer "
    "engine number yellow doctor island morning butter pencil travel circle"
).split()


def lines(rows: list[dict[str, Any]]) -> list[str]:
    """Show predicted beside measured."""
    return [
        f"{row['prompt']:>4} read, {row['output']:>2} written, {row['batch']} at once: "
        f"first token {row['ttft'][0]:.2f} / {row['ttft'][1]:.2f} s, "
        f"each next {row['itl'][0] * 1e3:.0f} / {row['itl'][1] * 1e3:.0f} ms, "
        f"whole {row['seconds'][0]:.2f} / {row['seconds'][1]:.2f} s (expected error {row['spread']:.0%})"
        for row in rows
    ]
