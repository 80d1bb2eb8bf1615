"""Programs whose steps name models, and programs that are asked for again by their id."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from fake_engine import FakeEngine, events, real, running, served, until

from shuntyard.errors import ModelUnavailable, RequestRefused, ServerBusy
from shuntyard.serving import (
    ProgramBody,
    ProgramRequest,
    ProgramStep,
    cancel_program,
    find_program,
    run_program,
    start_program,
)
from shuntyard.serving.engines import CHILD, Call, Chunk
from shuntyard.serving.server.answers import Usage
from shuntyard.serving.server.program_desk import Shelf
from shuntyard.serving.server.programs import Run
from shuntyard.settings import RemoteModel, ServeSettings, Settings

PATH = "/v1/programs"
TWO: dict[str, Any] = {
    "model": "one",
    "steps": [
        {"output": "draft", "prompt": "Write."},
        {"output": "better", "prompt": "Better: {{draft}}", "model": "two"},
        {"output": "end", "prompt": "End: {{better}}"},
    ],
}


@pytest.fixture
def engines() -> Iterator[tuple[FakeEngine, FakeEngine]]:
    with running(FakeEngine(["from", " one"])) as one, running(FakeEngine(["from", " two"])) as two:
        yield one, two


def settings_of(engines: tuple[FakeEngine, FakeEngine], **serve: Any) -> Settings:
    models = {
        name: RemoteModel(url=f"{engine.url}/v1", model="inner")
        for name, engine in zip(("one", "two"), engines, strict=True)
    }
    return Settings.model_validate({"models": models, "serve": {"port": 0, "models": tuple(models), **serve}})


@pytest.fixture
def client(engines: tuple[FakeEngine, FakeEngine]) -> Iterator[httpx.Client]:
    with served(settings_of(engines, programs=3)) as found:
        yield found


def test_steps_name_their_models(client: httpx.Client, engines: tuple[FakeEngine, FakeEngine]) -> None:
    answer = client.post(PATH, json=TWO).json()
    assert answer["variables"] == {"draft": "from one", "better": "from two", "end": "from one"}
    assert [row["model"] for row in answer["steps"]] == ["one", "two", "one"] and answer["model"] == "one"
    assert [len(engine.calls) for engine in engines] == [2, 1]
    assert engines[1].calls[0]["messages"][0]["content"] == "Better: from one"
    counted = 'shuntyard_tokens_total{kind="completion",model="%s"} %s'
    until(lambda: counted % ("two", "2.0") in client.get("/metrics").text)
    assert counted % ("one", "4.0") in client.get("/metrics").text
    wrong = client.post(PATH, json={**TWO, "steps": [{**TWO["steps"][0], "model": "three"}]})
    assert wrong.status_code == 404 and "'three'" in wrong.json()["error"]["message"]
    assert client.post(PATH, json={**TWO, "model": "three"}).status_code == 404
    assert [len(engine.calls) for engine in engines] == [2, 1]


def test_auto_is_chosen_for_a_step(engines: tuple[FakeEngine, FakeEngine]) -> None:
    steps = [{"output": "a", "prompt": "x", "model": "auto"}]
    with served(settings_of(engines), choose=lambda job: "two") as client:
        assert client.post(PATH, json={"steps": steps}).json()["steps"][0]["model"] == "two"
    with served(settings_of(engines)) as client:
        assert client.post(PATH, json={"steps": steps}).status_code == 404


def test_a_program_in_the_background_tells_how_far_it_is(
    client: httpx.Client, engines: tuple[FakeEngine, FakeEngine]
) -> None:
    one, two = engines
    two.words, two.delay = ["word "] * 100_000, 0.01
    begun = client.post(PATH, json={**TWO, "background": True})
    id = begun.json()["id"]
    assert begun.status_code == 202 and begun.headers["location"] == f"{PATH}/{id}"
    assert begun.json()["status"] in ("queued", "running")

    def states() -> list[str]:
        return [row["status"] for row in client.get(f"{PATH}/{id}").json()["steps"]]

    until(lambda: states() == ["done", "running", "waiting"])
    seen = client.get(f"{PATH}/{id}").json()
    assert seen["status"] == "running" and seen["variables"] == {"draft": "from one"}
    assert seen["steps"][0]["usage"]["completion_tokens"] == 2 and seen["steps"][1]["usage"] is None
    assert client.get("/health").json()["running"] == 1
    stopped = client.delete(f"{PATH}/{id}").json()
    assert stopped["status"] == "cancelled" and stopped["variables"] == {"draft": "from one"}
    assert [row["status"] for row in stopped["steps"]] == ["done", "cancelled", "cancelled"]
    until(lambda: two.running == 0 and client.get("/health").json()["running"] == 0)
    assert client.get(f"{PATH}/{id}").json() == stopped, "it is kept as it ended"
    assert client.delete(f"{PATH}/{id}").json() == stopped
    gone = client.get(f"{PATH}/{id}")
    assert gone.status_code == 404 and id in gone.json()["error"]["message"] and gone.json()["error"]["param"] == "id"
    assert client.delete(f"{PATH}/{id}").status_code == 404 and len(one.calls) == 1


def test_failures_are_told_to_who_asks_later(client: httpx.Client, engines: tuple[FakeEngine, FakeEngine]) -> None:
    engines[1].context = 0
    id = client.post(PATH, json={**TWO, "background": True}).json()["id"]
    until(lambda: client.get(f"{PATH}/{id}").json()["status"] == "partial")
    rows = client.get(f"{PATH}/{id}").json()["steps"]
    assert [row["status"] for row in rows] == ["done", "failed", "skipped"]
    assert rows[1]["error"]["code"] == "context_length_exceeded"
    both = client.post(PATH, json={**TWO, "background": True, "stream": True})
    assert both.status_code == 400 and both.json()["error"]["param"] == "background"


def test_every_program_is_kept_a_while_and_so_many(client: httpx.Client) -> None:
    ids = [client.post(PATH, json=TWO).json()["id"] for _ in range(3)]
    streamed = events(client.post(PATH, json={**TWO, "stream": True}))
    ids.append(streamed[0]["id"])
    assert client.get(f"{PATH}/{ids[3]}").json()["variables"] == streamed[-1]["program"]["variables"]
    assert [client.get(f"{PATH}/{id}").status_code for id in ids] == [404, 200, 200, 200]
    assert "the last 3 are kept" in client.get(f"{PATH}/{ids[0]}").json()["error"]["message"]


def test_a_stream_that_is_stopped_from_elsewhere_ends(
    client: httpx.Client, engines: tuple[FakeEngine, FakeEngine]
) -> None:
    engines[0].words, engines[0].delay = ["word "] * 100_000, 0.01
    with client.stream("POST", PATH, json={**TWO, "stream": True}) as response:
        lines = (json.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: "))
        id = next(lines)["id"]
        assert next(lines)["type"] == "variable.delta"
        assert client.delete(f"{PATH}/{id}").json()["status"] == "cancelled"
        last = list(lines)[-1]
    assert last["type"] == "program.done" and last["program"]["status"] == "cancelled"


def test_a_full_server_takes_no_program_in_the_background(engines: tuple[FakeEngine, FakeEngine]) -> None:
    engines[0].words, engines[0].delay = ["word "] * 100_000, 0.01
    with served(settings_of(engines, concurrency=1, queue=0, drain=1)) as client:
        assert client.post(PATH, json={**TWO, "background": True}).status_code == 202
        until(lambda: client.get("/health").json()["running"] == 1)
        full = client.post(PATH, json={**TWO, "background": True})
        assert full.status_code == 429 and "retry-after" in full.headers
        assert client.post(PATH, json=TWO).status_code == 429
    # What runs in the background ends with its server.
    until(lambda: engines[0].running == 0)


def test_the_client_in_python_comes_back(client: httpx.Client, engines: tuple[FakeEngine, FakeEngine]) -> None:
    url = f"{client.base_url}/v1"
    asked = ProgramRequest.model_validate(TWO)

    async def go() -> None:
        whole = await run_program(asked, url=url)
        assert whole.status == "completed" and whole.variables["better"] == "from two"
        engines[0].words, engines[0].delay = ["word "] * 100_000, 0.01
        begun = await start_program(asked, url=url)
        assert (await find_program(begun.id, url=url)).status in ("queued", "running")
        assert (await cancel_program(begun.id, url=url)).status == "cancelled"
        with pytest.raises(RequestRefused, match="prog-no"):
            await find_program("prog-no/../x", url=url)
        with pytest.raises(ModelUnavailable):
            await find_program("x", url="http://127.0.0.1:9/v1")

    anyio.run(go)


def test_a_refused_method_lists_those_that_there_are(client: httpx.Client) -> None:
    refused = client.put(f"{PATH}/prog_x", json={})
    assert refused.status_code == 405
    assert set(refused.headers["allow"].replace(" ", "").split(",")) == {"GET", "HEAD", "DELETE"}


def test_the_document_has_the_paths_of_programs(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths[f"{PATH}/{{id}}"]) == {"get", "delete"}
    assert {"200", "202", "400", "429"} <= set(paths[PATH]["post"]["responses"])
    assert "404" in paths[f"{PATH}/{{id}}"]["get"]["responses"]


def body_of(number: int, letters: int = 1) -> ProgramBody:
    usage = Usage(prompt_tokens=0, completion_tokens=0, total_tokens=0)
    values = {"a": "x" * letters}
    return ProgramBody(
        id=f"p{number}", created=0, model="m", status="completed", variables=values, steps=(), usage=usage
    )


def test_the_shelf_is_bounded_by_number_size_and_age(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    shelf = Shelf(3, 60.0, room=100)
    for number in range(4):
        shelf.put(body_of(number))
    assert [shelf.get(f"p{number}") is not None for number in range(4)] == [False, True, True, True]
    shelf.put(body_of(4, 99))
    assert [shelf.get(f"p{number}") is not None for number in range(5)] == [False, False, False, True, True]
    taken = shelf.take("p3")
    assert taken is not None and taken.id == "p3" and shelf.get("p3") is None
    now[0] = 59.0
    assert shelf.get("p4") is not None
    now[0] = 60.0
    assert shelf.get("p4") is None
    shelf.put(body_of(5, 101))
    assert shelf.get("p5") is None, "one that is too large is not kept"


class TightEngine:
    """Says its name."""

    capabilities = CHILD

    def __init__(self, name: str) -> None:
        self.name = name

    async def stream(self, call: Call) -> AsyncGenerator[list[Chunk], None]:
        await anyio.sleep(0.01)
        choice = {"index": 0, "delta": {"content": self.name}, "finish_reason": "stop"}
        yield [Chunk.of({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})]

    async def render(self, messages: Any, tools: Any) -> str:
        return ""

    async def tokens(self, prompt: str) -> int:
        return 0

    async def close(self) -> None:
        return None


@pytest.mark.anyio
async def test_models_without_room_beside_each_other_take_turns() -> None:
    loaded: list[str] = []
    most = 0

    @asynccontextmanager
    async def lend(name: str) -> AsyncIterator[TightEngine]:
        nonlocal most
        if loaded and name not in loaded:
            raise ServerBusy(f"no memory for {name!r}", after=5.0)
        loaded.append(name)
        most = max(most, len(set(loaded)))
        try:
            yield TightEngine(name)
        finally:
            loaded.remove(name)

    steps = tuple(ProgramStep(output=f"v{n}", prompt="x", model=f"m{n % 3}") for n in range(9))
    run = Run(ProgramRequest(steps=steps), lend)
    with anyio.fail_after(4):
        await run.carry(anyio.Lock())
    body = await run.whole()
    assert body.status == "completed" and body.variables["v5"] == "m2" and most == 1
    assert body.usage.completion_tokens == 9


@pytest.mark.small_model
@pytest.mark.timeout(900)
def test_two_real_models_feed_each_other(pulled: Callable[[str], str], own_engines: Path, tmp_path: Path) -> None:
    small, other = pulled("smollm2-135m"), pulled("qwen2.5-coder-0.5b")
    steps = [
        {"output": "number", "prompt": "Say a number.", "grammar": 'root ::= "4" [0-9]', "max_tokens": 4},
        {"output": "name", "prompt": "Name {{number}}.", "grammar": "root ::= [a-z]+", "max_tokens": 4, "model": other},
        {"output": "end", "prompt": "Join {{name}} and {{number}}.", "max_tokens": 3},
    ]
    with real(tmp_path / "engines", ServeSettings(port=0, models=(small, other), drain=2)) as settings:
        with served(settings) as client:
            client.timeout = httpx.Timeout(300)
            id = client.post(PATH, json={"model": small, "steps": steps, "background": True}).json()["id"]
            until(lambda: client.get(f"{PATH}/{id}").json()["status"] not in ("queued", "running"), 300)
            body = client.get(f"{PATH}/{id}").json()
            assert body["status"] == "completed", body
            assert [row["model"] for row in body["steps"]] == [small, other, small]
            assert body["variables"]["number"].startswith("4") and body["variables"]["name"].isalpha()
            assert body["usage"]["completion_tokens"] == sum(row["usage"]["completion_tokens"] for row in body["steps"])
            assert set(client.get("/health").json()["resident"]) == {small, other}
