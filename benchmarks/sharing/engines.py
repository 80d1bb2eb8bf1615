"""Engines of a benchmark's own, and calls to them with and without Shuntyard in between."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from ...messages import Completion, Message, ModelInfo, ModelRequest, Place, Usage
from ...serving.desk import Desk
from ...serving.engine import SLOTS, SPIN
from ...serving.local import LocalModel
from ...serving.schedule.order import RequestFifo
from ...serving.schedule.states import StateIdentity, States, fingerprint
from ...serving.supervise import Running

CONTEXT = 2048
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Measured:
    """An engine and its clock."""

    running: Running

    def cpu(self) -> float:
        """CPU seconds of the engine's process so far."""
        text = Path(f"/proc/{self.running.engine_pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(text[11]) + int(text[12])) / _TICK


@contextmanager
def engine(
    weights: Path, threads: int, states: str = "", *, plain: int = 0, build: str = "", slots: int = SLOTS
) -> Iterator[Measured]:
    """An engine that ends with the block; ``plain``: with that many slots and llama.cpp's defaults."""
    token = secrets.token_urlsafe(16)
    order = {"model": str(weights), "context": CONTEXT, "threads": threads, "token": token, "states": states}
    order |= {"build": build, "plain": plain, "knobs": {"slots": slots}}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", f"{__package__.partition('.')[0]}.serving.engine"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "GOMP_SPINCOUNT": SPIN},
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        url = json.loads(process.stdout.readline())["url"]
        running = Running(
            key="bench",
            name="bench",
            model=str(weights),
            url=url,
            token=token,
            context=CONTEXT,
            pid=process.pid,
            engine_pid=process.pid,
            started=time.time(),
            file=weights,
        )
        # Nothing of a person's is marked as used.
        yield Measured(replace(running, file=Path(os.devnull)))
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def states_in(folder: Path, weights: Path) -> States:
    """Saved states in ``folder``."""
    return States(folder, StateIdentity(model=fingerprint(weights), engine="bench", kv="f16/f16"), most=1 << 30)


def model(measured: Measured, *, slots: int = SLOTS, states: States | None = None, fifo: bool = False) -> LocalModel:
    """A model on the engine, which answers nothing from memory."""

    async def connect(distrust: bool) -> Running:
        return measured.running

    order = RequestFifo() if fifo else None
    desk = Desk(slots=slots, states=states, order=order, keep=0)
    return LocalModel(ModelInfo(name="bench", context=CONTEXT), connect, desk=desk, reuse=False)


def words(tokens: int, seed: str = "tool") -> str:
    """A catalogue of about ``tokens`` tokens, one tool a line."""
    lines = [f"{seed} {n}: reads table {n * 7} and returns the rows of it." for n in range(tokens // 19)]
    return "You are a careful agent with these tools.\n" + "\n".join(lines)


def request(system: str, task: str, tokens: int, *, place: Place | None = None) -> ModelRequest:
    """A call under ``system`` that takes all its tokens."""
    said = (Message(role="system", content=system),) if system else ()
    return ModelRequest(messages=(*said, Message(role="user", content=task)), max_tokens=tokens, place=place)


async def bare(measured: Measured, asked: ModelRequest, *, first: Callable[[], None] | None = None) -> dict[str, Any]:
    """Ask the engine itself, without a word on slots; returns its last event."""
    headers = {"Authorization": f"Bearer {measured.running.token}"}
    async with httpx.AsyncClient(
        base_url=measured.running.url, headers=headers, timeout=None, trust_env=False, verify=False
    ) as client:
        said = {"messages": [message.model_dump() for message in asked.messages]}
        prompt = (await client.post("/apply-template", json=said)).json()["prompt"]
        body = {"prompt": prompt, "n_predict": asked.max_tokens, "temperature": 0, "stream": True}
        last: dict[str, Any] = {}
        async with client.stream("POST", "/completion", json=body) as response:
            async for line in response.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                if not last and first is not None:
                    first()
                last = json.loads(line[6:])
        return last


def completion(last: dict[str, Any]) -> Completion:
    """The counts of the last event of ``bare``."""
    timings = last["timings"]
    read, cached = int(timings["prompt_n"]), int(timings["cache_n"])
    usage = Usage(prompt=read + cached, cached=cached, completion=int(last["tokens_predicted"]))
    return Completion(text="", model="bench", usage=usage)


def fresh(answers: Sequence[Completion]) -> int:
    """Prompt tokens that the engine computed for ``answers``."""
    return sum(answer.usage.prompt - answer.usage.cached for answer in answers)
