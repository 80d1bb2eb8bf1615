"""Prompts beyond a model's context on a server: read in parts where a request allows it, else refused with the mend."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_engine import FakeEngine, events, real, running, served

from shuntyard.errors import ContextTooLong
from shuntyard.messages import Message, ModelInfo, ModelRequest
from shuntyard.router.http import HttpModel
from shuntyard.settings import ServeSettings

CHAT = "/v1/chat/completions"
CONTEXT = 700
TEXT = "\n".join(
    "The code of the blue locker is 4711." if n == 130 else f"Note {n}: box {n * 7} was moved." for n in range(200)
)
ASKED: dict[str, Any] = {
    "model": "fake",
    "messages": [{"role": "user", "content": f"{TEXT}\n\nWhat is the code of the blue locker?"}],
    "max_tokens": 20,
}
SEGMENTS = {"shuntyard": {"long": "segments"}}


def reader(body: dict[str, Any]) -> list[str]:
    """Answers from what it is given, as a perfect reader would."""
    text = "\n".join(str(message["content"]) for message in body["messages"])
    found = re.search(r"blue locker is (\d+)", text) or re.search(r"Part \d+: (\d+)", text)
    return [found[1], " it", " is."] if found else ["NONE"]


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    fake = FakeEngine()
    fake.context, fake.reader = CONTEXT, reader
    with running(fake):
        yield fake


def words(body: dict[str, Any]) -> int:
    return len(str(body["messages"]).split())


@pytest.mark.parametrize("long", ["", "no"])
def test_without_leave_it_is_refused_and_the_mend_is_named(client: httpx.Client, engine: FakeEngine, long: str) -> None:
    response = client.post(CHAT, json={**ASKED, "shuntyard": {"long": long}})
    assert response.status_code == 400 and len(engine.calls) == 1
    error = response.json()["error"]
    assert error["code"] == "context_length_exceeded" and '"long": "segments"' in error["message"]


@pytest.mark.parametrize("long", ["segments", "pages"])
@pytest.mark.parametrize("header", [True, False])
def test_a_needle_is_found_and_all_that_was_computed_counts(
    client: httpx.Client, engine: FakeEngine, long: str, header: bool
) -> None:
    told: dict[str, Any] = {"headers": {"X-Shuntyard-Long": long}} if header else {}
    more = {} if header else {"shuntyard": {"long": long}}
    response = client.post(CHAT, json={**ASKED, **more}, **told)
    answer = response.json()
    assert answer["choices"][0]["message"]["content"] == "4711 it is." and long in response.headers["x-shuntyard-read"]
    usage = answer["usage"]
    assert len(engine.calls) >= 3 if long == "segments" else len(engine.calls) == 1
    read = [sum(len(str(message["content"]).split()) for message in call["messages"]) for call in engine.calls]
    assert max(read) + 20 <= CONTEXT and usage["prompt_tokens"] == sum(read)
    assert usage["completion_tokens"] == sum(len(reader(call)) for call in engine.calls)
    assert usage["prompt_tokens_details"]["cached_tokens"] == sum(count // 2 for count in read)
    assert "shuntyard" not in engine.calls[0]


def test_a_stream_says_how_it_was_read_before_its_text(client: httpx.Client) -> None:
    asked = {**ASKED, **SEGMENTS, "stream": True, "stream_options": {"include_usage": True}}
    with client.stream("POST", CHAT, json=asked) as response:
        assert response.headers["x-shuntyard-read"].startswith("in segments")
        found = events(response)
    assert "".join(item["choices"][0]["delta"].get("content", "") for item in found[:-1]) == "4711 it is."
    assert found[0]["choices"][0]["delta"]["role"] == "assistant"
    assert found[-2]["choices"][0]["finish_reason"] == "stop" and found[-1]["usage"]["prompt_tokens"] > CONTEXT


def test_one_that_fits_is_read_whole(client: httpx.Client, engine: FakeEngine) -> None:
    short = {**ASKED, **SEGMENTS, "messages": [{"role": "user", "content": "The blue locker is 12."}], "n": 1}
    response = client.post(CHAT, json=short)
    assert response.json()["usage"]["prompt_tokens"] == 5 and "x-shuntyard-read" not in response.headers
    assert len(engine.calls) == 1


@pytest.mark.anyio
async def test_an_agent_on_another_machine_tells_it(client: httpx.Client) -> None:
    far = HttpModel(ModelInfo(name="far"), url=f"{client.base_url}/v1", model="fake", placed=True)
    messages = tuple(Message.model_validate(message) for message in ASKED["messages"])
    asked = ModelRequest(messages=messages, max_tokens=20)
    with pytest.raises(ContextTooLong):
        await far.complete(asked)
    assert (await far.complete(asked.model_copy(update={"long": "segments"}))).text == "4711 it is."


def test_other_interfaces_and_programs_read_so_too(client: httpx.Client) -> None:
    text = ASKED["messages"][0]["content"]
    answer = client.post("/v1/responses", json={"input": text, "max_output_tokens": 20, **SEGMENTS})
    assert answer.json()["output"][0]["content"][0]["text"] == "4711 it is."
    said = client.post("/v1/messages", json={"messages": ASKED["messages"], "max_tokens": 20, **SEGMENTS})
    assert said.json()["content"][0]["text"] == "4711 it is." and "x-shuntyard-read" in said.headers
    steps = [{"output": "code", "prompt": "{{text}}", "max_tokens": 20}]
    done = client.post("/v1/programs", json={"inputs": {"text": text}, "steps": steps, **SEGMENTS}).json()
    assert done["variables"] == {"code": "4711 it is."} and done["steps"][0]["read"].startswith("in segments")
    assert done["usage"]["prompt_tokens"] > CONTEXT


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"logprobs": True}, "logprobs"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"messages": [*ASKED["messages"], {"role": "tool", "content": "x"}]}, "messages"),
        ({"shuntyard": {"long": "halves"}}, "shuntyard"),
    ],
    ids=["logprobs", "tools", "turns", "unknown"],
)
def test_what_cannot_be_had_in_parts_is_named(
    client: httpx.Client, engine: FakeEngine, change: dict[str, Any], param: str
) -> None:
    response = client.post(CHAT, json={**ASKED, **SEGMENTS, **change})
    assert response.status_code == 400 and response.json()["error"]["param"] == param, response.text
    assert engine.calls == []


def test_a_book_is_refused_in_segments(client: httpx.Client) -> None:
    book = {**ASKED, "messages": [{"role": "user", "content": "word " * (65 * CONTEXT)}]}
    response = client.post(CHAT, json={**book, **SEGMENTS})
    assert response.status_code == 400 and '"pages"' in response.json()["error"]["message"]
    assert client.post(CHAT, json={**book, "shuntyard": {"long": "pages"}}).status_code == 200


def test_engines_without_their_tokens_do_not_offer_it(engine: FakeEngine) -> None:
    engine.owner = "vllm"
    with served(engine.settings()) as client:
        response = client.post(CHAT, json={**ASKED, **SEGMENTS})
        assert response.status_code == 400 and response.json()["error"]["param"] == "long"
        assert "segments" not in client.post(CHAT, json=ASKED).json()["error"]["message"]


@pytest.mark.small_model
@pytest.mark.timeout(900)
def test_a_real_model_reads_beyond_its_context(pulled: Callable[[str], str], own_engines: Path, tmp_path: Path) -> None:
    name = pulled("smollm2-135m")
    with (
        real(tmp_path / "engines", ServeSettings(port=0, models=(name,), drain=2)) as settings,
        served(settings) as client,
    ):
        client.timeout = httpx.Timeout(600)
        lines = "\n".join(f"Note {n}: box {n * 7} was moved to hall {n % 9}." for n in range(900))
        asked = {"model": name, "messages": [{"role": "user", "content": lines}], "max_tokens": 4, "temperature": 0}
        refused = client.post(CHAT, json=asked)
        assert refused.status_code == 400 and '"long": "segments"' in refused.json()["error"]["message"]
        context = client.get(f"/v1/models/{name}").json()["context"]
        answer = client.post(CHAT, json={**asked, "shuntyard": {"long": "pages"}})
        usage = answer.json()["usage"]
        assert answer.headers["x-shuntyard-read"].startswith("in pages") and usage["completion_tokens"] <= 4
        # Pages and the template around them.
        assert 200 < usage["prompt_tokens"] < 1300 < context
