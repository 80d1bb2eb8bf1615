"""Programs: several calls that feed each other, sent to a server at once and run there without a way back between.

"Parrot: Efficient Serving of LLM-based Applications with Semantic Variable": prompts hold ``{{name}}`` where the value
of a variable goes, every step makes one, and the server sees which call waits for which. ``run_program`` is the client
that waits; ``start_program`` leaves it to the server, ``find_program`` and ``cancel_program`` come back to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import Field

from ..errors import ModelUnavailable, RequestRefused
from ..messages import Frozen
from .server.answers import Fault, Usage
from .server.asked import ChatMessage, Count, ResponseFormat, Seed, Stop
from .server.places import Told

STEPS = 64
"""Most steps of a program."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]


class ProgramStep(Frozen):
    """One call of a program."""

    output: Name
    """The variable that the answer becomes."""
    prompt: str | None = None
    """What the user says; ``{{name}}`` stands for a variable. Either this or ``messages``."""
    messages: Annotated[tuple[ChatMessage, ...], Field(min_length=1)] | None = None
    """A conversation whose contents may hold variables."""
    model: Annotated[str, Field(max_length=1000)] = ""
    """The model that runs it; empty: the program's. Values go from one model to another as text."""
    max_tokens: Count = 256
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Seed | None = None
    stop: Annotated[str, Field(min_length=1)] | Stop | None = None
    response_format: ResponseFormat | None = None
    grammar: str | None = None


class ProgramRequest(Frozen):
    """``POST /v1/programs``."""

    model: Annotated[str, Field(max_length=1000)] = ""
    """A name from ``/v1/models``; empty takes the server's default. Steps that name none run on it."""
    inputs: Annotated[dict[Name, str], Field(max_length=256)] = {}
    """Variables that are known."""
    steps: Annotated[tuple[ProgramStep, ...], Field(min_length=1, max_length=STEPS)]
    """In any order; what a step's contents name decides when it runs."""
    outputs: tuple[Name, ...] | None = None
    """Variables that the answer tells; left out: those of all steps."""
    stream: bool = False
    background: bool = False
    """Answer at once, with the id to ask by, and run on without the client."""
    shuntyard: Told | None = None
    """Where the program stands in an application (without it, it is one by itself), and how its prompts may be read."""


class StepDone(Frozen):
    """How far a step is, or how it ended."""

    output: str
    model: str = ""
    """The model that runs it."""
    status: Literal["waiting", "running", "done", "failed", "skipped", "cancelled"]
    """``waiting``: for a variable; ``skipped``: a variable that it needs was not made."""
    finish_reason: str = ""
    """``length``: the value was cut off at ``max_tokens``."""
    read: str = ""
    """How its prompt was read, where it was too long to be read whole."""
    usage: Usage | None = None
    error: Fault | None = None


class ProgramBody(Frozen):
    """A program as it stands; steps that failed leave the values of the others."""

    id: str
    object: Literal["program"] = "program"
    created: int
    model: str
    status: Literal["queued", "running", "completed", "partial", "failed", "cancelled"]
    """``queued``: for a place on the server; ``failed``: no step was done."""
    variables: dict[str, str]
    """The values that are there."""
    steps: tuple[StepDone, ...]
    """As they were sent."""
    usage: Usage
    """Sum over the steps that were counted."""
    error: Fault | None = None
    """Why it was not run at all."""


async def run_program(program: ProgramRequest, *, url: str, key: str = "") -> ProgramBody:
    """Have the shuntyard server at ``url`` (as in ``http://127.0.0.1:8800/v1``) run ``program``; one round trip.

    Cancelling stops its calls. Raises RequestRefused for what the server refuses, ModelUnavailable when it cannot be
    reached or does not answer as one.
    """
    return await _asked("POST", "/programs", url, key, program.model_copy(update={"background": False}))


async def start_program(program: ProgramRequest, *, url: str, key: str = "") -> ProgramBody:
    """As ``run_program``, but return at once; the program runs on without us, and ``id`` finds it again."""
    return await _asked("POST", "/programs", url, key, program.model_copy(update={"background": True}))


async def find_program(id: str, *, url: str, key: str = "") -> ProgramBody:
    """Return how far the program ``id`` is. Raises RequestRefused (404) for one that the server does not keep."""
    return await _asked("GET", f"/programs/{quote(id, safe='')}", url, key)


async def cancel_program(id: str, *, url: str, key: str = "") -> ProgramBody:
    """Stop the program ``id``, or have the server forget it when it is over; return its last state. Raises as above."""
    return await _asked("DELETE", f"/programs/{quote(id, safe='')}", url, key)


async def _asked(method: str, path: str, url: str, key: str, program: ProgramRequest | None = None) -> ProgramBody:
    import httpx

    headers: Mapping[str, str] = {"Authorization": f"Bearer {key}"} if key else {}
    sent = None
    if program is not None:
        sent = program.model_copy(update={"stream": False}).model_dump(mode="json", by_alias=True, exclude_none=True)
    timeout = httpx.Timeout(None, connect=10.0)
    try:
        async with httpx.AsyncClient(timeout=timeout, headers=headers, trust_env=False) as client:
            response = await client.request(method, f"{url.rstrip('/')}{path}", json=sent)
        if response.status_code in (200, 202):
            return ProgramBody.model_validate_json(response.content)
        fault = Fault.model_validate(response.json()["error"])
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        what = str(error) or type(error).__name__
        raise ModelUnavailable(
            f"{url!r} did not answer as a shuntyard server ({what[:200]}); check url and that `shuntyard serve` runs."
        ) from None
    if response.status_code < 500:
        raise RequestRefused(fault.message, param=fault.param or "", status=response.status_code)
    raise ModelUnavailable(fault.message)
