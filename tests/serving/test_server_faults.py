import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_engine import FakeEngine, events, served, until

from shuntyard.errors import SettingsInvalid
from shuntyard.serving.server import bind, key_of
from shuntyard.settings import ServeSettings, Settings

CHAT = "/v1/chat/completions"
HELLO = {"model": "fake", "messages": [{"role": "user", "content": "Say hello to all."}]}
JSON = {"Content-Type": "application/json"}


def endless(engine: FakeEngine) -> None:
    engine.words = ["word "] * 100_000
    engine.delay = 0.01


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_stops_the_generation(client: httpx.Client, engine: FakeEngine, stream: bool) -> None:
    endless(engine)
    with pytest.raises(httpx.ReadTimeout):
        if stream:
            with client.stream("POST", CHAT, json={**HELLO, "stream": True}) as response:
                next(response.iter_bytes())
                raise httpx.ReadTimeout("leaves")
        client.post(CHAT, json=HELLO, timeout=0.3)
    assert engine.left.wait(3.0)
    until(lambda: client.get("/health").json()["running"] == 0)
    until(lambda: 'status="499"' in client.get("/metrics").text)


@pytest.mark.parametrize(("owner", "count"), [("llamacpp", 4), ("vllm", 1)])
def test_connections_that_a_llama_server_ends_are_not_kept(engine: FakeEngine, owner: str, count: int) -> None:
    engine.owner = owner
    with served(engine.settings()) as client:
        for stream in (True, False, True, False):
            assert client.post(CHAT, json={**HELLO, "stream": stream}).status_code == 200
            # The end of the body comes after the end of the answer, and only then may the connection be used again.
            time.sleep(0.1)
    assert len(engine.connections) == count


def test_a_client_that_leaves_while_the_prompt_is_read(client: httpx.Client, engine: FakeEngine) -> None:
    endless(engine)
    engine.first = 0.5
    with pytest.raises(httpx.ReadTimeout):
        client.post(CHAT, json={**HELLO, "stream": True}, timeout=0.2)
    until(lambda: client.get("/health").json()["running"] == 0, 0.3)
    assert engine.left.wait(3.0)


def test_a_client_that_leaves_the_queue_leaves_no_gap(engine: FakeEngine) -> None:
    endless(engine)
    with served(engine.settings(concurrency=1, queue=1)) as client:
        with client.stream("POST", CHAT, json={**HELLO, "stream": True}) as response:
            # Kept: httpx closes the connection with the iterator.
            pieces = response.iter_bytes()
            next(pieces)
            with pytest.raises(httpx.ReadTimeout):
                client.post(CHAT, json=HELLO, timeout=0.2)
            until(lambda: client.get("/health").json()["queued"] == 0)
        engine.words = ["short"]
        assert client.post(CHAT, json=HELLO).status_code == 200
    assert len(engine.calls) == 2


def test_too_many_are_told_when_to_come_back(engine: FakeEngine) -> None:
    engine.words, engine.delay = ["a", "b"], 0.2
    with served(engine.settings(concurrency=2, queue=2)) as client, ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: client.post(CHAT, json=HELLO), range(8)))
    statuses = sorted(item.status_code for item in found)
    assert statuses.count(200) >= 4 and set(statuses) == {200, 429}
    busy = next(item for item in found if item.status_code == 429)
    assert 1 <= int(busy.headers["retry-after"]) <= 60
    assert busy.json()["error"]["code"] == "server_busy"
    assert engine.most == 2


def test_sixty_four_clients(client: httpx.Client, engine: FakeEngine) -> None:
    engine.delay = 0.005

    def ask(number: int) -> tuple[int, str]:
        body = {**HELLO, "stream": bool(number % 2)}
        response = client.post(CHAT, json=body)
        if number % 2:
            text = "".join(item["choices"][0]["delta"].get("content", "") for item in events(response))
            return response.status_code, text
        return response.status_code, response.json()["choices"][0]["message"]["content"]

    with ThreadPoolExecutor(64) as threads:
        assert set(threads.map(ask, range(192))) == {(200, "Hello there!")}
    assert engine.most <= 8


def test_an_engine_that_was_gone_is_asked_once_more(client: httpx.Client, engine: FakeEngine) -> None:
    engine.drop_before = 1
    assert client.post(CHAT, json=HELLO).status_code == 200
    assert len(engine.calls) == 2
    engine.drop_before = 2
    gone = client.post(CHAT, json=HELLO)
    assert gone.status_code == 503 and "send the request again" in gone.json()["error"]["message"]
    assert client.post(CHAT, json=HELLO).status_code == 200


def test_an_answer_that_breaks_off_is_never_a_whole_one(client: httpx.Client, engine: FakeEngine) -> None:
    engine.drop_after = 2
    assert client.post(CHAT, json=HELLO).status_code == 503
    found = events(client.post(CHAT, json={**HELLO, "stream": True}))
    assert found[-1]["error"]["code"] == "model_unavailable"
    assert "".join(item["choices"][0]["delta"]["content"] for item in found[:-1]) == "Hello there"
    assert len(engine.calls) == 2, "what was begun is not begun again"


def test_an_engine_that_is_not_there(engine: FakeEngine) -> None:
    settings = engine.settings()
    settings.models["fake"] = settings.models["fake"].model_copy(update={"url": "http://127.0.0.1:9/v1"})
    with served(settings) as client:
        response = client.post(CHAT, json=HELLO)
        assert response.status_code == 503 and "[models.fake]" in response.json()["error"]["message"]


def test_a_prompt_of_a_megabyte_overflows_the_context(client: httpx.Client) -> None:
    long = {"model": "fake", "messages": [{"role": "user", "content": "word " * 200_000}]}
    for stream in (True, False):
        response = client.post(CHAT, json={**long, "stream": stream})
        assert response.status_code == 400
        assert response.json()["error"]["code"] == "context_length_exceeded"
    assert client.post(CHAT, json=HELLO).status_code == 200


def test_a_body_that_is_too_large_is_not_read(engine: FakeEngine) -> None:
    with served(engine.settings(body_mib=0.01)) as client:
        large = b'{"messages": "' + b"x" * 20_000 + b'"}'
        assert client.post(CHAT, content=large, headers=JSON).status_code == 413
        told = client.post(CHAT, content=iter([large]), headers=JSON)
        assert told.status_code == 413 and "body_mib" in told.json()["error"]["message"]
        assert client.post(CHAT, json=HELLO).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"\xff\xfe",
        b'{"messages": 3}',
        b'{"messages": [3]}',
        b"[" * 50_000,
        b"1" * 9_999,
    ],
)
def test_a_malformed_body_is_the_clients_fault(client: httpx.Client, body: bytes) -> None:
    response = client.post(CHAT, content=body, headers=JSON)
    assert response.status_code == 400
    assert response.json()["error"]["message"].endswith((".", "."))


def test_a_half_character_is_no_fault_of_ours(client: httpx.Client) -> None:
    body = b'{"messages": [{"role": "user", "content": "\\ud800"}]}'
    assert client.post(CHAT, content=body, headers=JSON).status_code in (200, 400)


def test_torn_connections(client: httpx.Client, engine: FakeEngine) -> None:
    place = (client.base_url.host, client.base_url.port)
    pieces = (
        b"POST /v1/chat/completions HTTP/1.1\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n{",
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01",
    )
    for piece in pieces:
        with socket.create_connection(place) as torn:
            torn.sendall(piece)
    assert client.post(CHAT, json=HELLO).status_code == 200
    assert len(engine.calls) == 1
    until(lambda: client.get("/health").json()["running"] == 0)


def test_a_reader_that_does_not_read_is_cut_off(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    from shuntyard.serving.server import app, generation

    class Impatient(generation.Rooms):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, stall=0.4)

    monkeypatch.setattr(app, "Rooms", Impatient)
    engine.words = ["word " * 2000] * 5000
    with served(engine.settings(concurrency=1)) as client:
        slow = socket.create_connection((client.base_url.host, client.base_url.port))
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        body = b'{"stream": true, "messages": [{"role": "user", "content": "x"}]}'
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        slow.sendall(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert slow.recv(10)
        until(lambda: len(engine.calls) == 1)
        engine.words = ["short"]
        assert client.post(CHAT, json=HELLO).status_code == 200, "its place is free again"
        slow.close()


def test_a_key_is_asked_for_everywhere_but_health(engine: FakeEngine) -> None:
    with served(engine.settings(), key="secret") as client:
        for path in ("/v1/models", "/metrics", "/openapi.json"):
            assert client.get(path).status_code == 401
            assert client.get(path, headers={"Authorization": "Bearer secret"}).status_code == 200
        assert client.get("/health").status_code == 200
        assert client.post(CHAT, json=HELLO, headers={"Authorization": "Bearer secre"}).status_code == 401
        assert client.post(CHAT, json=HELLO, headers={"X-Api-Key": "secret"}).status_code == 200
    assert len(engine.calls) == 1


def test_a_web_page_cannot_reach_a_server_without_a_key(client: httpx.Client) -> None:
    assert client.get("/v1/models", headers={"Host": "evil.example"}).status_code == 421
    assert client.get("/v1/models", headers={"Host": "[::1]:80"}).status_code == 200
    assert client.post(CHAT, content=b"{}", headers={"Content-Type": "text/plain"}).status_code == 415


def test_other_machines_need_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHUNTYARD_API_KEY", raising=False)
    open_ = Settings(serve=ServeSettings(host="0.0.0.0"))
    with pytest.raises(SettingsInvalid, match="SHUNTYARD_API_KEY"):
        key_of(open_)
    assert key_of(open_, "given") == "given"
    monkeypatch.setenv("SHUNTYARD_API_KEY", "kept")
    assert key_of(open_) == "kept"
    with pytest.raises(SettingsInvalid, match="blanks"):
        key_of(open_, "two words")


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(SettingsInvalid, match="--port"):
            bind(Settings(serve=ServeSettings(port=taken.getsockname()[1])))


def test_running_answers_end_before_the_server_does(engine: FakeEngine) -> None:
    engine.words, engine.delay = ["a ", "b ", "c"], 0.1
    texts: list[str] = []
    with served(engine.settings()) as client:

        def ask() -> None:
            texts.append(
                httpx.post(f"{client.base_url}{CHAT}", json=HELLO, trust_env=False).json()["choices"][0]["message"][
                    "content"
                ]
            )

        thread = threading.Thread(target=ask)
        thread.start()
        until(lambda: engine.running == 1)
    thread.join()
    assert texts == ["a b c"]


def test_many_requests_leave_nothing_behind(client: httpx.Client, engine: FakeEngine) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    def ask(number: int) -> None:
        body = {**HELLO, "stream": bool(number % 2), "max_tokens": 1}
        if number % 7 == 0:
            body["n"] = 9
        client.post(CHAT, json=body)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(40)))
        before = descriptors()
        list(threads.map(ask, range(300)))
        assert descriptors() <= before + 4
    began = time.monotonic()
    until(lambda: engine.running == 0)
    assert client.get("/health").json()["running"] == 0 and time.monotonic() - began < 5
