"""Requests that tell where they stand: checked, ordered, and told by our own client."""

import anyio
import httpx
import pytest
from fake_engine import FakeEngine, served

from shuntyard.errors import RequestRefused
from shuntyard.messages import Message, ModelInfo, ModelRequest, Place
from shuntyard.router.http import HttpModel, placed
from shuntyard.serving.server.hall import Hall
from shuntyard.serving.server.places import Placed, told_of

CHAT = "/v1/chat/completions"
HELLO = {"model": "fake", "messages": [{"role": "user", "content": "Say hello to all."}]}
WHOLE = Place(run="rün/7", node="n1[0]", arrived=12.5, priority=3.0, follows=True, prefix=2, next="fake")


def test_what_our_client_tells_is_what_the_server_reads() -> None:
    headers = [(name.lower().encode(), value.encode("ascii")) for name, value in placed(WHOLE).items()]
    assert told_of(headers, None).place == WHOLE
    assert told_of([(b"host", b"x")], None).place is None
    assert told_of([], Placed(run="r")).place == Place(run="r")


@pytest.mark.parametrize(
    ("header", "value", "says"),
    [
        ("Priority", "much", "valid number"),
        ("Priority", "nan", "finite"),
        ("Arrived", "-1", "greater than or equal to 0"),
        ("Arrived", "1795547017894", "Unix seconds"),
        ("Follows", "perhaps", "valid boolean"),
        ("Prefix", "1.5", "valid integer"),
        ("Run", "x" * 201, "at most 200"),
        ("Colour", "red", "X-Shuntyard-Priority"),
    ],
)
def test_a_header_that_is_wrong_is_named(header: str, value: str, says: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        told_of([(f"x-shuntyard-{header}".lower().encode(), value.encode())], None)
    assert caught.value.param.lower() == f"x-shuntyard-{header}".lower() and caught.value.status == 400
    assert says in caught.value.message


def test_a_place_over_http(engine: FakeEngine) -> None:
    with served(engine.settings()) as client:
        told = {"X-Shuntyard-Run": "r", "X-Shuntyard-Priority": "2"}
        answer = client.post(CHAT, json=HELLO, headers=told)
        assert answer.status_code == 200 and answer.headers["x-shuntyard"]
        assert "shuntyard" not in engine.calls[0], "a place is not part of what is asked"
        both = client.post(CHAT, json={**HELLO, "shuntyard": {"run": "r"}}, headers=told)
        assert both.status_code == 400 and both.json()["error"]["param"] == "shuntyard"
        wrong = client.post(CHAT, json={**HELLO, "shuntyard": {"run": "r", "prio": 1}})
        assert wrong.status_code == 400 and "shuntyard.prio" in wrong.json()["error"]["message"]
        lost = client.post(CHAT, json=HELLO, headers={"X-Shuntyard-Next": "gpt-7"})
        assert lost.status_code == 404 and "gpt-7" in lost.json()["error"]["message"]
        assert lost.json()["error"]["param"] == "shuntyard.next"
        assert len(engine.calls) == 1


@pytest.mark.anyio
async def test_the_queue_in_front_of_the_server_is_in_order_of_applications() -> None:
    hall, order = Hall(1, 10), []

    async def ask(name: str, place: Place | None) -> None:
        async with hall.place(place):
            order.append(name)
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        async with hall.place():
            group.start_soon(ask, "stranger", None)
            group.start_soon(ask, "later", Place(run="b", arrived=20.0))
            group.start_soon(ask, "early, little left", Place(run="a", arrived=10.0, priority=1))
            group.start_soon(ask, "early, much left", Place(run="a", arrived=10.0, priority=5))
            await anyio.wait_all_tasks_blocked()
            assert hall.waiting == 4 and hall.running == 1 and order == []
    assert order == ["early, much left", "early, little left", "later", "stranger"]
    assert hall.waiting == hall.running == 0


@pytest.mark.anyio
async def test_our_client_tells_a_place_once_it_knows_the_server(engine: FakeEngine) -> None:
    request = ModelRequest(messages=(Message(role="user", content="hi"),), place=Place(run="r7", priority=2))
    seen: list[httpx.Headers] = []

    class Watched(HttpModel):
        def _client(self) -> httpx.AsyncClient:
            client = super()._client()

            async def note(sent: httpx.Request) -> None:
                seen.append(sent.headers)

            client.event_hooks["request"] = [note]
            return client

    with served(engine.settings()) as client:
        url = f"{client.base_url}/v1"
        model = Watched(ModelInfo(name="fake", kind="openai"), url=url)
        for _ in range(2):
            assert (await model.complete(request)).text == "Hello there!"
        await Watched(ModelInfo(name="fake", kind="openai"), url=url, placed=True).complete(request)
    assert [headers.get("x-shuntyard-run") for headers in seen] == [None, "r7", "r7"]
