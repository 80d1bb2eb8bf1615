"""Who comes in: the key, the host that was meant, the size of what is brought."""

from __future__ import annotations

import hmac
import ipaddress
import json
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from ...errors import RequestRefused, UsageError
from ...wording import wrong
from .events import fault_of

T = TypeVar("T", bound=BaseModel)
OPEN = ("/health",)
"""Paths that need no key: what watches a server has none."""


class Door:
    """ASGI middleware. With a key, everything but ``/health`` asks for it.

    Without one the server is on loopback, and a page in a browser must not reach it by a name that it made lead here:
    then the Host header must be loopback too.
    """

    def __init__(self, app: Callable[..., Any], *, key: str, told: Callable[[str, int], None]) -> None:
        """``key`` empty: none is asked for. ``told`` hears the path and status of what is not let in."""
        self._app = app
        self._told = told
        self._key = key.encode()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Let in, or answer 401 or 421."""
        if scope["type"] == "http":
            headers = dict(scope["headers"])
            refused = self._refused(scope["path"], headers)
            if refused is not None:
                body = fault_of(refused).model_dump_json(exclude_none=True)
                extra = {"WWW-Authenticate": "Bearer"} if refused.status == 401 else None
                self._told(scope["path"], refused.status)
                response = Response(body, refused.status, media_type="application/json", headers=extra)
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refused(self, path: str, headers: dict[bytes, bytes]) -> RequestRefused | None:
        if not self._key:
            host = headers.get(b"host", b"").decode("latin-1")
            if is_loopback(_hostname(host)):
                return None
            message = f"this server has no key and is for this machine only, not for {host!r}; call it by 127.0.0.1."
            return RequestRefused(message, status=421)
        given = headers.get(b"x-api-key") or headers.get(b"authorization", b"").removeprefix(b"Bearer ")
        if path in OPEN or hmac.compare_digest(given, self._key):
            return None
        return RequestRefused("the API key is missing or wrong; send it as 'Authorization: Bearer KEY'.", status=401)


def _hostname(host: str) -> str:
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """Tell whether an address or name is this machine for itself only."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def read(request: Request, kind: type[T], most: int, *, whole: bool = False) -> T:
    """Return the request's body as ``kind``; it is never held when it is larger than ``most`` bytes.

    ``whole``: a refusal's ``param`` is the way to the value (``steps.2.prompt``), else the field of the body it is in.
    Raises RequestRefused: 413, 415, and 400 for what is not JSON or breaks the schema.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        # Also what keeps pages of other origins out: a browser asks before it sends this type.
        raise RequestRefused("the body must be JSON; send 'Content-Type: application/json'.", status=415)
    parts, size = [], 0
    if int(request.headers.get("content-length") or 0) > most:
        raise _too_large(most)
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise _too_large(most)
        parts.append(part)
    try:
        return kind.model_validate_json(body := b"".join(parts), strict=True)
    except ValidationError as error:
        raise _invalid(error, body, whole=whole) from None


def _too_large(most: int) -> UsageError:
    message = f"the body is larger than {most} bytes; send less, or raise body_mib under [serve]."
    return RequestRefused(message, status=413)


def _invalid(error: ValidationError, body: bytes, *, whole: bool) -> RequestRefused:
    # Of a union every branch complains; the one that got furthest meant this, and its type was right.
    item = max(error.errors(include_url=False), key=lambda one: (len(one["loc"]), not one["type"].endswith("_type")))
    if item["type"] == "json_invalid":
        return RequestRefused(f"the body is not JSON: {item['msg'].partition(': ')[2]}; correct it.")
    where = ".".join(_written(item["loc"], json.loads(body))) or "body"
    param = "" if not item["loc"] else where if whole else str(item["loc"][0])
    if item["type"] == "extra_forbidden":
        return RequestRefused(f"{where!r} is not offered; leave it out.", param=param)
    if item["type"] == "missing":
        return RequestRefused(f"{where!r} is missing; send it.", param=param)
    return RequestRefused(wrong(f"{where!r} = ", item, table="an object"), param=param)


def _written(place: Sequence[int | str], value: Any) -> Iterator[str]:
    """Yield the keys and indices of ``place`` in the JSON ``value``: the rest are names of what may stand there."""
    for at, part in enumerate(place):
        if isinstance(value, list) and isinstance(part, int):
            value = value[part] if part < len(value) else None
        elif isinstance(value, dict) and (part in value or at == len(place) - 1):
            value = value.get(str(part))
        else:
            continue
        yield str(part)
