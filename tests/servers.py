"""A local OpenAI-compatible server that answers from a script: for every test that needs a model behind a URL."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Request = dict[str, Any]


class ScriptedServer:
    """Answers ``/v1/chat/completions`` with ``answers`` in turn, or with what a function makes of the request body.

    Streams when asked to. ``delay`` is the pause in seconds between pieces of ``piece`` characters; ``die_after``
    answers the server drops the connection; ``status`` other than 200 fails every call. Use as a context manager.
    """

    def __init__(
        self,
        answers: Sequence[str] | Callable[[Request], str],
        *,
        model: str = "scripted",
        delay: float = 0.0,
        piece: int = 8,
        die_after: int | None = None,
        status: int = 200,
    ) -> None:
        self.answers = answers
        self.model = model
        self.delay = delay
        self.piece = piece
        self.die_after = die_after
        self.status = status
        self.requests: list[Request] = []
        self.dropped = 0
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def toml(self, name: str = "scripted", **extra: Any) -> str:
        """The lines of shuntyard.toml that make this server a model called ``name``."""
        lines = [f"[models.{json.dumps(name)}]", f"url = {json.dumps(self.url)}", f"model = {json.dumps(self.model)}"]
        lines.extend(f"{key} = {json.dumps(value)}" for key, value in extra.items())
        return "\n".join(lines) + "\n"

    def __enter__(self) -> ScriptedServer:
        outer = self

        class Handler(_Handler):
            script = outer

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, request: object, client_address: object) -> None:
                return

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None and self._thread is not None
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    def next(self, request: Request) -> str | None:
        """The answer to ``request``; None when the connection is to be dropped."""
        with self._lock:
            turn = len(self.requests)
            self.requests.append(request)
        if self.die_after is not None and turn >= self.die_after:
            self.dropped += 1
            return None
        if callable(self.answers):
            return self.answers(request)
        return self.answers[turn] if turn < len(self.answers) else None


class _Handler(BaseHTTPRequestHandler):
    script: ScriptedServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        return

    def do_GET(self) -> None:
        self._json({"object": "list", "data": [{"id": self.script.model, "object": "model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        if self.script.status != 200:
            self._json({"error": {"message": "scripted failure", "type": "server_error"}}, status=self.script.status)
            return
        text = self.script.next(body)
        if text is None:
            self.close_connection = True
            self.connection.close()
            return
        usage = {
            "prompt_tokens": sum(-(-len(str(m.get("content", ""))) // 4) for m in body.get("messages", [])),
            "completion_tokens": max(1, -(-len(text) // 4)),
        }
        usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]
        if body.get("stream"):
            self._stream(text, usage)
            return
        time.sleep(self.script.delay * max(1, len(text) // self.script.piece))
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        self._json({**self._head("chat.completion"), "choices": [choice], "usage": usage})

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": "chatcmpl-1", "object": kind, "created": int(time.time()), "model": self.script.model}

    def _stream(self, text: str, usage: dict[str, int]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        head = self._head("chat.completion.chunk")
        pieces = [text[i : i + self.script.piece] for i in range(0, len(text), self.script.piece)]
        for index, piece in enumerate(pieces):
            delta = {"content": piece} if index else {"role": "assistant", "content": piece}
            self._chunk({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
            time.sleep(self.script.delay)
        self._chunk({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self._chunk({**head, "choices": [], "usage": usage})
        self.wfile.write(b"data: [DONE]\n\n")

    def _chunk(self, body: dict[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps(body).encode() + b"\n\n")
        self.wfile.flush()

    def _json(self, body: dict[str, Any], *, status: int = 200) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
