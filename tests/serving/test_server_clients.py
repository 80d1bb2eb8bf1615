"""Other people's clients talk to the server, over real HTTP."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_engine import FakeEngine, served

pytest.importorskip("openai")
import openai

HELLO: list[Any] = [{"role": "user", "content": "Say hello to all."}]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CALL = ['{"name":"weather",', '"arguments":{"city":"Lund"}}']


@pytest.fixture
def http(engine: FakeEngine) -> Iterator[httpx.Client]:
    with served(engine.settings(), key="secret") as found:
        found.headers["X-Api-Key"] = "secret"
        yield found


@pytest.fixture
def client(http: httpx.Client) -> Iterator[openai.OpenAI]:
    with (
        httpx.Client(trust_env=False) as plain,
        openai.OpenAI(base_url=f"{http.base_url}/v1", api_key="secret", http_client=plain, max_retries=0) as found,
    ):
        yield found


def named(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Events with names."""
    found = []
    for block in text.strip().split("\n\n"):
        name, _, value = block.partition("\ndata: ")
        found.append((name.removeprefix("event: "), json.loads(value)))
    return found


def test_openai_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="fake", messages=HELLO, temperature=0, seed=1, stop=["\n"])
    assert answer.choices[0].message.content == "Hello there!"
    assert answer.usage is not None and answer.usage.total_tokens == 7
    with client.chat.completions.stream(model="fake", messages=HELLO) as stream:
        whole = stream.get_final_completion()
    assert whole.choices[0].message.content == "Hello there!"
    assert [model.id for model in client.models.list()] == ["fake", "all-minilm-l6-v2"]
    assert client.models.retrieve("fake").owned_by == "remote"


def test_openai_tools_and_completions(client: openai.OpenAI, engine: FakeEngine) -> None:
    text = client.completions.create(model="fake", prompt="Once", max_tokens=2)
    assert text.choices[0].text == "Hello there" and text.choices[0].finish_reason == "length"
    engine.words = CALL
    tools: list[Any] = [{"type": "function", "function": {"name": "weather", "parameters": CITY}}]
    answer = client.chat.completions.create(model="fake", messages=HELLO, tools=tools, tool_choice="required")
    (call,) = answer.choices[0].message.tool_calls or ()
    assert call.type == "function" and json.loads(call.function.arguments) == {"city": "Lund"}
    said: Any = answer.choices[0].message
    given: Any = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    engine.words = ["Rain."]
    again = client.chat.completions.create(model="fake", messages=[*HELLO, said, given], tools=tools)
    assert again.choices[0].message.content == "Rain."
    assert engine.calls[-1]["messages"][-1] == given


def test_openai_errors_are_the_clients_own(client: openai.OpenAI, engine: FakeEngine) -> None:
    with pytest.raises(openai.NotFoundError, match="gpt-7"):
        client.chat.completions.create(model="gpt-7", messages=HELLO)
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="fake", messages=HELLO, n=3)
    assert caught.value.param == "n"
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").models.list()
    engine.drop_after = 1
    with pytest.raises(openai.APIError, match="stopped answering"):
        list(client.chat.completions.create(model="fake", messages=HELLO, stream=True))


def test_openai_responses(client: openai.OpenAI, engine: FakeEngine) -> None:
    answer = client.responses.create(model="fake", input="Say hello to all.", instructions="Be brief.")
    assert answer.output_text == "Hello there!" and answer.status == "completed"
    assert answer.output[0].to_dict()["status"] == "completed"
    assert answer.usage is not None and answer.usage.output_tokens == 3
    assert [message["role"] for message in engine.calls[0]["messages"]] == ["system", "user"]
    with client.responses.stream(model="fake", input="Say hello.", max_output_tokens=2) as stream:
        told = list(stream)
    kinds = [event.type for event in told]
    assert kinds[-2:] == ["response.output_item.done", "response.incomplete"]
    done, last = told[-2].to_dict()["item"], told[-1].to_dict()["response"]
    assert done["status"] == "incomplete" and last["output"] == [done]
    cut = client.responses.create(model="fake", input="Say hello to many.", max_output_tokens=2)
    assert cut.status == "incomplete" and [item.to_dict()["status"] for item in cut.output] == ["incomplete"]
    assert kinds[:4] == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
    ]  # fmt: skip
    assert kinds.count("response.output_text.delta") == 2


def test_openai_responses_call_tools(client: openai.OpenAI, engine: FakeEngine) -> None:
    engine.words = CALL
    tools: list[Any] = [{"type": "function", "name": "weather", "parameters": CITY}]
    asked: dict[str, Any] = {"model": "fake", "tools": tools, "tool_choice": "required"}
    with client.responses.stream(input="Weather in Lund?", **asked) as stream:
        whole = stream.get_final_response()
    (call,) = whole.output
    assert call.type == "function_call" and json.loads(call.arguments) == {"city": "Lund"}
    engine.words = ["Rain."]
    given: list[Any] = [
        {"role": "user", "content": "Weather in Lund?"},
        call.model_dump(exclude_none=True, exclude={"parsed_arguments"}),
        {"type": "function_call_output", "call_id": call.call_id, "output": "rain"},
    ]
    assert client.responses.create(model="fake", input=given, tools=tools).output_text == "Rain."
    roles = [message["role"] for message in engine.calls[-1]["messages"]]
    assert roles == ["user", "assistant", "tool"]


def test_messages(http: httpx.Client, engine: FakeEngine) -> None:
    asked: dict[str, Any] = {"model": "fake", "max_tokens": 9, "system": "Be brief.", "messages": HELLO}
    answer = http.post("/v1/messages", json=asked).json()
    assert answer["content"] == [{"type": "text", "text": "Hello there!"}]
    assert answer["stop_reason"] == "end_turn" and answer["usage"]["output_tokens"] == 3
    assert answer["usage"]["input_tokens"] + answer["usage"]["cache_read_input_tokens"] == 5
    found = named(http.post("/v1/messages", json={**asked, "stream": True}).text)
    assert [name for name, _ in found] == [
        "message_start", "content_block_start", *["content_block_delta"] * 3, "content_block_stop", "message_delta",
        "message_stop",
    ]  # fmt: skip
    assert all(value["type"] == name for name, value in found)
    counted = http.post("/v1/messages/count_tokens", json={"messages": HELLO, "system": "Be brief."})
    assert counted.json() == {"input_tokens": 5}
    missing = http.post("/v1/messages", json={"messages": HELLO}).json()
    assert missing["type"] == "error" and missing["error"]["param"] == "max_tokens"


def test_messages_call_tools(http: httpx.Client, engine: FakeEngine) -> None:
    engine.words = CALL
    tools = [{"name": "weather", "input_schema": CITY}]
    asked: dict[str, Any] = {"max_tokens": 50, "messages": HELLO, "tools": tools, "tool_choice": {"type": "any"}}
    answer = http.post("/v1/messages", json=asked).json()
    (block,) = answer["content"]
    assert block["name"] == "weather" and block["input"] == {"city": "Lund"}
    assert answer["stop_reason"] == "tool_use"
    found = dict(named(http.post("/v1/messages", json={**asked, "stream": True}).text))
    assert json.loads(found["content_block_delta"]["delta"]["partial_json"]) == {"city": "Lund"}
    engine.words = ["Rain."]
    result = {"type": "tool_result", "tool_use_id": block["id"], "content": [{"type": "text", "text": "rain"}]}
    turns = [*HELLO, {"role": "assistant", "content": [block]}, {"role": "user", "content": [result]}]
    again = http.post("/v1/messages", json={"max_tokens": 9, "messages": turns, "tools": tools}).json()
    assert again["content"][0]["text"] == "Rain."
    assert [message["role"] for message in engine.calls[-1]["messages"]] == ["user", "assistant", "tool"]


@pytest.mark.slow
def test_litellm(http: httpx.Client) -> None:
    code = (
        "import litellm\n"
        "asked = dict(model='openai/fake', messages=[{'role': 'user', 'content': 'Say hello.'}], api_key='secret')\n"
        f"asked['api_base'] = '{http.base_url}/v1'\n"
        "print(litellm.completion(**asked).choices[0].message.content)\n"
        "print(''.join(c.choices[0].delta.content or '' for c in litellm.completion(**asked, stream=True)))\n"
    )
    env = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "127.0.0.1"}
    done = subprocess.run([sys.executable, "-P", "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["Hello there!"] * 2, done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_document_tells_the_truth(engine: FakeEngine, tmp_path: Path) -> None:
    engine.words = ["{}"]
    with served(engine.settings()) as client:
        command = [
            sys.executable, "-P", "-m", "schemathesis.cli", "run", f"{client.base_url}/openapi.json",
            "--max-examples", "10", "--seed", "1", "--request-timeout", "60", "--phases", "examples,coverage,fuzzing",
            # Some of what is well-formed cannot be: a tool that is named and not there, a schema that is none.
            "--exclude-checks", "positive_data_acceptance",
            # It would have thousands of texts embedded for real.
            "--exclude-path", "/v1/embeddings",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
