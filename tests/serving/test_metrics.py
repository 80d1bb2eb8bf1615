"""The figures of a server: every request is in them."""

import re
from collections.abc import Iterator

import httpx
import pytest
from fake_engine import FakeEngine, served, until

CHAT = "/v1/chat/completions"
HELLO = {"model": "fake", "messages": [{"role": "user", "content": "Say hello to all."}]}


@pytest.fixture
def client(engine: FakeEngine) -> Iterator[httpx.Client]:
    with served(engine.settings(body_mib=0.1)) as found:
        yield found


def counts(client: httpx.Client) -> dict[tuple[str, int], int]:
    found = re.findall(
        r'shuntyard_requests_total\{endpoint="(\w+)",status="(\d+)"\} ([\d.]+)', client.get("/metrics").text
    )
    return {(endpoint, int(status)): int(float(count)) for endpoint, status, count in found}


def test_what_is_refused_before_it_generates_is_counted(client: httpx.Client) -> None:
    assert client.post(CHAT, json={}).status_code == 400
    assert client.post(CHAT, content=b"{").status_code == 415
    assert client.post(CHAT, json={**HELLO, "user": "x" * 200_000}).status_code == 413
    assert client.get(CHAT).status_code == 405
    assert client.get("/health", headers={"Host": "evil.example"}).status_code == 421
    assert client.post("/v1/programs", json={"steps": []}).status_code == 400
    assert client.get("/v1/programs/none").status_code == 404
    assert client.get("/v1/models/none").status_code == 404
    assert client.get("/.env").status_code == client.get("/v1/nothing/else").status_code == 404
    until(lambda: counts(client).get(("other", 404)) == 2)
    found = counts(client)
    for status in (400, 415, 413, 405):
        assert found["chat", status] == 1
    assert found["health", 421] == found["programs", 400] == found["program", 404] == found["models", 404] == 1
    assert found["other", 404] == 2


def test_what_generates_nothing_is_counted(client: httpx.Client) -> None:
    asked = {"model": "fake", "messages": HELLO["messages"]}
    assert client.post("/v1/messages/count_tokens", json=asked).status_code == 200
    assert client.post("/v1/embeddings", json={"input": "a", "model": "other"}).status_code == 404
    assert client.get("/v1/models").status_code == 200
    until(lambda: ("models", 200) in counts(client))
    found = counts(client)
    assert found["count_tokens", 200] == found["embeddings", 404] == found["models", 200] == 1
    assert counts(client)["metrics", 200] >= 1


def test_no_request_is_counted_twice(client: httpx.Client, engine: FakeEngine) -> None:
    client.post(CHAT, json={**HELLO, "n": 9})
    client.post("/v1/programs", json={"steps": [{"output": "a", "prompt": "Go."}]})
    client.post(CHAT, json=HELLO)
    client.post(CHAT, json={**HELLO, "stream": True})
    # A request is counted a moment after its answer.
    until(lambda: counts(client).get(("chat", 200)) == 2)
    found = counts(client)
    assert found["chat", 400] == found["programs", 200] == 1
