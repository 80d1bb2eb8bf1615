"""An engine that speaks llama-server's wire format over real HTTP, and misbehaves when told to; servers before it."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from shuntyard.serving import server as serving
from shuntyard.serving import supervise
from shuntyard.settings import RemoteModel, ServeSettings, Settings


class FakeEngine:
    """Says ``words``; llama.cpp's oddities included: one report of usage per choice, each with the whole prompt."""

    def __init__(self, words: list[str] | None = None) -> None:
        self.words = words if words is not None else ["Hello", " there", "!"]
        self.reader: Callable[[dict[str, Any]], list[str]] | None = None
        """What it says instead, from what it is asked."""
        self.delay = 0.0
        self.finish = "stop"
        self.owner = "llamacpp"
        self.drop_before = 0
        """Connections dropped before anything was sent."""
        self.drop_after: int | None = None
        """Words after which every connection is dropped."""
        self.context = 4096
        self.shows_tools = True
        self.calls: list[dict[str, Any]] = []
        """Bodies of every generation."""
        self.connections: set[tuple[str, int]] = set()
        """Those that generations came over."""
        self.drop_slots = 0
        """Connections dropped that ask for the slots."""
        self.first = 0.0
        """Seconds before the first word: the prompt is read."""
        self.left = threading.Event()
        """A client closed its connection before the end."""
        self.running = 0
        self.most = 0
        self.lock = threading.Lock()
        self.url = ""

    def settings(self, **serve: Any) -> Settings:
        """Settings of a server that offers this engine as ``fake``."""
        fake = RemoteModel(url=f"{self.url}/v1", model="inner", context=self.context)
        return Settings.model_validate(
            {"models": {"fake": fake}, "serve": {"port": 0, "models": ("fake",), "drain": 2, **serve}}
        )


@contextmanager
def running(engine: FakeEngine) -> Iterator[FakeEngine]:
    class Handler(_Handler):
        fake = engine

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 256

        def handle_error(self, request: object, client_address: object) -> None:
            return

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    engine.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield engine
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def served(settings: Settings, *, key: str = "", choose: Any = None) -> Iterator[httpx.Client]:
    """Run the server in a thread; yields a client of it."""
    listener = serving.bind(settings)
    server = serving.server_of(settings, key=key, choose=choose)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        with httpx.Client(base_url=serving.url_of(listener), timeout=60, trust_env=False) as client:
            until(lambda: server.started)
            yield client
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        listener.close()
        assert not thread.is_alive()


@contextmanager
def real(folder: Path, serve: ServeSettings) -> Iterator[Settings]:
    """Settings of a server whose engines nobody else uses; they lie in ``folder`` and end with the block."""
    before = os.environ["SHUNTYARD_ENGINES"]
    os.environ["SHUNTYARD_ENGINES"] = str(folder)
    made = Settings(threads=2, idle_minutes=5, serve=serve)
    if "SHUNTYARD_CACHE" in os.environ:
        made = made.model_copy(update={"cache": Path(os.environ["SHUNTYARD_CACHE"])})
    try:
        yield made
    finally:
        supervise.stop(made)
        os.environ["SHUNTYARD_ENGINES"] = before


def until(true: Any, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


def events(response: httpx.Response) -> list[dict[str, Any]]:
    """The JSON of every event of a stream."""
    lines = [line[6:] for line in response.read().decode().split("\n") if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


class _Handler(BaseHTTPRequestHandler):
    fake: FakeEngine
    counted = False
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        return

    def do_GET(self) -> None:
        if self.path == "/slots" and self.fake.drop_slots:
            self.fake.drop_slots -= 1
            self._drop()
        elif self.path == "/slots":
            self._json([{"is_processing": self.fake.running > 0}])
        else:
            self._json({"object": "list", "data": [{"id": "inner", "owned_by": self.fake.owner}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fake = self.fake
        if self.path == "/apply-template":
            prompt = "".join(f"<{m['role']}>{m['content']}" for m in body["messages"])
            shown = json.dumps(body.get("tools", "")) if fake.shows_tools else ""
            self._json({"prompt": shown + prompt})
            return
        if self.path == "/tokenize":
            words = re.findall(r"\s*\S+|\s+$", body["content"])
            pieces = [{"id": number, "piece": word} for number, word in enumerate(words)]
            self._json({"tokens": pieces if body.get("with_pieces") else list(range(len(body["content"].split())))})
            return
        with fake.lock:
            fake.calls.append(body)
            fake.connections.add(self.client_address)
            drop = fake.drop_before > 0
            fake.drop_before -= drop
            fake.running += 1
            fake.most = max(fake.most, fake.running)
            self.counted = True
        try:
            self._generate(body, drop=drop)
        except OSError:
            fake.left.set()
        finally:
            self._free()

    def _free(self) -> None:
        """The slot is free: as in an engine before its answer's end is sent, so that the next call may come at once."""
        with self.fake.lock:
            self.fake.running -= self.counted
            self.counted = False

    def _generate(self, body: dict[str, Any], *, drop: bool) -> None:
        if drop:
            self._drop()
            return
        text = str(body.get("prompt", "")) + "".join(str(m["content"]) for m in body.get("messages", ()))
        prompt = len(text.split())
        if prompt > self.fake.context:
            message = f"request ({prompt} tokens) exceeds the available context size"
            self._json({"error": {"code": 400, "message": message, "type": "exceed_context_size_error"}}, status=400)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        time.sleep(self.fake.first)
        chat = self.path.endswith("/chat/completions")
        if self._words(body, chat=chat, prompt=prompt):
            self._write(b"data: [DONE]\n\n")
            self.wfile.write(b"0\r\n\r\n")

    def _words(self, body: dict[str, Any], *, chat: bool, prompt: int) -> bool:
        whole = self.fake.words if self.fake.reader is None else self.fake.reader(body)
        words = whole[: body.get("max_tokens", len(whole))]
        finish = self.fake.finish if len(words) == len(whole) else "length"
        count = body.get("n", 1)
        for number, word in enumerate(words):
            if number == self.fake.drop_after:
                self._drop()
                return False
            for index in range(count):
                self._choice(index, word, None, chat=chat)
            time.sleep(self.fake.delay)
        self._free()
        details = {"cached_tokens": prompt // 2}
        usage = {"prompt_tokens": prompt, "completion_tokens": len(words), "prompt_tokens_details": details}
        for index in range(count):
            self._choice(index, "", finish, chat=chat)
            self._event({"choices": [], "usage": usage})
        return True

    def _choice(self, index: int, text: str, finish: str | None, *, chat: bool) -> None:
        piece: dict[str, Any] = {"index": index, "finish_reason": finish}
        if chat:
            piece["delta"] = {"content": text} if text else {}
        else:
            piece |= {"text": text, "logprobs": None}
        self._event({"choices": [piece], "model": "/secret/path.gguf", "id": "theirs"})

    def _event(self, value: dict[str, Any]) -> None:
        self._write(b"data: " + json.dumps(value).encode() + b"\n\n")

    def _write(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _drop(self) -> None:
        self.close_connection = True
        self.connection.shutdown(2)

    def _json(self, value: Any, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
