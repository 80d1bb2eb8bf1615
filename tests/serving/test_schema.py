"""Schemas as grammars: what is left to the check, and what is no beginning of an answer."""

import json
import socket
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from fake_engine import FakeEngine, events
from raw_engine import RawEngine, event, playing

from shuntyard.errors import OutputMalformed, UsageError
from shuntyard.messages import Message, ModelInfo, ModelRequest
from shuntyard.serving.local import LocalModel
from shuntyard.serving.schema import UNENFORCED, begins, check, compact, conforms, enforced
from shuntyard.serving.supervise import Running

CHAT = "/v1/chat/completions"
HELLO = {"model": "fake", "messages": [{"role": "user", "content": "Say hello to all."}]}
LETTERS: dict[str, Any] = {
    "type": "array",
    "items": {"enum": ["a", "b", "c"]},
    "minItems": 2,
    "maxItems": 3,
    "uniqueItems": True,
}


def formed(schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    return {**HELLO, "response_format": form, **more}


def test_keywords_that_no_grammar_enforces_leave_the_rest_in_it() -> None:
    found = enforced(LETTERS)
    assert found == {name: value for name, value in LETTERS.items() if name != "uniqueItems"}
    assert "uniqueItems" not in compact(LETTERS)
    # Names of properties and values are not keywords.
    names = {"type": "object", "properties": {"not": {"const": {"if": 1}}, "title": {"enum": [{"not": 2}]}}}
    assert enforced(names) == names


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"oneOf": [{"type": "null"}], "title": "T"}, {"anyOf": [{"type": "null"}]}),
        ({"oneOf": [{"minimum": 1}], "anyOf": [{}]}, {"anyOf": [{}], "allOf": [{"anyOf": [{"minimum": 1}]}]}),
        ({"type": "string", "pattern": "^(?!x)y$"}, {"type": "string"}),
        ({"type": "string", "pattern": "^a|b$"}, {"type": "string", "pattern": "^a|b$"}),
        ({"type": "string", "pattern": "a$b"}, {"type": "string"}),
        ({"type": "string", "format": "uri"}, {"type": "string"}),
        ({"type": "string", "format": "uuid"}, {"type": "string", "format": "uuid"}),
        ({"maximum": 1e300, "minimum": -5}, {"minimum": -5}),
        (
            {"patternProperties": {"^a": {"type": "null"}, "b$": {}}, "additionalProperties": False},
            {"patternProperties": {"(?:^a)|(?:b$)": {"anyOf": [{"type": "null"}, {}]}}, "additionalProperties": False},
        ),
        ({"patternProperties": {"^(?=a)": {}}, "additionalProperties": False}, {}),
        ({"properties": {"a": {}}, "minProperties": 1}, {"properties": {"a": {}}}),
        ({"minProperties": 1}, {"minProperties": 1}),
        ({"not": {"$defs": {"A": {}}}, "items": {"$ref": "#/not/$defs/A"}}, {"items": {}}),
        ({"items": {"$ref": "#/$defs/A"}, "$defs": {"A": {}}}, {"items": {"$ref": "#/$defs/A"}, "$defs": {"A": {}}}),
    ],
    ids=str,
)
def test_what_a_grammar_is_made_of(schema: dict[str, Any], expected: dict[str, Any]) -> None:
    assert enforced(schema) == expected


@pytest.mark.parametrize("keyword", sorted(UNENFORCED))
def test_no_such_keyword_reaches_the_engine(keyword: str) -> None:
    assert keyword not in json.dumps(enforced({"type": "object", "properties": {"a": {keyword: {}}}, keyword: {}}))


def test_more_is_allowed_but_nothing_less() -> None:
    for value in (["a", "b"], ["a", "a"]):
        jsonschema.validate(value, enforced(LETTERS))
    conforms('["a","b"]', LETTERS, "m")
    with pytest.raises(OutputMalformed, match=r"breaks 'uniqueItems'.*no grammar enforces it"):
        conforms('["a","a"]', LETTERS, "m")
    with pytest.raises(OutputMalformed, match="breaks 'minItems'"):
        conforms('["a"]', LETTERS, "m")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "{",
        '{"a',
        '{"a"',
        '{"a":',
        '{"a": [1, tru',
        '{"a":1}',
        '{"a":1,',
        "[",
        "[]",
        "[[1],",
        "-",
        "1.",
        "2e",
        "n",
        '"a\\',
        '"a\\u00',
        '"é',
        "null ",
        '{"a":{"b":[]}}\n',
    ],
)
def test_beginnings_of_json(text: str) -> None:
    begins(text, "m")


@pytest.mark.parametrize(
    "text",
    ["Once", "a", "[1] is", "{a", '{"a" 1', "{,", "[,", "]", "[}", '"a" b', "nix", '"a\nb"', "{1", '{"a":1,}'],
)
def test_what_begins_no_json(text: str) -> None:
    with pytest.raises(OutputMalformed, match="is not JSON"):
        begins(text, "m")


def said_natively(text: str, stop_type: str) -> Callable[[socket.socket, dict[str, Any]], None]:
    """What a llama-server's own interface answers to a template, a text, and a prompt."""

    def script(near: socket.socket, body: dict[str, Any]) -> None:
        end = {"content": "", "stop": True, "stop_type": stop_type, "tokens_predicted": 3}
        events = b"".join(event(json.dumps(item)) for item in ({"content": text, "stop": False}, end))
        known = {"messages": b'{"prompt":"x"}', "content": b'{"tokens":[1,2]}', "prompt": events}
        data = next(answer for key, answer in known.items() if key in body)
        near.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data))

    return script


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("text", "stop_type", "says"),
    [
        ('["a","a', "limit", ""),
        ("Once upon a", "limit", "is not JSON"),
        ('["a","b"]', "eos", ""),
        ('["a","a"]', "eos", "breaks 'uniqueItems'"),
    ],
)
async def test_a_local_model_that_was_cut_off_began_json(tmp_path: Path, text: str, stop_type: str, says: str) -> None:
    with playing(RawEngine(said_natively(text, stop_type))) as engine:
        child = Running(
            key="k", name="m", model="m", url=engine.url, token="t", context=512, pid=0, engine_pid=0, started=0.0,
            file=tmp_path / "engine.json",
        )  # fmt: skip

        async def connect(distrust: bool) -> Running:
            return child

        model = LocalModel(ModelInfo(name="m", kind="local", tier="tiny", context=512), connect)
        asked = ModelRequest(messages=(Message(role="user", content="x"),), max_tokens=3, json_schema=LETTERS)
        with pytest.raises(OutputMalformed, match=says) if says else nullcontext():
            answer = await model.complete(asked)
            assert (answer.text, answer.finish) == (text, "length" if stop_type == "limit" else "stop")


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": 3}, "not valid"),
        ({"$ref": "http://x/y"}, "another document"),
        ({"$ref": "#/nowhere"}, "'#/nowhere' leads nowhere"),
        ({"properties": {"a": {"$ref": "#/$defs/B"}}, "$defs": {"A": {}}}, "leads nowhere"),
        ({"$ref": "#x"}, "leads nowhere"),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}]}}}, "leads to itself"),
        ({"pattern": "["}, "not valid"),
        ({"patternProperties": {r"\p{L}": {}}}, "not valid"),
    ],
    ids=str,
)
def test_schemas_to_which_no_answer_can_be_held(schema: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        check(schema)


def test_references_that_lead_somewhere() -> None:
    tree = {"properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}, "$ref": {"type": "string"}}}
    check(tree)
    check({"$ref": "#a", "$defs": {"A": {"$anchor": "a"}}})
    check({"$ref": "#/$defs/a~1b%20c", "$defs": {"a/b c": {}}, "const": {"$ref": "#/nowhere"}})


def test_an_answer_keeps_to_a_schema_with_such_a_keyword(client: httpx.Client, engine: FakeEngine) -> None:
    engine.words = ['["a",', '"b"]']
    answer = client.post(CHAT, json=formed(LETTERS, max_tokens=40)).json()
    assert answer["choices"][0]["message"]["content"] == '["a","b"]'
    sent = engine.calls[0]["response_format"]["json_schema"]["schema"]
    assert "uniqueItems" not in sent and sent["minItems"] == 2
    engine.words = ['["a",', '"a"]']
    broken = client.post(CHAT, json=formed(LETTERS))
    assert broken.status_code == 502 and "'uniqueItems'" in broken.json()["error"]["message"]


def test_prose_is_an_error_also_when_it_is_cut_off(client: httpx.Client, engine: FakeEngine) -> None:
    engine.words = ["Once", " upon", " a", " time"]
    broken = client.post(CHAT, json=formed(LETTERS, max_tokens=2))
    assert broken.status_code == 502 and broken.json()["error"]["code"] == "output_malformed"
    engine.words = ['["a",', '"b"']
    cut = client.post(CHAT, json=formed(LETTERS, max_tokens=1)).json()["choices"][0]
    assert cut["finish_reason"] == "length" and cut["message"]["content"] == '["a",'
    engine.words, engine.delay = ["Once"] * 100_000, 0.01
    found = events(client.post(CHAT, json=formed(LETTERS, stream=True)))
    assert found[-1]["error"]["code"] == "output_malformed" and len(found) < 10
    assert engine.left.wait(5.0)


def test_a_forced_call_that_is_cut_off_is_a_call_or_an_error(client: httpx.Client, engine: FakeEngine) -> None:
    tools = [{"type": "function", "function": {"name": "time", "parameters": {"type": "object", "not": {}}}}]
    asked = {**HELLO, "tools": tools, "tool_choice": "required", "max_tokens": 1}
    engine.words = ["It", " is", " noon"]
    assert client.post(CHAT, json=asked).status_code == 502
    (option,) = engine.calls[0]["json_schema"]["anyOf"]
    assert option["properties"]["arguments"] == {"type": "object"}
    engine.words = ['{"name":"time","arguments":{"a', "b"]
    call = client.post(CHAT, json=asked).json()["choices"][0]["message"]["tool_calls"][0]
    assert call["function"] == {"name": "time", "arguments": '{"a'}


def test_a_reference_to_nowhere_is_refused_before_anything_is_generated(
    client: httpx.Client, engine: FakeEngine
) -> None:
    lost = {"$ref": "#/nowhere"}
    error = client.post(CHAT, json=formed(lost)).json()["error"]
    assert error["param"] == "response_format" and "'#/nowhere' leads nowhere" in error["message"]
    step = {"output": "a", "prompt": "Go.", "response_format": formed(lost)["response_format"]}
    refused = client.post("/v1/programs", json={"steps": [{**step, "output": "b", "response_format": None}, step]})
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "steps.1.response_format"
    assert engine.calls == []
