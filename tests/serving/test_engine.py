import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import httpx
import pytest
from hub_server import Behaviour
from hub_server import hub as serve

from shuntyard import settings as settings_module
from shuntyard.errors import ContextTooLong, ModelUnavailable, OutputMalformed, UnknownName, UsageError
from shuntyard.events import Progress
from shuntyard.messages import Message, ModelRequest
from shuntyard.serving import fetch, local, source, supervise
from shuntyard.serving.local import LocalModel
from shuntyard.serving.source import LocalSource
from shuntyard.serving.supervise import Running
from shuntyard.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.small_model]

NAME = "smollm2-135m"
HELLO = (Message(role="user", content="Say hello."),)
ENDLESS = ModelRequest(
    messages=(Message(role="user", content="Write a long story."),), max_tokens=3000, grammar="root ::= [0-9]{1800}"
)


@pytest.fixture
def settings(pulled: Callable[[str], str]) -> Settings:
    pulled(NAME)
    return settings_module.load({"threads": 2, "idle_minutes": 2})


@pytest.fixture
def alone(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings whose engines no other test sees."""
    monkeypatch.setenv("SHUNTYARD_ENGINES", str(tmp_path / "engines"))
    yield settings
    supervise.stop(settings)


@pytest.fixture
async def model(settings: Settings) -> LocalModel:
    return await LocalSource(settings).open(NAME)


def only(settings: Settings) -> Running:
    (engine,) = [engine for engine in supervise.running(settings) if engine.name == NAME]
    return engine


def gone(pid: int) -> bool:
    """Tell whether there is no such process, or one that has ended and waits for its parent to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    with anyio.fail_after(seconds):
        while not true():  # noqa: ASYNC110 - another process's state
            await anyio.sleep(0.02)


async def test_an_answer_with_its_counts(model: LocalModel) -> None:
    pieces: list[str] = []
    request = ModelRequest(messages=HELLO, max_tokens=12)
    answer = await model.complete(request, on_text=pieces.append)
    assert answer.text and "".join(pieces) == answer.text
    assert len(pieces) > 1
    assert answer.finish == "length" and answer.usage.completion == 12
    assert answer.usage.prompt == await model.count(HELLO)
    assert 0 < answer.ttft <= answer.seconds
    again = await model.complete(request)
    assert again.text == answer.text
    assert again.usage.cached >= again.usage.prompt - 1


async def test_a_long_prompt_prefix_stays_warm_between_other_calls(model: LocalModel) -> None:
    rules = "You plan tasks. " + " ".join(f"Rule {n}: be brief." for n in range(60))

    def asked(task: str) -> ModelRequest:
        return ModelRequest(
            messages=(Message(role="system", content=rules), Message(role="user", content=task)), max_tokens=4
        )

    await model.complete(asked("Count the files."))
    await model.complete(ModelRequest(messages=HELLO, max_tokens=4))
    answer = await model.complete(asked("Add two numbers."))
    assert answer.usage.cached > 300
    assert answer.usage.prompt - answer.usage.cached < 30


async def test_a_grammar_binds(model: LocalModel) -> None:
    request = ModelRequest(messages=HELLO, grammar='root ::= "north" | "south"', max_tokens=20)
    answer = await model.complete(request)
    assert answer.text in ("north", "south")
    assert answer.finish == "stop"


async def test_a_json_schema_binds_without_blanks(model: LocalModel) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["Oslo", "Rome"]}, "people": {"type": "integer", "minimum": 0, "maximum": 99}},
        "required": ["city", "people"],
        "additionalProperties": False,
    }
    answer = await model.complete(ModelRequest(messages=HELLO, json_schema=schema, max_tokens=60))
    value = json.loads(answer.text)
    assert set(value) == {"city", "people"}
    assert answer.text == json.dumps(value, separators=(",", ":"))


async def test_what_the_engine_cannot_enforce_is_not_passed_on(model: LocalModel) -> None:
    schema = {"type": "object", "patternProperties": 3}
    with pytest.raises((OutputMalformed, UsageError)):
        await model.complete(ModelRequest(messages=HELLO, json_schema=schema, max_tokens=300, stop=("\n",)))


async def test_a_broken_grammar_is_the_callers_error(model: LocalModel) -> None:
    with pytest.raises(UsageError, match="grammar"):
        await model.complete(ModelRequest(messages=HELLO, grammar="root ::= nowhere"))


async def test_log_probabilities(model: LocalModel) -> None:
    answer = await model.complete(ModelRequest(messages=HELLO, max_tokens=5, logprobs=3))
    assert len(answer.logprobs) == 5
    assert "".join(item.token for item in answer.logprobs) == answer.text
    for item in answer.logprobs:
        assert len(item.top) == 3
        assert item.logprob <= 0
        assert item.top[0] == (item.token, item.logprob), "greedy takes the likeliest"


async def test_stop_words(model: LocalModel) -> None:
    request = ModelRequest(messages=HELLO, grammar='root ::= "one two three"', stop=("two",))
    answer = await model.complete(request)
    assert answer.text == "one "
    assert answer.finish == "stop"


async def test_text_beyond_ascii_arrives_whole(model: LocalModel) -> None:
    pieces: list[str] = []
    wanted = "naïve → 東京 🚂"
    answer = await model.complete(
        ModelRequest(messages=HELLO, grammar=f'root ::= "{wanted}"', max_tokens=40), on_text=pieces.append
    )
    assert answer.text == "".join(pieces) == wanted


async def test_too_long_is_told_before_sending(model: LocalModel) -> None:
    with pytest.raises(ContextTooLong, match="4096"):
        await model.complete(ModelRequest(messages=HELLO, max_tokens=4096))
    words = (Message(role="user", content="word " * 50_000),)
    with anyio.fail_after(20), pytest.raises(ContextTooLong):
        await model.complete(ModelRequest(messages=words))


async def test_two_answers_at_once(model: LocalModel) -> None:
    texts: dict[str, str] = {}

    async def ask(word: str) -> None:
        request = ModelRequest(messages=HELLO, grammar=f'root ::= "{word}"', max_tokens=30)
        texts[word] = (await model.complete(request)).text

    async with anyio.create_task_group() as group:
        for word in ("alpha", "beta", "gamma", "delta"):
            group.start_soon(ask, word)
    assert texts == {word: word for word in ("alpha", "beta", "gamma", "delta")}


async def test_cancelling_frees_the_slot_at_once(model: LocalModel, settings: Settings) -> None:
    engine = only(settings)

    def busy() -> bool:
        headers = {"Authorization": f"Bearer {engine.token}"}
        slots = httpx.get(f"{engine.url}/slots", headers=headers, trust_env=False).json()
        return any(slot["is_processing"] for slot in slots)

    with anyio.move_on_after(1.0) as scope:
        await model.complete(ENDLESS)
    assert scope.cancelled_caught
    await until(lambda: not busy(), 2.0)


async def test_the_engine_wants_its_token(model: LocalModel, settings: Settings) -> None:
    engine = only(settings)
    assert engine.url.startswith("http://127.0.0.1:")
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.post(f"{engine.url}/completion", json={"prompt": "x"})).status_code == 401
    assert engine.file.stat().st_mode & 0o077 == 0


async def test_the_next_command_finds_the_engine_warm(model: LocalModel, settings: Settings) -> None:
    script = (
        "import anyio\n"
        "from shuntyard import settings\n"
        "from shuntyard.serving import supervise\n"
        "from shuntyard.serving.source import LocalSource\n"
        "s = settings.load({'threads': 2})\n"
        f"anyio.run(LocalSource(s).open, {NAME!r})\n"
        f"print([engine.engine_pid for engine in supervise.running(s) if engine.name == {NAME!r}])\n"
    )
    command = [sys.executable, "-P", "-c", script]
    output = await anyio.run_process(command)
    assert json.loads(output.stdout) == [only(settings).engine_pid]


async def test_two_commands_at_once_start_one_engine(alone: Settings) -> None:
    opened: list[LocalModel] = []

    async def open_one() -> None:
        opened.append(await LocalSource(alone).open(NAME))

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(open_one)
    assert len(opened) == 3
    only(alone)


async def test_a_killed_engine_is_told_and_started_again(alone: Settings) -> None:
    model = await LocalSource(alone).open(NAME)
    first = only(alone)

    async def kill() -> None:
        await anyio.sleep(0.5)
        os.kill(first.engine_pid, signal.SIGKILL)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(kill)
            with pytest.raises(ModelUnavailable, match="started again at the next call"):
                await model.complete(ENDLESS)
        answer = await model.complete(ModelRequest(messages=HELLO, max_tokens=4))
    assert answer.text
    assert only(alone).engine_pid != first.engine_pid
    assert gone(first.pid) and gone(first.engine_pid)


async def test_an_engine_that_died_between_calls_is_not_noticed(alone: Settings) -> None:
    model = await LocalSource(alone).open(NAME)
    os.kill(only(alone).engine_pid, signal.SIGKILL)
    answer = await model.complete(ModelRequest(messages=HELLO, max_tokens=4))
    assert answer.text


async def test_a_killed_watchdog_takes_its_engine_along(alone: Settings) -> None:
    model = await LocalSource(alone).open(NAME)
    engine = only(alone)
    os.kill(engine.pid, signal.SIGKILL)
    await until(lambda: gone(engine.engine_pid), 5.0)
    assert engine.file.exists(), "a stale port file is what this is about"
    assert supervise.running(alone) == []
    answer = await model.complete(ModelRequest(messages=HELLO, max_tokens=4))
    assert answer.text
    assert only(alone).engine_pid != engine.engine_pid


async def test_a_stale_port_that_a_stranger_took_is_not_believed(alone: Settings) -> None:
    model = await LocalSource(alone).open(NAME)
    engine = only(alone)
    known = json.loads(engine.file.read_text())
    supervise.stop(alone)
    behaviour = Behaviour(b"{}")
    with serve(behaviour) as url:
        engine.file.write_text(json.dumps({**known, "url": url, "pid": os.getpid()}))
        assert supervise.running(alone) == []
        answer = await model.complete(ModelRequest(messages=HELLO, max_tokens=4))
    assert answer.text
    assert only(alone).url != url


async def test_idleness_stops_the_engine_but_not_an_answer(alone: Settings) -> None:
    brief = alone.model_copy(update={"idle_minutes": 1.5 / 60})
    model = await LocalSource(brief).open(NAME)
    engine = only(brief)
    request = ENDLESS.model_copy(update={"max_tokens": 150, "grammar": 'root ::= "a b c d e f g "{400}'})
    answer = await model.complete(request)
    assert answer.usage.completion == 150
    await until(lambda: gone(engine.pid) and gone(engine.engine_pid), 15.0)
    assert supervise.running(brief) == []
    assert not engine.file.exists()


async def test_stop_ends_everything(alone: Settings) -> None:
    await LocalSource(alone).open(NAME)
    engine = only(alone)
    assert supervise.stop(alone, "another") == []
    assert supervise.stop(alone, NAME) == [NAME]
    assert gone(engine.engine_pid)
    await until(lambda: gone(engine.pid))
    assert supervise.stop(alone) == []


async def test_a_gguf_path_is_a_model(alone: Settings, tmp_path: Path) -> None:
    (weights,) = fetch.ensure(NAME, alone)
    own = tmp_path / "mine.gguf"
    own.symlink_to(weights)
    where = alone.model_copy(update={"model": str(own)})
    models = LocalSource(where)
    assert str(own) in [info.name for info in models.infos()]
    model = await models.open(str(own))
    answer = await model.complete(ModelRequest(messages=HELLO, max_tokens=4))
    assert answer.model == str(own)
    assert supervise.stop(alone, str(own)) == [str(own)]


async def test_a_file_that_only_looks_like_a_model_is_a_clear_error(alone: Settings, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(1000))
    with anyio.fail_after(30), pytest.raises(ModelUnavailable, match=r"did not start.*log:"):
        await LocalSource(alone).open(str(broken))
    assert supervise.running(alone) == []


async def test_loading_and_reading_show_signs_of_life(alone: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "SILENCE", 0.05)
    seen: list[Progress] = []
    model = await LocalSource(alone, emit=lambda event: seen.append(event)).open(NAME)
    assert {event.what for event in seen} >= {f"loading {NAME}"}
    long = Message(role="user", content="A long text. " * 150)
    await model.complete(ModelRequest(messages=(long,), max_tokens=2))
    reading = [event for event in seen if event.what == f"{NAME} reads the prompt"]
    assert reading and reading[-1].total > 400


async def test_a_missing_extra_and_wrong_names(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    models = LocalSource(settings)
    with pytest.raises(UnknownName, match="did you mean smollm2-135m"):
        await models.open("smollm-135m")
    with pytest.raises(UsageError, match="'all-minilm-l6-v2' makes embeddings and answers nothing; name 'qwen"):
        await models.open("all-minilm-l6-v2")
    monkeypatch.setattr(source, "find_spec", lambda name: None)
    with pytest.raises(ModelUnavailable, match=r"pip install 'shuntyard\[engine\]'"):
        await models.open(NAME)
