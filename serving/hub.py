"""Model files from Hugging Face, or a mirror of it, at the pinned revision: streamed and resumed by HTTP ranges."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING

from ..errors import DownloadFailed
from .part import Part, bad

if TYPE_CHECKING:
    import httpx

DEFAULT_URL = "https://huggingface.co"
TRIES = 4
"""Attempts in a row that bring nothing before giving up."""


class _TryAgain(Exception):
    """What went wrong may be right a moment later."""


def url_of(part: Part) -> str:
    """Return where the file of ``part`` lies; ``SHUNTYARD_HF_URL`` replaces the host."""
    base = os.environ.get("SHUNTYARD_HF_URL", "").rstrip("/") or DEFAULT_URL
    return f"{base}/{part.file.repo}/resolve/{part.file.revision}/{part.file.file}"


def receive(part: Part, *, pause: float = 0.5) -> None:
    """Fetch what ``part`` lacks, resuming after every interruption that brought something.

    ``pause`` seconds are waited after the first try that brought nothing, doubled after each further one.
    Raises DownloadFailed when the host cannot be reached or refuses, ModelFileBad when it offers another file.
    """
    import httpx

    url = url_of(part)
    barren = 0
    timeout = httpx.Timeout(10.0)
    with httpx.Client(follow_redirects=True, timeout=timeout) as client:
        while not part.complete:
            before = part.size
            try:
                _once(client, url, part)
                reason = "the connection ended early"
            except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
                raise DownloadFailed(f"cannot fetch {url!r}: {error}; check SHUNTYARD_HF_URL.") from None
            except (_TryAgain, httpx.TransportError) as error:
                reason = str(error) or type(error).__name__
            part.flush()
            barren = 0 if part.size > before else barren + 1
            if barren >= TRIES:
                raise DownloadFailed(f"{url!r} could not be fetched: {reason}; check the network.")
            if barren:
                _wait(part, pause * 2 ** (barren - 1))


def _once(client: httpx.Client, url: str, part: Part) -> None:
    headers = {"Accept-Encoding": "identity"}
    token = os.environ.get("HF_TOKEN")
    if token and url.startswith(DEFAULT_URL + "/"):
        headers["Authorization"] = f"Bearer {token}"
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
    with client.stream("GET", url, headers=headers) as response:
        _check(response.status_code, url)
        if response.status_code == 206:
            _same_file(response.headers.get("Content-Range", ""), part)
        elif response.status_code == 416:
            part.discard()
            raise _TryAgain("the server has no such range")
        else:
            length = response.headers.get("Content-Length")
            if length is not None and int(length) != part.file.bytes:
                raise bad(part.file, f"the server offers {length} bytes, not {part.file.bytes}")
            # Without ranges everything comes again from the first byte.
            part.discard()
        for chunk in response.iter_raw():
            part.write(chunk)


def _check(status: int, url: str) -> None:
    if status in (200, 206, 416):
        return
    if status in (408, 425, 429) or status >= 500:
        raise _TryAgain(f"HTTP {status}")
    raise DownloadFailed(f"{url!r} answers HTTP {status}; check SHUNTYARD_HF_URL and your access.")


def _same_file(content_range: str, part: Part) -> None:
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", content_range.strip())
    if found is None or int(found[1]) != part.size:
        part.discard()
        raise _TryAgain(f"an unexpected range came: {content_range!r}")
    if found[3] != "*" and int(found[3]) != part.file.bytes:
        raise bad(part.file, f"the server offers {found[3]} bytes, not {part.file.bytes}")


def _wait(part: Part, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        part.tell(part.size)
        time.sleep(min(0.5, left))
