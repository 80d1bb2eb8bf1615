import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from shuntyard.errors import ToolError, ToolRetry
from shuntyard.protocols import Ctx
from shuntyard.settings import Settings
from shuntyard.steps import Step, StepKey
from shuntyard.tools import Registry, builtin_tools
from shuntyard.tools.http import http_tool

pytestmark = pytest.mark.anyio
Get = Callable[..., Awaitable[Any]]


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        pages: dict[str, tuple[int, str, bytes]] = {
            "/text": (200, "text/plain; charset=latin-1", "café".encode("latin-1")),
            "/json": (200, "application/json", b'{"a": [1]}'),
            "/badjson": (200, "application/json", b"{"),
            "/missing": (404, "text/plain", b"no"),
            "/busy": (503, "text/plain", b"later"),
            "/binary": (200, "image/png", b"\x89PNG\0\0"),
            "/big": (200, "text/plain", b"x" * 3_000_000),
            "/hop": (302, "/text", b""),
            "/away": (302, "http://other.invalid/x", b""),
            "/gopher": (302, "gopher://example.org/x", b""),
            "/loop": (302, "/loop", b""),
        }
        status, kind, body = pages[self.path]
        self.send_response(status)
        self.send_header("Location" if status == 302 else "Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            return

    def log_message(self, *args: object) -> None:
        return


@pytest.fixture
def base() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def getter(ctx: Ctx, *allowed: str) -> Get:
    registry = Registry([http_tool(allowed)])

    async def get(url: str) -> Any:
        return await registry.call(Step(StepKey("r", 0, "n1"), "tool", "http_get", {"url": url}), ctx)

    return get


async def test_text_data_and_redirects(base: str, ctx: Ctx) -> None:
    get = getter(ctx, "127.0.0.1")
    assert await get(f"{base}/text") == "café"
    assert await get(f"{base}/json") == {"a": [1]}
    assert await get(f"{base}/badjson") == "{"
    assert await get(f"{base}/hop") == "café"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/missing", "status 404"),
        ("/binary", "binary file"),
        ("/big", "more than 2000000 bytes"),
        ("/away", r"'other\.invalid' is not allowed"),
        ("/gopher", "not a web address"),
        ("/loop", "redirects more than 5"),
    ],
)
async def test_refusals(path: str, words: str, base: str, ctx: Ctx) -> None:
    with pytest.raises(ToolError, match=words) as caught:
        await getter(ctx, "127.0.0.1")(base + path)
    assert not isinstance(caught.value, ToolRetry)


async def test_what_may_pass_later_asks_for_a_retry(base: str, ctx: Ctx) -> None:
    with pytest.raises(ToolRetry, match="503"):
        await getter(ctx, "127.0.0.1")(f"{base}/busy")
    with pytest.raises(ToolRetry, match="cannot be reached"):
        await getter(ctx, "127.0.0.1")("http://127.0.0.1:9/")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "10.1.2.3", "169.254.169.254", "0.0.0.0", "[::1]", "2130706433"]
)
async def test_a_glob_does_not_open_private_addresses(host: str, ctx: Ctx) -> None:
    with pytest.raises(ToolError, match="private address"):
        await getter(ctx, "*")(f"http://{host}:9/")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "example.org",
        "http://",
        "http://user:pw@example.org/",
        "http://[::1",
        "gopher://example.org/x",
    ],
)
async def test_addresses_that_are_none(url: str, ctx: Ctx) -> None:
    with pytest.raises(ToolError, match="web address"):
        await getter(ctx, "example.org")(url)


async def test_hosts_that_are_not_allowed(ctx: Ctx) -> None:
    for url in ("https://example.com/", "https://example.org.evil.com/", "https://xexample.org/"):
        with pytest.raises(ToolError, match="is not allowed"):
            await getter(ctx, "example.org", "*.example.org")(url)


def test_it_is_there_only_when_a_host_is_allowed() -> None:
    def names(settings: Settings) -> list[str]:
        return [tool.spec.name for tool in builtin_tools(settings)]

    assert "http_get" not in names(Settings())
    assert "http_get" in names(Settings(allow_http=("example.org",)))
