"""The short way of streamed text: the same bytes as the long one, whatever the network does to them."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fake_engine import events, served, until
from hypothesis import given
from hypothesis import strategies as st
from raw_engine import HEAD, ROLE, RawEngine, chunk, ending, event, paced, playing, said, text_of, whole
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shuntyard.serving import upstream
from shuntyard.serving.engines import Chunk, Straight, plain_texts
from shuntyard.serving.flight import Flight
from shuntyard.serving.server import run
from shuntyard.serving.server.outlet import OutletProtocol
from shuntyard.serving.wire import MOST, Wire, whole_chunks

CHAT = "/v1/chat/completions"
ASKED = {"model": "raw", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
WORDS = ["Grüße", " 🦜🌍", ' "quoted"', " \\ and\nlines", " data: {", " end"]


@pytest.fixture
def past(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Texts that went from the engine's socket to the client's."""
    found: list[bytes] = []

    def noted(piece: bytes) -> list[bytes] | None:
        texts = plain_texts(piece)
        found.extend(texts or ())
        return texts

    monkeypatch.setattr(upstream, "plain_texts", noted)
    return found


@given(st.data())
def test_a_body_is_whole_however_it_is_torn(data: st.DataObject) -> None:
    body = [event(ROLE), *map(said, WORDS), *ending(6)]
    sent = HEAD + b"".join(map(chunk, body)) + b"0\r\n\r\n"
    cuts = sorted(data.draw(st.sets(st.integers(1, len(sent) - 1), max_size=30)))
    takes = data.draw(st.booleans())
    got: list[bytes] = []

    def take(piece: bytes) -> bool:
        if takes and plain_texts(piece) is not None:
            got.append(piece)
            return True
        return False

    async def read(wire: Wire) -> None:
        while piece := await wire.read(take):
            got.append(piece)

    async def main() -> None:
        wire = Wire()
        wire.ask(b"")
        reader = asyncio.ensure_future(read(wire))
        for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
            wire.data_received(sent[begin:end])
            if begin % 3:
                await asyncio.sleep(0)
        await reader
        assert wire.status == 200 and wire.over

    asyncio.run(main())
    assert b"".join(got) == b"".join(body)


@pytest.mark.parametrize(
    "piece",
    [
        said("a")[:-1],
        said('a "quote"'),
        said("a") + event(ROLE),
        event(ROLE),
        said("a")[:-2] + b"\nerror: no\n\n",
        said("a").replace(b'"created"', b'"usage":{"completion_tokens":1},"created"'),
        said("a").replace(b'"index":0', b'"index":1'),
    ],
)
def test_what_is_more_than_text_is_read(piece: bytes) -> None:
    assert plain_texts(said("a") + piece) is None
    assert plain_texts(said("ä\n") + said("b")) == ["ä\\n".encode(), b"b"]


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=5))
def test_whole_chunks_are_what_a_parser_finds(bodies: list[bytes]) -> None:
    data = b"".join(map(chunk, bodies))
    found = whole_chunks(data)
    # A body may hold what looks like a chunk; then the parser is asked.
    assert found == b"".join(bodies) or (found == b"" and any(b"\r\n" in body for body in bodies))
    assert not whole_chunks(data + b"0\r\n\r\n") and not whole_chunks(data[:-1]) and not whole_chunks(data[1:])


def test_text_goes_the_short_way_and_usage_is_exact(past: list[bytes]) -> None:
    # Each piece by itself.
    with playing(RawEngine(paced(WORDS))) as engine, served(engine.settings(stream_interval=0)) as client:
        found = events(client.post(CHAT, json={**ASKED, "stream_options": {"include_usage": True}}))
        assert text_of(found) == "".join(WORDS)
        assert found[0]["choices"][0]["delta"]["role"] == "assistant" and found[-1]["usage"]["completion_tokens"] == 6
        assert len(past) >= 3 and {item["id"] for item in found} == {found[0]["id"]}
        assert [item["object"] for item in found] == ["chat.completion.chunk"] * len(found)
        # Tokens are counted by the server, too.
        until(lambda: 'shuntyard_tokens_total{kind="completion",model="raw"} 6.0' in client.get("/metrics").text)


@pytest.mark.parametrize("more", [{"n": 1, "response_format": {"type": "json_object"}}, {"stream": False}])
def test_what_must_be_read_goes_the_long_way(past: list[bytes], more: dict[str, Any]) -> None:
    with playing(RawEngine(paced(['{"a"', ": 1}"]))) as engine, served(engine.settings()) as client:
        response = client.post(CHAT, json={**ASKED, **more})
    assert response.status_code == 200
    assert ": 1}" in response.text and not past


@pytest.mark.parametrize("size", [1, 7, 61])
def test_torn_characters_and_chunk_heads_over_the_network(size: int) -> None:
    def script(near: socket.socket, asked: dict[str, Any]) -> None:
        sent = HEAD + b"".join(map(chunk, whole(WORDS))) + b"0\r\n\r\n"
        for begin in range(0, len(sent), size):
            near.sendall(sent[begin : begin + size])
            if begin % 5 == 0:
                time.sleep(0.0005)

    with playing(RawEngine(script)) as engine, served(engine.settings()) as client:
        assert text_of(events(client.post(CHAT, json=ASKED))) == "".join(WORDS)


def test_an_engine_that_dies_between_texts_is_told(past: list[bytes]) -> None:
    def script(near: socket.socket, asked: dict[str, Any]) -> None:
        near.sendall(HEAD + chunk(event(ROLE)))
        for number in range(5):
            time.sleep(0.01)
            near.sendall(chunk(said(f"{number} ")))
        time.sleep(0.01)
        near.sendall(b"1f")
        near.shutdown(socket.SHUT_RDWR)

    with playing(RawEngine(script)) as engine, served(engine.settings()) as client:
        *told, last = events(client.post(CHAT, json=ASKED))
        assert text_of(told) == "0 1 2 3 4 " and last["error"]["code"] == "model_unavailable"
        assert past and client.get("/health").json()["running"] == 0
        engine.script = paced(WORDS)
        assert text_of(events(client.post(CHAT, json=ASKED))) == "".join(WORDS), "the next call has its own connection"


def test_a_client_that_leaves_between_texts_stops_the_engine(past: list[bytes]) -> None:
    with playing(RawEngine(paced(["word "] * 5000))) as engine, served(engine.settings()) as client:
        with client.stream("POST", CHAT, json=ASKED) as response:
            pieces = response.iter_bytes()
            for _ in range(6):
                next(pieces)
        assert engine.left.wait(5.0) and past
        until(lambda: client.get("/health").json()["running"] == 0)
        until(lambda: 'status="499"' in client.get("/metrics").text)


def test_a_reader_that_is_slow_holds_the_engine_up_and_loses_nothing(past: list[bytes]) -> None:
    count = 60_000
    sent = 0
    done = threading.Event()

    def script(near: socket.socket, asked: dict[str, Any]) -> None:
        nonlocal sent
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        near.sendall(HEAD)
        for piece in whole([f"{number} " for number in range(count)]):
            near.sendall(chunk(piece))
            sent += 1
        near.sendall(b"0\r\n\r\n")
        done.set()

    with playing(RawEngine(script)) as engine, served(engine.settings()) as client:
        with client.stream("POST", CHAT, json=ASKED) as response:
            pieces = response.iter_bytes()
            first = next(pieces)
            before = -1
            while sent != before:
                before = sent
                time.sleep(0.3)
            assert not done.is_set() and sent < count, "it is held up"
            body = first + b"".join(pieces)
    lines = [line for line in body.decode().split("\n") if line.startswith("data: {")]
    assert text_of([json.loads(line[6:]) for line in lines]) == "".join(f"{number} " for number in range(count))


def test_a_connection_is_used_again_also_when_its_body_ends_late() -> None:
    def script(near: socket.socket, asked: dict[str, Any]) -> None:
        near.sendall(HEAD + b"".join(map(chunk, whole(["a", "b"]))))
        time.sleep(0.05)
        near.sendall(b"0\r\n\r\n")

    # A llama-server's are used once, as it ends them.
    with playing(RawEngine(script, owner="vllm")) as engine, served(engine.settings()) as client:
        for _ in range(4):
            assert text_of(events(client.post(CHAT, json=ASKED))) == "ab"
            time.sleep(0.15)
    assert engine.connections == 1


def test_a_body_may_end_with_its_connection() -> None:
    def script(near: socket.socket, asked: dict[str, Any]) -> None:
        near.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + b"".join(whole(WORDS)))
        near.shutdown(socket.SHUT_RDWR)

    with playing(RawEngine(script)) as engine, served(engine.settings()) as client:
        for _ in range(2):
            assert text_of(events(client.post(CHAT, json=ASKED))) == "".join(WORDS)
    assert engine.connections == 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"SSH-2.0-nothing\r\n", "not HTTP"),
        (b"HTTP/1.1 308 Moved\r\nLocation: https://there\r\nContent-Length: 0\r\n\r\n", "https://there"),
        (b"HTTP/1.1 500 No\r\nContent-Length: 7\r\n\r\ntrouble", "trouble"),
    ],
)
def test_an_answer_that_is_none_is_told(answer: bytes, words: str) -> None:
    with playing(RawEngine(lambda near, asked: near.sendall(answer))) as engine, served(engine.settings()) as client:
        response = client.post(CHAT, json=ASKED)
    assert response.status_code == 503 and words in response.json()["error"]["message"]


class Slow:
    """An answer of three texts, each when it is let go."""

    def __init__(self) -> None:
        self.gates = [asyncio.Event() for _ in range(4)]
        self.next = 0

    async def more(self, straight: Straight | None = None) -> list[Chunk]:
        while self.next < 3:
            await self.gates[self.next].wait()
            self.next += 1
            text = b"%d" % self.next
            if straight is None or not straight([text]):
                return [Chunk.said(text)]
        return []


def test_who_joins_a_generation_late_reads_all_of_it() -> None:
    async def main() -> None:
        slow = Slow()
        straight: list[bytes] = []

        @asynccontextmanager
        async def begin() -> AsyncIterator[Slow]:
            yield slow

        def take(texts: Sequence[bytes]) -> bool:
            straight.extend(texts)
            return True

        async def read(take: Straight | None) -> bytes:
            found = b""
            async for batch in flight.read(take):
                found += b"".join(chunk.plain or b"" for chunk in batch)
            return found

        flight = Flight(begin, keep=True, ended=lambda flight: None)
        leader = asyncio.ensure_future(read(take))
        await asyncio.sleep(0.01)
        slow.gates[0].set()
        await asyncio.sleep(0.01)
        assert straight == [b"1"]
        follower = asyncio.ensure_future(read(take))
        await asyncio.sleep(0.01)
        for gate in slow.gates:
            gate.set()
            await asyncio.sleep(0.01)
        assert await leader == b"23" and await follower == b"123" and straight == [b"1"]
        assert b"".join(chunk.plain or b"" for chunk in flight.chunks) == b"123"

    asyncio.run(main())


def test_an_engine_is_held_up_when_nobody_reads() -> None:
    class Held(asyncio.Transport):
        reading = True

        def pause_reading(self) -> None:
            self.reading = False

        def resume_reading(self) -> None:
            self.reading = True

        def write(self, data: Any) -> None:
            return

    async def main() -> None:
        wire, transport = Wire(), Held()
        wire.connection_made(transport)
        wire.ask(b"")
        wire.data_received(HEAD + chunk(b"x" * (MOST + 1)))
        assert not transport.reading
        assert len(await wire.read()) == MOST + 1 and transport.reading

    asyncio.run(main())


def test_a_client_that_left_before_anybody_asked_is_told() -> None:
    class Closing(asyncio.Transport):
        def is_closing(self) -> bool:
            return True

    told: list[str] = []
    protocol = OutletProtocol.__new__(OutletProtocol)
    protocol.transport = Closing()
    protocol._tell(lambda: told.append("left"))
    assert told == ["left"]


def test_a_server_without_the_short_ways_sends_the_same_and_sees_who_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "OutletProtocol", HttpToolsProtocol)
    with playing(RawEngine(paced(WORDS))) as engine, served(engine.settings()) as client:
        found = events(client.post(CHAT, json={**ASKED, "stream_options": {"include_usage": True}}))
        assert text_of(found) == "".join(WORDS) and found[-1]["usage"]["completion_tokens"] == 6
        engine.script = paced(["word "] * 5000)
        with client.stream("POST", CHAT, json=ASKED) as response:
            next(response.iter_bytes())
        assert engine.left.wait(5.0)
        until(lambda: 'status="499"' in client.get("/metrics").text)
