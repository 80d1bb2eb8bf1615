"""A small Hugging Face: serves one file, well or badly, over real HTTP."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from shuntyard.serving.registry import LocalEntry, ModelFile, Wheels


@dataclass
class Behaviour:
    content: bytes
    ranges: bool = True
    redirect: bool = False
    status: int = 0
    """Answer only with this."""
    cut_after: int = 0
    """Close the connection after this many bytes of a response."""
    cuts: int = 10**9
    """How many responses are cut."""
    delay: float = 0.0
    """Per 16 KiB."""
    wrong_range: bool = False
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Path and Range header of each."""
    sent: int = 0


@contextmanager
def hub(behaviour: Behaviour) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            requested = self.headers.get("Range", "")
            behaviour.requests.append((self.path, requested))
            if behaviour.status:
                self.send_response(behaviour.status)
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif behaviour.redirect and not self.path.startswith("/cdn/"):
                self.send_response(302)
                self.send_header("Location", "/cdn" + self.path)
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                self.send_file(requested)

        def send_file(self, requested: str) -> None:
            total = len(behaviour.content)
            start = int(requested.removeprefix("bytes=").rstrip("-")) if requested and behaviour.ranges else 0
            if start >= total:
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = behaviour.content[start:]
            self.send_response(206 if start else 200)
            if start:
                shown = start + 7 if behaviour.wrong_range else start
                self.send_header("Content-Range", f"bytes {shown}-{total - 1}/{total}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            cut = behaviour.cut_after if behaviour.cuts > 0 else 0
            behaviour.cuts -= 1
            try:
                for at in range(0, min(cut or len(body), len(body)), 16384):
                    piece = body[at : min(at + 16384, cut or len(body))]
                    self.wfile.write(piece)
                    self.wfile.flush()
                    behaviour.sent += len(piece)
                    time.sleep(behaviour.delay)
            except OSError:
                pass
            if cut:
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def entry(
    content: bytes, *, sha256: str = "", parts: int = 1, part_bytes: int = 0, repo: str = "org/tiny"
) -> LocalEntry:
    """A registered model with this content."""
    return LocalEntry(
        name="tiny",
        kind="generate",
        licence="Apache-2.0",
        files=(
            ModelFile(
                file="tiny.gguf",
                bytes=len(content),
                sha256=sha256 or hashlib.sha256(content).hexdigest(),
                repo=repo,
                revision="0123abc",
                wheels=Wheels(
                    "tinypart{n}", "1.0", "tinypart{n}/data/part{n:02d}.bin", parts=parts, part_bytes=part_bytes
                ),
            ),
        ),
    )
