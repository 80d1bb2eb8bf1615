"""A local server that answers one call with exactly the bytes of a test, or never."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any


def piece(text: str, finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    body = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **more}
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


def usage(prompt: int, completion: int) -> bytes:
    total = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    body = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [], "usage": total}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


class Server:
    """``answer`` is sent in its parts; with ``hang`` the connection then stays open until the client leaves."""

    def __init__(
        self, *answer: bytes, status: int = 200, kind: str = "text/event-stream", hang: bool = False, short: int = 0
    ) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.left = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.requests.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                outer.headers.append(dict(self.headers.items()))
                self.send_response(status)
                self.send_header("Content-Type", kind)
                if short:
                    self.send_header("Content-Length", str(sum(map(len, answer)) + short))
                self.end_headers()
                for part in answer:
                    self.wfile.write(part)
                    self.wfile.flush()
                if hang:
                    self.connection.settimeout(20)
                    if self.connection.recv(1) == b"":
                        outer.left.set()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._handler = Handler

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Server:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
