"""The same applications as plain calls and as programs: ways back to the client, tokens computed, completion."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from statistics import mean
from typing import Any

import anyio
import httpx

from ...serving import ProgramBody, ProgramRequest, ProgramStep, run_program
from ...serving.server.answers import Usage
from ...serving.server.asked import ChatMessage
from ..serving.places import engine_of, server_before
from .engines import words

APPLICATIONS, STEPS = 4, 3


async def chained(model: str, prefix: int, tokens: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Run ``APPLICATIONS`` chains that come together, before one server, first call by call and then as programs.

    Each way has a prefix of its own, so that neither finds what the other computed.
    """
    found: dict[str, Any] = {"applications": APPLICATIONS, "steps": STEPS}
    with engine_of(model) as engine, server_before(engine) as server:
        url = f"{server.url}/v1"
        for way, run in (("plain", _plain), ("chained", _program)):
            steps = tuple(_step(number, words(prefix, way), tokens) for number in range(STEPS))
            found[way] = await _together(partial(run, url, model, steps))
            say(f"{way}: {found[way]}")
    return found


def _step(number: int, system: str, tokens: int) -> ProgramStep:
    task = f"Go on with: {{{{v{number - 1}}}}}" if number else "Begin."
    said = (ChatMessage(role="system", content=system), ChatMessage(role="user", content=task))
    return ProgramStep(output=f"v{number}", messages=said, max_tokens=tokens)


async def _together(run: Callable[[int], Awaitable[tuple[int, Usage]]]) -> dict[str, float]:
    began, done = time.monotonic(), []
    trips, computed = 0, 0

    async def one(application: int) -> None:
        nonlocal trips, computed
        count, usage = await run(application)
        done.append(time.monotonic() - began)
        trips += count
        computed += usage.prompt_tokens - usage.prompt_tokens_details.cached_tokens

    async with anyio.create_task_group() as group:
        for application in range(APPLICATIONS):
            group.start_soon(one, application)
    return {"round_trips": trips, "prefilled": computed, "mean_completion": round(mean(done), 2)}


def _own(steps: tuple[ProgramStep, ...], application: int) -> tuple[ProgramStep, ...]:
    """The steps with a seed of the application: equal calls would be one."""
    return tuple(step.model_copy(update={"seed": application}) for step in steps)


async def _program(url: str, model: str, steps: tuple[ProgramStep, ...], application: int) -> tuple[int, Usage]:
    body: ProgramBody = await run_program(ProgramRequest(model=model, steps=_own(steps, application)), url=url)
    return 1, body.usage


async def _plain(url: str, model: str, steps: tuple[ProgramStep, ...], application: int) -> tuple[int, Usage]:
    value, used = "", Usage(prompt_tokens=0, completion_tokens=0, total_tokens=0)
    cached = 0
    async with httpx.AsyncClient(timeout=None, trust_env=False) as client:
        for number, step in enumerate(_own(steps, application)):
            asked = step.model_dump(exclude={"output"}, exclude_none=True) | {"model": model}
            asked["messages"][-1]["content"] = asked["messages"][-1]["content"].replace(f"{{{{v{number - 1}}}}}", value)
            answer = (await client.post(f"{url}/chat/completions", json=asked)).json()
            value = answer["choices"][0]["message"]["content"]
            usage = Usage.model_validate(answer["usage"])
            cached += usage.prompt_tokens_details.cached_tokens
            used = used.model_copy(update={"prompt_tokens": used.prompt_tokens + usage.prompt_tokens})
    details = used.prompt_tokens_details.model_copy(update={"cached_tokens": cached})
    return len(steps), used.model_copy(update={"prompt_tokens_details": details})
