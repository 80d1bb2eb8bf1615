import json
from typing import Any

import httpx
import pytest
from fake_engine import FakeEngine, events, served, until

CHAT = "/v1/chat/completions"
HELLO = {"model": "fake", "messages": [{"role": "user", "content": "Say hello to all."}]}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"The {name} of a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
    for name in ("weather", "time")
]


def refused(client: httpx.Client, body: dict[str, Any], path: str = CHAT) -> dict[str, Any]:
    response = client.post(path, json=body)
    assert response.status_code == 400, response.text
    error: dict[str, Any] = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    return error


def test_a_whole_answer(client: httpx.Client, engine: FakeEngine) -> None:
    answer = client.post(CHAT, json={**HELLO, "seed": -3, "user": "me"}).json()
    assert answer["object"] == "chat.completion" and answer["model"] == "fake"
    (choice,) = answer["choices"]
    assert choice["message"]["content"] == "Hello there!"
    assert choice["finish_reason"] == "stop"
    assert answer["usage"] == {
        "prompt_tokens": 4,
        "completion_tokens": 3,
        "total_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 2},
    }
    (call,) = engine.calls
    assert call["stream"] is True and call["model"] == "inner" and call["seed"] >= 0 and "user" not in call


def test_a_stream_is_ours_from_head_to_usage(client: httpx.Client) -> None:
    asked = {**HELLO, "stream": True, "stream_options": {"include_usage": True}}
    with client.stream("POST", CHAT, json=asked) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        found = events(response)
        assert response.read().endswith(b"data: [DONE]\n\n")
    assert {item["model"] for item in found} == {"fake"}
    assert len({item["id"] for item in found}) == 1 and "secret" not in json.dumps(found)
    pieces = [item["choices"][0] for item in found[:-1]]
    assert [piece["delta"].get("role") for piece in pieces] == ["assistant", None, None, None]
    assert "".join(piece["delta"].get("content", "") for piece in pieces) == "Hello there!"
    assert pieces[-1]["finish_reason"] == "stop"
    assert found[-1]["choices"] == [] and found[-1]["usage"]["total_tokens"] == 7


def test_usage_is_sent_only_when_asked_for(client: httpx.Client) -> None:
    found = events(client.post(CHAT, json={**HELLO, "stream": True}))
    assert all(item["choices"] and "usage" not in item for item in found)


def test_usage_with_several_choices_counts_the_prompt_once(engine: FakeEngine) -> None:
    engine.owner = "vllm"
    with served(engine.settings()) as client:
        answer = client.post(CHAT, json={**HELLO, "n": 4}).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert answer["usage"]["prompt_tokens"] == 4
    assert answer["usage"]["completion_tokens"] == 12
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == 2


def test_contents_in_parts_and_developers(client: httpx.Client, engine: FakeEngine) -> None:
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}]
    assert client.post(CHAT, json={"messages": messages}).status_code == 200
    assert engine.calls[0]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one two"},
    ]


@pytest.mark.parametrize(
    ("change", "param", "says"),
    [
        ({"n": 2}, "n", "more than the 1 choices"),
        ({"best": 1}, "best", "not offered"),
        ({"temperature": 9}, "temperature", "'temperature' = 9 must be at most 2"),
        ({"stop": [1]}, "stop", "'stop.0' = 1 must be a text"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages", "'messages.0.content' = 3 must be a"),
        ({"messages": [{"content": "a"}]}, "messages", "'messages.0.role' is missing; send it"),
        ({"stream_options": 3}, "stream_options", "'stream_options' = 3 must be an object"),
        ({"messages": []}, "messages", "'messages' = [] must be a list with at least 1;"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages", "text"),
        ({"tool_choice": "required"}, "tool_choice", "no 'tools'"),
        (
            {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "stocks"}}},
            "tool_choice",
            "weather, time",
        ),
        ({"response_format": {"type": "json_schema"}}, "response_format", "add it"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": 3}}}},
            "response_format",
            "not valid",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"$ref": "http://x/y"}}}},
            "response_format",
            "another document",
        ),
        ({"grammar": "root ::= x", "tools": TOOLS}, "grammar", "excludes"),
        ({"grammar": '%llguidance {}\nstart: "x"'}, "grammar", "llguidance"),
        ({"top_logprobs": 2}, "top_logprobs", "logprobs=true"),
    ],
)
def test_what_is_not_offered_is_named(client: httpx.Client, change: dict[str, Any], param: str, says: str) -> None:
    error = refused(client, {**HELLO, **change})
    assert error["param"] == param
    assert says in error["message"]


def test_what_the_engine_lacks_is_named(engine: FakeEngine) -> None:
    engine.owner = "library"
    with served(engine.settings()) as client:
        for change in ({"logprobs": True}, {"top_k": 3}, {"grammar": "root ::= x"}, {"logit_bias": {"3": 1}}):
            error = refused(client, {**HELLO, **change})
            assert error["param"] == next(iter(change)) and "engine of 'fake'" in error["message"]
        error = refused(client, {**HELLO, "tools": TOOLS, "tool_choice": "required"})
        assert error["param"] == "tool_choice"
    assert engine.calls == []


def test_unknown_models_and_auto(client: httpx.Client, engine: FakeEngine) -> None:
    response = client.post(CHAT, json={**HELLO, "model": "gpt-7"})
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_found" and "fake" in response.json()["error"]["message"]
    assert client.post(CHAT, json={**HELLO, "model": "auto"}).status_code == 404
    with served(engine.settings(), choose=lambda job: "fake") as routed:
        assert routed.post(CHAT, json={**HELLO, "model": "auto"}).json()["model"] == "fake"
        assert "auto" in [row["id"] for row in routed.get("/v1/models").json()["data"]]


def test_a_schema_goes_to_a_llama_server_and_is_checked(client: httpx.Client, engine: FakeEngine) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    asked = {**HELLO, "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}
    engine.words = ['{"n":', "3}"]
    assert client.post(CHAT, json=asked).json()["choices"][0]["message"]["content"] == '{"n":3}'
    assert engine.calls[0]["response_format"]["json_schema"]["schema"] == schema and "grammar" not in engine.calls[0]
    engine.words = ["not JSON"]
    broken = client.post(CHAT, json=asked)
    assert broken.status_code == 502 and broken.json()["error"]["code"] == "output_malformed"
    last = events(client.post(CHAT, json={**asked, "stream": True}))[-1]
    assert last["error"]["code"] == "output_malformed"
    assert client.post(CHAT, json={**asked, "max_tokens": 0}).status_code == 400


def test_a_forced_tool_is_a_schema_of_ours(client: httpx.Client, engine: FakeEngine) -> None:
    engine.words = ['{"name":"weather",', '"arguments":{"city":"Lund"}}']
    answer = client.post(CHAT, json={**HELLO, "tools": TOOLS, "tool_choice": "required"}).json()
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "tool_calls" and choice["message"]["content"] is None
    (call,) = choice["message"]["tool_calls"]
    assert call["function"] == {"name": "weather", "arguments": '{"city": "Lund"}'}
    (sent,) = engine.calls
    names = [option["properties"]["name"]["const"] for option in sent["json_schema"]["anyOf"]]
    assert names == ["weather", "time"]
    assert "Say hello to all." in sent["prompt"] and "messages" not in sent


def test_a_named_tool_is_the_only_one_and_shown_where_the_template_does_not(
    client: httpx.Client, engine: FakeEngine
) -> None:
    engine.words = ['{"name":"time","arguments":{"city":"Lund"}}']
    engine.shows_tools = False
    choice = {"type": "function", "function": {"name": "time"}}
    asked = {**HELLO, "tools": TOOLS, "tool_choice": choice, "stream": True}
    found = [item["choices"][0] for item in events(client.post(CHAT, json=asked))]
    assert found[0]["delta"]["role"] == "assistant"
    assert found[0]["delta"]["tool_calls"][0]["function"]["name"] == "time"
    assert found[-1]["finish_reason"] == "stop"
    assert "weather" not in json.dumps(engine.calls[0]["json_schema"])
    assert "You can call these functions" in engine.calls[0]["prompt"]


def test_a_forced_call_that_breaks_its_schema_is_told(client: httpx.Client, engine: FakeEngine) -> None:
    engine.words = ['{"name":"time","arguments":{"town":"Lund"}}']
    response = client.post(CHAT, json={**HELLO, "tools": TOOLS, "tool_choice": "required"})
    assert response.status_code == 502 and response.json()["error"]["code"] == "output_malformed"


def test_references_in_tools_still_lead_to_their_definitions(client: httpx.Client, engine: FakeEngine) -> None:
    import jsonschema

    tools = [
        {
            "type": "function",
            "function": {
                "name": name,
                "parameters": {
                    "type": "object",
                    "properties": {"at": {"$ref": "#/$defs/Place"}},
                    "required": ["at"],
                    "$defs": {"Place": {"type": kind}},
                },
            },
        }
        for name, kind in (("a", "string"), ("b", "integer"))
    ]
    engine.words = ['{"name":"b","arguments":{"at":3}}']
    assert client.post(CHAT, json={**HELLO, "tools": tools, "tool_choice": "required"}).status_code == 200
    schema = engine.calls[0]["json_schema"]
    jsonschema.validate({"name": "a", "arguments": {"at": "x"}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"name": "a", "arguments": {"at": 3}}, schema)


def test_completions_of_several_prompts(client: httpx.Client, engine: FakeEngine) -> None:
    answer = client.post("/v1/completions", json={"prompt": ["one two", "three"], "max_tokens": 2}).json()
    assert [choice["text"] for choice in answer["choices"]] == ["Hello there", "Hello there"]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    assert {choice["finish_reason"] for choice in answer["choices"]} == {"length"}
    assert answer["usage"]["prompt_tokens"] == 3 and answer["usage"]["completion_tokens"] == 4
    asked = {"prompt": [1, 2, 3], "stream": True, "stream_options": {"include_usage": True}}
    found = events(client.post("/v1/completions", json=asked))
    assert "".join(item["choices"][0]["text"] for item in found[:-1]) == "Hello there!"
    assert engine.calls[-1]["prompt"] == [1, 2, 3] and found[-1]["usage"]["completion_tokens"] == 3
    assert refused(client, {"prompt": "x", "echo": True}, "/v1/completions")["param"] == "echo"


def test_models_health_metrics_and_document(client: httpx.Client) -> None:
    rows = {row["id"]: row for row in client.get("/v1/models").json()["data"]}
    assert set(rows) == {"fake", "all-minilm-l6-v2"} and rows["fake"]["resident"] is False
    client.post(CHAT, json=HELLO)
    shown = client.get("/v1/models/fake").json()
    assert shown["resident"] is True and shown["capabilities"]["grammar"] is True
    assert shown["capabilities"]["tool_choice"] is True, "the server enforces it"
    assert client.get("/v1/models/none").status_code == 404
    # A request is counted when it is over, a moment after its answer has gone out.
    until(lambda: 'shuntyard_requests_total{endpoint="chat",status="200"} 1.0' in client.get("/metrics").text)
    assert client.get("/health").json() == {"status": "ok", "running": 0, "queued": 0, "resident": ["fake"]}
    text = client.get("/metrics").text
    assert 'shuntyard_tokens_total{kind="completion",model="fake"} 3.0' in text
    document = client.get("/openapi.json").json()
    assert {"/v1/chat/completions", "/v1/completions", "/v1/embeddings"} <= set(document["paths"])
    assert "ChatRequest" in document["components"]["schemas"]
    lost = client.get("/v1/nothing")
    assert lost.status_code == 404 and "/openapi.json" in lost.json()["error"]["message"]
    assert client.get(CHAT).status_code == 405
