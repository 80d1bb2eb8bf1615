"""A llama-server's own interface: what its wire says, and prompts read in pieces."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from ..errors import ModelUnavailable, UsageError
from .answer import Answer, too_long
from .desk import Desk
from .prompt import Prompt
from .schedule.dispatch import Call
from .schedule.warmth import WIDTH, unpacked
from .supervise import Running

if TYPE_CHECKING:
    from .predict.watch import Watch

PUT_OFF = 8
"""How often a call gives its slot up, between two pieces, to one of an application that goes before its own."""
_STREAM = {"stream": True, "return_progress": True}
# The server ends the connection after a stream without a word; what is sent on it meanwhile gets no answer.
_ONCE = {"Connection": "close"}


def client_of(engine: Running) -> httpx.AsyncClient:
    """Return a client of ``engine``."""
    return httpx.AsyncClient(
        base_url=engine.url,
        headers={"Authorization": f"Bearer {engine.token}"},
        timeout=httpx.Timeout(None, connect=5.0),
        trust_env=False,
        verify=False,
    )


async def generate(
    client: httpx.AsyncClient, body: dict[str, Any], answer: Answer, *, model: str, watch: Watch | None = None
) -> None:
    """Have the engine generate into ``answer``; ``watch`` learns from what it takes.

    Raises ModelUnavailable, UsageError, ContextTooLong.
    """
    try:
        with watch.call() if watch is not None else nullcontext(_ignored) as took:
            async with client.stream("POST", "/completion", json=body | _STREAM, headers=_ONCE) as response:
                if response.status_code != 200:
                    await response.aread()
                    read(response, model)
                async for event in _events(response):
                    answer.take(event)
                    if answer.last is not None:
                        took(answer.last.get("timings", {}))
                        return
    except httpx.TransportError as error:
        raise gone(model, error) from None
    raise gone(model, "its answer broke off")


def read(response: httpx.Response, model: str) -> dict[str, Any]:
    """Return what the engine answered. Raises ContextTooLong, UsageError, ModelUnavailable when it is no answer."""
    if response.status_code == 200:
        return dict(response.json())
    try:
        error = response.json()["error"]
        kind, message = str(error.get("type", "")), str(error.get("message", ""))
    except (ValueError, KeyError, TypeError):
        kind, message = "", response.text[:200]
    if kind == "exceed_context_size_error":
        raise too_long(model, message)
    if response.status_code == 400:
        raise UsageError(f"the engine of {model!r} refuses the request: {message}; correct the grammar or schema.")
    raise ModelUnavailable(
        f"the engine of {model!r} answers HTTP {response.status_code}: {message}; run `shuntyard models stop`.",
        ids={"model": model},
    )


def gone(model: str, why: object) -> ModelUnavailable:
    """The error for an engine that stopped answering."""
    return ModelUnavailable(
        f"the engine of {model!r} stopped answering ({str(why) or type(why).__name__}); "
        "it is started again at the next call.",
        ids={"model": model},
    )


async def _events(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in response.aiter_lines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line[6:])
        elif line.startswith("error: "):
            raise httpx.ReadError(line[7:300])


@dataclass(slots=True)
class Reader:
    """Has slots read one call's prompt, piece by piece; ``told`` gets the tokens computed and how far it is now."""

    desk: Desk
    call: Call
    prompt: Prompt
    model: str
    told: Callable[[int, int], None] = lambda computed, upto: None

    async def onto(self, client: httpx.AsyncClient, engine: Running, slot: int, *, stays: bool) -> bool:
        """Make ``slot`` know the prompt but for its end; False when another call goes before this one.

        Then what was read is saved, and the call waits again; with ``stays`` it never does.
        """
        piece = self.desk.piece

        async def pieces(begin: int, end: int) -> None:
            for upto in [*range(begin + piece, end, piece), end]:
                await self.desk.let_in()
                body = {"prompt": unpacked(self.prompt.tokens[: upto * WIDTH]), "n_predict": 0, "temperature": 0}
                part = Answer(0.0, None)
                await generate(
                    client,
                    body | {"id_slot": slot, "cache_prompt": True},
                    part,
                    model=self.model,
                    watch=self.desk.watch,
                )
                self.desk.speeds.read(part.computed, part.took)
                self.told(part.computed, upto)
                if not stays and self.desk.scheduler.outranked(self.call):
                    await self.desk.put_off(client, slot, self.prompt.tokens[: upto * WIDTH])
                    raise _PutOff

        # A piece cuts off what the slot knows beyond it.
        in_pieces = self.desk.knows(slot)
        count = self.prompt.count
        try:
            known = await self.desk.prepare(client, engine, slot, self.prompt, read=pieces)
            if in_pieces and count - known > piece:
                await pieces(known, count - (count - known - 1) % piece - 1)
        except _PutOff:
            return False
        return True


def _ignored(timings: dict[str, Any]) -> None:
    pass


class _PutOff(Exception):
    """The rest of the prompt is read later."""
