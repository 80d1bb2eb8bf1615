"""An engine that sends the very bytes that it is told to, over real sockets: what tears, stalls and dies."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from shuntyard.settings import RemoteModel, Settings

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_TAIL = '"created":0,"id":"x","model":"inner","object":"chat.completion.chunk"}'
ROLE = '{"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],' + _TAIL
FINISH = '{"choices":[{"finish_reason":"length","index":0,"delta":{}}],' + _TAIL
USAGE = '{"choices":[],"usage":{"prompt_tokens":8,"completion_tokens":%d,"total_tokens":%d},' + _TAIL


def event(text: str) -> bytes:
    return b"data: " + text.encode() + b"\n\n"


def said(text: str) -> bytes:
    """An event that goes on with the text, as llama.cpp writes it."""
    inside = json.dumps(text, ensure_ascii=False)
    return event('{"choices":[{"finish_reason":null,"index":0,"delta":{"content":' + inside + "}}]," + _TAIL)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def ending(count: int) -> list[bytes]:
    return [event(FINISH), event(USAGE % (count, count + 8)), event("[DONE]")]


def whole(words: Sequence[str]) -> Iterator[bytes]:
    """The events of an answer."""
    yield event(ROLE)
    yield from map(said, words)
    yield from ending(len(words))


def paced(words: Sequence[str], pace: float = 0.005) -> Callable[[socket.socket, dict[str, Any]], None]:
    """A script that sends an answer event by event."""

    def script(near: socket.socket, asked: dict[str, Any]) -> None:
        near.sendall(HEAD)
        for piece in whole(words):
            near.sendall(chunk(piece))
            time.sleep(pace)
        near.sendall(b"0\r\n\r\n")

    return script


def text_of(found: Sequence[dict[str, Any]]) -> str:
    """What the chunks of an answer say."""
    return "".join(item["choices"][0]["delta"].get("content") or "" for item in found if item.get("choices"))


@dataclass
class RawEngine:
    script: Callable[[socket.socket, dict[str, Any]], None]
    """Sends the answer to one request."""
    connections: int = 0
    """That asked for a generation."""
    left: threading.Event = field(default_factory=threading.Event)
    """A client was gone while its answer was sent."""
    url: str = ""
    owner: str = "llamacpp"

    def settings(self, **serve: Any) -> Settings:
        model = RemoteModel(url=f"{self.url}/v1", model="inner")
        return Settings.model_validate(
            {"models": {"raw": model}, "serve": {"port": 0, "models": ("raw",), "drain": 2, **serve}}
        )


@contextmanager
def playing(engine: RawEngine) -> Iterator[RawEngine]:
    listener = socket.create_server(("127.0.0.1", 0))
    engine.url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    def accept() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_talk, args=(engine, near), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield engine
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _talk(engine: RawEngine, near: socket.socket) -> None:
    asked = False
    with near, near.makefile("rb") as lines:
        try:
            while first := lines.readline():
                length, last = 0, False
                while (line := lines.readline().strip()) != b"":
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.partition(b":")[2])
                    last |= line.lower() == b"connection: close"
                body = lines.read(length)
                if first.startswith(b"GET"):
                    listed = b'{"data":[{"id":"inner","owned_by":"%b"}]}' % engine.owner.encode()
                    near.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(listed), listed))
                    continue
                engine.connections += not asked
                asked = True
                engine.script(near, json.loads(body))
                if last:
                    return
        except OSError:
            engine.left.set()
