"""``http_get``: read a page from hosts that the settings allow, and from no others."""

from __future__ import annotations

import fnmatch
import ipaddress
import json
import socket
from collections.abc import Sequence
from typing import Any
from urllib.parse import urljoin, urlsplit

import anyio
import httpx

from ..errors import ToolError, ToolRetry, ToolTimeout
from .spec import FunctionTool, tool

MAX_BYTES = 2_000_000
MAX_REDIRECTS = 5
TIMEOUT = 20.0


def http_tool(allowed: Sequence[str]) -> FunctionTool[Any, Any]:
    """Return ``http_get`` for hosts that match one of the globs ``allowed`` (``example.org``, ``*.example.org``)."""

    @tool(effect="external", idempotent=True, resource="network", seconds=1.0, timeout=TIMEOUT)
    async def http_get(url: str) -> Any:
        """Return what a web address holds: data for JSON, otherwise its text.

        Args:
            url: The address, starting with https:// or http://.
        """
        try:
            with anyio.fail_after(TIMEOUT):
                return await _follow(url, allowed)
        except TimeoutError:
            raise ToolTimeout(f"{url!r} did not answer within {TIMEOUT:.0f} s; try again later.") from None

    return http_get


async def _follow(url: str, allowed: Sequence[str]) -> Any:
    async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False, follow_redirects=False) as client:
        for _ in range(MAX_REDIRECTS + 1):
            request = await _request(client, url, allowed)
            try:
                response = await client.send(request, stream=True)
            except httpx.HTTPError as error:
                raise ToolRetry(
                    f"{url!r} cannot be reached: {type(error).__name__} {error}; try again later."
                ) from None
            try:
                if response.is_redirect:
                    url = urljoin(url, response.headers.get("location", ""))
                    continue
                return await _content(url, response)
            finally:
                await response.aclose()
    raise ToolError(f"{url!r} redirects more than {MAX_REDIRECTS} times; name the final address.")


async def _request(client: httpx.AsyncClient, url: str, allowed: Sequence[str]) -> httpx.Request:
    """A request to the checked address itself, so that a second name lookup cannot lead elsewhere."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ToolError(f"{url!r} is not a web address; write https://host/path.") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ToolError(f"{url!r} is not a web address; write https://host/path.")
    if parts.username or parts.password:
        raise ToolError("a web address with a user name or password in it is refused; leave them out.")
    if not any(fnmatch.fnmatchcase(host.lower(), glob.lower()) for glob in allowed):
        raise ToolError(f"the host {host!r} is not allowed; add it to allow_http in the settings.")
    address = await _address(
        host, port or (443 if parts.scheme == "https" else 80), host.lower() in map(str.lower, allowed)
    )
    shown = f"[{address}]" if ":" in address else address
    place = f"{shown}:{port}" if port else shown
    target = parts._replace(netloc=place, fragment="").geturl()
    headers = {"Host": parts.netloc, "User-Agent": "shuntyard", "Accept": "application/json, text/*;q=0.9, */*;q=0.1"}
    return client.build_request("GET", target, headers=headers, extensions={"sni_hostname": host})


async def _address(host: str, port: int, named: bool) -> str:
    """The first address of a host; private ones only when the settings name the host itself, not by a glob."""
    try:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ToolRetry(f"the host {host!r} has no address: {error}; check its name.") from None
    addresses = [str(entry[4][0]).split("%")[0] for entry in found]
    for address in addresses:
        if not named and not ipaddress.ip_address(address).is_global:
            raise ToolError(
                f"{host!r} is the private address {address}; name the host itself in allow_http to allow it."
            )
    return addresses[0]


async def _content(url: str, response: httpx.Response) -> Any:
    if response.status_code in (408, 425, 429) or response.status_code >= 500:
        raise ToolRetry(f"{url!r} answered with status {response.status_code}; try again later.")
    if not response.is_success:
        raise ToolError(f"{url!r} answered with status {response.status_code}; check the address.")
    data = b""
    async for part in response.aiter_bytes():
        data += part
        if len(data) > MAX_BYTES:
            raise ToolError(f"{url!r} holds more than {MAX_BYTES} bytes; name a smaller page.")
    if b"\0" in data[:8192]:
        raise ToolError(f"{url!r} is a binary file of type {response.headers.get('content-type', '?')!r}; name a text.")
    text = data.decode(response.charset_encoding or "utf-8", errors="replace")
    if "json" in response.headers.get("content-type", ""):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text
