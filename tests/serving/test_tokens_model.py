"""The token-level engine with a real small model: it says what the server says, and its counts are true."""

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest
from fake_engine import served

from shuntyard import settings as settings_module
from shuntyard.errors import ContextTooLong, ModelUnavailable, UnknownName, UsageError
from shuntyard.messages import Message, ModelRequest
from shuntyard.serving import LocalSource, fetch
from shuntyard.serving.engines import Call
from shuntyard.serving.tokens import Order, TokenChild, TokenEngine, TokenModel
from shuntyard.serving.tokens.binding import Llama, Load
from shuntyard.serving.tokens.decode import Cursor, Method, Plain, Report, Want, generate
from shuntyard.serving.tokens.lookahead import Lookahead
from shuntyard.serving.tokens.pace import Pace
from shuntyard.serving.tokens.trie import Draft, Trie
from shuntyard.settings import RemoteModel, ServeSettings, Settings, TokenSettings

pytestmark = [pytest.mark.anyio, pytest.mark.small_model]

NAME = "smollm2-135m"
CODE = "def area(w, h):\n    return w * h\n\ndef volume(w, h, d):\n    return w * h * d\n"
ECHO = f"{CODE}\n\n# The same again:\n{CODE[:30]}"
FACT = [{"role": "user", "content": "What is the capital of France?"}]
STORY = [{"role": "user", "content": "Tell a short story about a lighthouse keeper."}]


@pytest.fixture(scope="module")
def settings(pulled: Callable[[str], str]) -> Settings:
    pulled(NAME)
    # With one thread: an engine that no other test has warmed, since a beginning read in other pieces moves near ties.
    return settings_module.load({"threads": 1, "idle_minutes": 2})


@pytest.fixture(scope="module")
def child(settings: Settings) -> Iterator[TokenChild]:
    path = fetch.ensure(NAME, settings)[0]
    child = TokenChild(Order(NAME, path, 1024, large=path))
    yield child
    child.close()


def ask(child: TokenChild, asked: str | list[dict[str, str]], limit: int = 24, **options: Any) -> dict[str, Any]:
    options = TokenSettings(large=NAME, **options).model_dump() if options else {}
    prompt = {"prompt" if isinstance(asked, str) else "messages": asked}
    return child.result({"do": "generate", "want": {"limit": limit}, "options": options, "trace": True, **prompt})


def said(child: TokenChild, messages: list[dict[str, str]], limit: int) -> str:
    order = {"do": "generate", "messages": messages, "want": {"limit": limit}}
    return "".join(event["text"] for event in child.ask(order) if "text" in event)


async def test_it_says_what_the_server_says(child: TokenChild, settings: Settings) -> None:
    model = await LocalSource(settings).open(NAME)
    for messages in (FACT, STORY):
        request = ModelRequest(messages=tuple(Message.model_validate(item) for item in messages), max_tokens=24)
        theirs = await model.complete(request)
        assert said(child, messages, 24) == theirs.text
        assert child.result({"do": "count", "messages": messages})["tokens"] == theirs.usage.prompt


def test_lookahead_says_the_same_in_fewer_passes_where_they_cost_nothing_more(settings: Settings) -> None:
    llama = Llama(Load(fetch.ensure(NAME, settings)[0], 1024))
    cursor = Cursor(llama)
    ends: list[int] = []

    class Watched(Trie):
        def draft(self, *args: Any, **more: Any) -> Draft:
            draft = super().draft(*args, **more)
            ends.append(len(draft.leaves()))
            return draft

    ahead = Lookahead(cursor, trie=Watched())
    ahead.pace = Pace((1, 2), (1.0, 1.0))

    def told(method: Method, asked: str) -> tuple[list[int], float]:
        report = Report()
        steps = generate(method, llama.tokenize(asked), Want(limit=24), report, llama=llama)
        return [step.token for step in steps], report.per_pass

    plain, alone = told(Plain(cursor), ECHO)
    first, quick = told(ahead, ECHO)
    again, quicker = told(ahead, ECHO)
    assert plain == first == again
    assert alone == 1.0 and 1.5 < quick <= quicker
    # Where texts went on differently after the same words, all that is known is guessed, in branches.
    other = ECHO.replace("return w * h", "return h + w")
    ends.clear()
    assert told(ahead, other)[0] == told(Plain(cursor), other)[0] != plain
    assert max(ends) > 1
    assert told(ahead, ECHO)[0] == plain
    llama.close()


def test_lookahead_with_the_costs_of_this_machine_is_lossless(child: TokenChild) -> None:
    plain = ask(child, ECHO)
    child.result({"do": "forget"})
    first = ask(child, ECHO, method="lookahead")
    again = ask(child, ECHO, method="lookahead")
    novel = ask(child, STORY, method="lookahead")
    assert plain["tokens"] == first["tokens"] == again["tokens"]
    assert novel["tokens"] == ask(child, STORY)["tokens"]
    assert plain["per_pass"] == 1.0
    assert min(first["per_pass"], again["per_pass"], novel["per_pass"]) >= 1.0
    assert first["accepted"] <= first["drafted"]


def test_two_models_take_turns_and_every_token_is_counted(child: TokenChild) -> None:
    child.result({"do": "forget"})
    small = ask(child, STORY, method="entropy", entropy=99)
    child.result({"do": "forget"})
    mixed = ask(child, STORY, method="entropy", entropy=0.8)
    child.result({"do": "forget"})
    large = ask(child, STORY, method="entropy", entropy=0, run=1)
    # The same file plays both parts, so whoever speaks says the same.
    assert small["tokens"] == mixed["tokens"] == large["tokens"] == ask(child, STORY)["tokens"]
    assert small["large_tokens"] == small["large_prompt"] == small["switches"] == 0
    assert 0 < mixed["large_tokens"] < 24 and mixed["switches"] >= 2
    assert large["large_tokens"] == 23 and large["large_catch_up"] == 0
    assert mixed["large_prompt"] == mixed["prompt"]
    # What the large model did not choose and could not skip, it read; the newest token is never missed.
    assert 0 < mixed["large_catch_up"] + mixed["large_tokens"] <= 24


def test_an_answer_that_goes_round_is_stopped(child: TokenChild) -> None:
    prompt = "one two three four " * 12
    order = {"do": "generate", "prompt": prompt, "want": {"limit": 64}}
    free = child.result({**order, "options": {}})
    stopped = child.result({**order, "options": TokenSettings(abort=True).model_dump()})
    assert free["completion"] == 64
    assert stopped["finish"] == "abort" and "repeat every 4" in stopped["why"] and stopped["completion"] < 64
    assert ask(child, STORY, abort=True)["finish"] == "length"
    unsure = ask(child, STORY, 40, abort=True, abort_floor=-0.01)
    assert unsure["finish"] == "abort" and unsure["completion"] == 32 and "below -0.01" in unsure["why"]


def test_texts_read_alone_come_near_the_whole_with_a_share_recomputed(child: TokenChild) -> None:
    texts = [
        "Paris is the capital of France and lies on the Seine. It has two million people. ",
        "The river Spree flows through Berlin, the capital of Germany, which has three million people. ",
        "Rome lies on the Tiber and is the capital of Italy. ",
    ]
    order = {
        "do": "blend",
        "beginning": "<|im_start|>user\nRead these notes.\n",
        "texts": texts,
        "question": "\nWhich river flows through Berlin?<|im_end|>\n<|im_start|>assistant\nThe river",
        "shares": [0.0, 0.15, 0.3, 1.0],
    }
    none, some, more, every = child.result(order)["rows"]
    assert none["kl"] > some["kl"] > every["kl"] and none["kl"] > more["kl"]
    assert every["kl"] < 0.02 and every["computed"] == every["total"]
    assert none["computed"] < some["computed"] < more["computed"] < every["total"]
    assert none["first"] > 0 and some["first"] == 0
    assert more["same"]


def test_divided_positions_stay_below_the_trained_length(child: TokenChild) -> None:
    order = {"do": "extend", "messages": FACT, "limit": 8, "width": 16}
    plain = child.result({**order, "group": 1})
    grouped = child.result({**order, "group": 4})
    assert grouped["last"] < plain["last"]
    assert plain["text"] == said(child, FACT, 8)
    with pytest.raises(UsageError, match="no multiple of group 3"):
        child.result({**order, "group": 3})


async def test_engine_speaks_in_chunks_and_starts_a_child_that_died_again(
    settings: Settings, child: TokenChild
) -> None:
    path = fetch.ensure(NAME, settings)[0]
    engine = TokenEngine("near", lambda: TokenChild(Order("near", path, 256)), TokenSettings(context=256))
    body = {"messages": FACT, "max_tokens": 8, "temperature": 0}
    try:
        chunks = [chunk.value async for (chunk,) in engine.stream(Call("/chat/completions", body))]
        text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
        assert text == said(child, FACT, 8) and len(chunks) > 4
        usage = chunks[-1]["usage"]
        assert chunks[-1]["choices"][0]["finish_reason"] in ("stop", "length")
        assert usage["prompt_tokens"] == await engine.tokens(await engine.render(FACT, ()))
        os.kill(engine.pid, signal.SIGKILL)
        model = TokenModel((await LocalSource(_near(settings)).open("near")).info, engine)
        again = await model.complete(ModelRequest(messages=(Message(**FACT[0]),), max_tokens=8, stop=(text[4:9],)))
        assert again.text == text.partition(text[4:9])[0] and again.usage.prompt == usage["prompt_tokens"]
        # Without max_tokens an answer gets the room that there is.
        unsaid = {"messages": FACT, "temperature": 0, "stop": ","}
        brief = [chunk.value async for (chunk,) in engine.stream(Call("/chat/completions", unsaid))]
        assert 0 < brief[-1]["usage"]["total_tokens"] <= 256
        with pytest.raises(ContextTooLong, match="do not fit"):
            await model.complete(ModelRequest(messages=(Message(**FACT[0]),), max_tokens=1024))
        # Left early, it answers the next call at once and the same.
        with anyio.move_on_after(0.05):
            await model.complete(ModelRequest(messages=(Message(**STORY[0]),), max_tokens=200))
        with anyio.fail_after(5):
            assert (await model.complete(ModelRequest(messages=(Message(**FACT[0]),), max_tokens=8))).text == text
    finally:
        await engine.close()


def test_the_server_offers_it_by_the_settings_name(settings: Settings, child: TokenChild) -> None:
    near = RemoteModel(model=NAME, engine="tokens", tokens=TokenSettings(context=1024, method="lookahead"))
    serve = ServeSettings(port=0, models=("near",), drain=2)
    with served(settings.model_copy(update={"models": {"near": near}, "serve": serve})) as client:
        asked = {"model": "near", "messages": FACT, "max_tokens": 8, "temperature": 0}
        answer = client.post("/v1/chat/completions", json=asked).json()
        assert answer["choices"][0]["message"]["content"] == said(child, FACT, 8)
        assert answer["usage"]["completion_tokens"] == 8
        (row,) = [row for row in client.get("/v1/models").json()["data"] if row["id"] == "near"]
        assert row["context"] == 1024 and row["capabilities"]["tools"] is False
        tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
        refused = client.post("/v1/chat/completions", json={**asked, "tools": [tool]})
        assert refused.status_code == 400 and refused.json()["error"]["param"] == "tools"
        refused = client.post("/v1/chat/completions", json={**asked, "frequency_penalty": 1})
        assert refused.status_code == 400 and "frequency_penalty" in refused.json()["error"]["message"]


def test_it_is_installed_when_its_file_is(settings: Settings) -> None:
    near = RemoteModel(model=NAME, engine="tokens")
    source = LocalSource(settings.model_copy(update={"models": {"near": near}}))
    assert source.installed("near") and "near" in [info.name for info in source.infos()]
    gone = near.model_copy(update={"model": "nope"})
    with pytest.raises(UnknownName, match="'nope'"):
        LocalSource(settings.model_copy(update={"models": {"near": gone}})).installed("near")


def test_a_file_that_is_no_model_is_refused(tmp_path: Any) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"GGUF" + bytes(64))
    with pytest.raises(ModelUnavailable, match="cannot load"):
        TokenChild(Order("bad", bad, 512))


def _near(settings: Settings) -> Settings:
    return settings.model_copy(update={"models": {"near": RemoteModel(model=NAME, engine="tokens")}})
