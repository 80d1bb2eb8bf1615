"""A server whose models are fleets: where calls go, what moves, and what a death costs."""

import json
import os
import signal
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from fake_engine import real, served, until
from test_fleet import INFO, Played, Stub, kept, whole

from shuntyard.errors import ContextTooLong, ModelUnavailable, SettingsInvalid
from shuntyard.messages import Place
from shuntyard.serving import supervise
from shuntyard.serving.engines import CHILD, Call, Chunk
from shuntyard.serving.fleet import Options
from shuntyard.serving.fleet.served import FleetEngine
from shuntyard.serving.prompt import Prompt
from shuntyard.serving.schedule import packed
from shuntyard.serving.server import check_names
from shuntyard.settings import FleetSettings, ServeSettings, Settings

NAME = "smollm2-135m"
CHAT = "/v1/chat/completions"


class Staying:
    """A member's engine behind its queue: says its number, or dies."""

    capabilities = CHILD
    name = "m"

    def __init__(self, number: int) -> None:
        self.number = number
        self.calls = 0
        self.dies_at = 10**9
        self.hold = anyio.Event()
        self.hold.set()

    async def prompt_of(self, call: Call) -> Prompt:
        return Prompt(packed(range(50)), 0)

    async def stream(self, call: Call) -> AsyncGenerator[list[Chunk], None]:
        self.calls += 1
        for piece in range(2):
            if piece >= self.dies_at:
                raise ModelUnavailable("the engine has died; send it again.")
            yield [Chunk.said(str(self.number).encode())]
            await self.hold.wait()


class Counted(Stub):
    """A fleet whose template knows no thoughts, or does."""

    template = "plain"

    async def count(self, messages: object) -> int:
        return 100

    async def properties(self) -> dict[str, Any]:
        return {"chat_template": self.template}


@pytest.fixture
def fleet(tmp_path: Path) -> Counted:
    return Counted(INFO, [Played(kept(tmp_path)), Played(kept(tmp_path))], reuse=False)


def engine_of(fleet: Counted) -> tuple[FleetEngine, list[Any]]:
    members: list[Any] = [Staying(0), Staying(1)]
    return FleetEngine(fleet, members), members


def greedy(name: str, tokens: int | None = 40, **more: Any) -> Call:
    said = [{"role": "user", "content": name}]
    body = {"messages": said, "temperature": 0, **({"max_tokens": tokens} if tokens else {}), **more}
    return Call("/chat/completions", body, Place(run=name, arrived=1.0))


async def text_of(engine: FleetEngine, call: Call) -> tuple[str, dict[str, Any]]:
    values = [chunk.value async for batch in engine.stream(call) for chunk in batch]
    said = "".join(choice["delta"].get("content", "") for value in values for choice in value["choices"])
    return said, values[-1]


@pytest.mark.anyio
async def test_greedy_chats_move_while_they_are_written(fleet: Counted) -> None:
    engine, members = engine_of(fleet)
    found: dict[str, tuple[str, dict[str, Any]]] = {}

    async def one(name: str, tokens: int) -> None:
        found[name] = await text_of(engine, greedy(name, tokens))

    async with anyio.create_task_group() as group:
        for name, tokens in (("a", 300), ("b", 8), ("c", 300), ("d", 8)):
            group.start_soon(one, name, tokens)
    assert {name: said for name, (said, _) in found.items()} == {
        "a": whole(300), "b": whole(8), "c": whole(300), "d": whole(8),
    }  # fmt: skip
    assert found["a"][1]["usage"]["completion_tokens"] == 300 and found["a"][1]["usage"]["prompt_tokens"] == 100
    assert fleet.moves == 1 and all(not load.held for load in engine.loads())
    assert [member.calls for member in members] == [0, 0]


@pytest.mark.anyio
async def test_a_chat_without_a_limit_ends_with_the_context(fleet: Counted) -> None:
    engine, _ = engine_of(fleet)
    fleet.members[0].pace = fleet.members[1].pace = 0.0  # type: ignore[attr-defined]
    said, last = await text_of(engine, greedy("a", None))
    assert said == whole(INFO.context - 100) and last["usage"]["completion_tokens"] == INFO.context - 100

    async def long(messages: object) -> int:
        return INFO.context

    fleet.count = long  # type: ignore[method-assign, assignment]
    with pytest.raises(ContextTooLong, match="shorten it"):
        await text_of(engine, greedy("a"))


@pytest.mark.anyio
@pytest.mark.parametrize(
    "change",
    [{"temperature": 0.5}, {"tools": []}, {"grammar": "root ::= x"}, {"n": 2}, {"logprobs": True}, {"logit_bias": {}}],
    ids=lambda change: next(iter(change)),
)
async def test_what_depends_on_more_than_its_tokens_stays(fleet: Counted, change: dict[str, Any]) -> None:
    engine, members = engine_of(fleet)
    assert (await text_of(engine, greedy("a", **change)))[0] == "00"
    assert members[0].calls == 1 and fleet.moves == 0


@pytest.mark.anyio
async def test_thoughts_are_left_to_the_engine(fleet: Counted) -> None:
    fleet.template = "{% if message.thinking %}"
    engine, members = engine_of(fleet)
    assert (await text_of(engine, greedy("a")))[0] == "00" and members[0].calls == 1


@pytest.mark.anyio
async def test_calls_that_stay_count_and_go_where_room_is(fleet: Counted) -> None:
    engine, members = engine_of(fleet)
    for member in members:
        member.hold = anyio.Event()
    found: list[str] = []

    async def one(name: str) -> None:
        found.append((await text_of(engine, greedy(name, temperature=1)))[0])

    async with anyio.create_task_group() as group:
        for name in "abcd":
            group.start_soon(one, name)
        await anyio.wait_all_tasks_blocked()
        assert [len(load.held) for load in engine.loads()] == [2, 2]
        assert all(item.running and not item.movable for load in engine.loads() for item in load.held)
        for member in members:
            member.hold.set()
    assert sorted(found) == ["00", "00", "11", "11"] and all(not load.held for load in engine.loads())


@pytest.mark.anyio
async def test_a_death_before_the_first_piece_is_survived_and_told_after_it(fleet: Counted) -> None:
    engine, members = engine_of(fleet)
    members[0].dies_at = 0
    assert (await text_of(engine, greedy("a", temperature=1)))[0] == "11"
    assert fleet.deaths == 1
    members[0].dies_at = 1
    with pytest.raises(ModelUnavailable, match="died"):
        await text_of(engine, greedy("a", temperature=1))
    members[0].dies_at = members[1].dies_at = 0
    with pytest.raises(ModelUnavailable):
        await text_of(engine, greedy("a", temperature=1))
    assert all(not load.held for load in engine.loads())


@pytest.mark.anyio
async def test_a_greedy_chat_survives_a_death_in_the_middle(tmp_path: Path) -> None:
    members = [Played(kept(tmp_path), dies_at=20), Played(kept(tmp_path))]
    fleet = Counted(INFO, members, reuse=False, options=Options(migrate=False))
    engine, _ = engine_of(fleet)
    assert (await text_of(engine, greedy("a", 60)))[0] == whole(60)
    assert fleet.deaths == 1 and fleet.moves == 1


def test_roles_without_states_are_refused_at_the_start() -> None:
    fleet = FleetSettings(instances=2, roles=("prefill", "decode"))
    check_names(Settings(fleet=fleet))
    with pytest.raises(SettingsInvalid, match="state_mib = 0"):
        check_names(Settings(fleet=fleet, state_mib=0))


@pytest.fixture(scope="module")
def settings(
    pulled: Callable[[str], str], own_engines: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    pulled(NAME)
    with real(tmp_path_factory.mktemp("engines"), ServeSettings(port=0, models=(NAME,), drain=2)) as made:
        yield made.model_copy(update={"fleet": FleetSettings(instances=2), "reuse_answers": False})


@pytest.fixture(scope="module")
def client(settings: Settings) -> Iterator[httpx.Client]:
    with served(settings) as found:
        found.timeout = httpx.Timeout(300)
        yield found


def body(text: str, tokens: int = 6, **more: Any) -> dict[str, Any]:
    said = [{"role": "user", "content": text}]
    return {"model": NAME, "messages": said, "max_tokens": tokens, "temperature": 0, **more}


def figures(client: httpx.Client, name: str) -> dict[str, float]:
    lines = [line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if line.startswith(name)]
    return {head: float(value) for head, value in lines}


@pytest.mark.small_model
@pytest.mark.timeout(900)
def test_real_engines_share_the_requests_of_a_server(client: httpx.Client, settings: Settings) -> None:
    asked = [body(f"Say {n}.", temperature=n % 2, seed=n, n=1 + n % 2) for n in range(8)]
    with ThreadPoolExecutor(8) as threads:
        answers = [answer.json() for answer in threads.map(lambda one: client.post(CHAT, json=one), asked)]
    assert [len(answer["choices"]) for answer in answers] == [1, 2] * 4
    assert all(answer["usage"]["completion_tokens"] == 6 for answer in answers[::2]), answers
    assert len(supervise.running(settings)) == 2
    shown = figures(client, "shuntyard_fleet_requests")
    assert len(shown) == 4 and any('instance="1"' in head and 'role="mixed"' in head for head in shown)
    assert sum(shown.values()) == 0
    assert figures(client, "shuntyard_engine_bytes").popitem()[1] > 150e6
    tool = {"type": "function", "function": {"name": "go", "parameters": {"type": "object", "properties": {}}}}
    called = client.post(CHAT, json=body("Go.", 40, tools=[tool], tool_choice="required")).json()
    assert called["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "go"
    long = client.post(CHAT, json=body("word " * 9000))
    assert long.status_code == 400 and '"long": "segments"' in long.json()["error"]["message"]


@pytest.mark.small_model
@pytest.mark.timeout(900)
def test_a_real_engine_that_is_killed_loses_no_greedy_answer(client: httpx.Client, settings: Settings) -> None:
    asked = body("Tell a long story about a bird.", 160)
    expected = client.post(CHAT, json=asked).json()["choices"][0]["message"]["content"]
    busy = None
    with client.stream("POST", CHAT, json={**asked, "stream": True}) as response:
        lines = (line for line in response.iter_lines() if line.startswith("data: {"))
        said = [json.loads(next(lines)[6:]) for _ in range(3)]
        busy = next(engine for engine in supervise.running(settings) if working(engine))
        os.kill(busy.engine_pid, signal.SIGKILL)
        said += [json.loads(line[6:]) for line in lines]
    text = "".join(choice["delta"].get("content") or "" for item in said for choice in item["choices"])
    assert text[:40] == expected[:40] and said[-1]["choices"][0]["finish_reason"] in ("length", "stop")
    assert len(text) > 0.5 * len(expected)
    assert figures(client, "shuntyard_fleet_failures").popitem()[1] == 1
    until(lambda: client.post(CHAT, json=body("Hi.", seed=3)).status_code == 200)
    until(lambda: not any(working(engine) for engine in supervise.running(settings)))


@pytest.mark.small_model
@pytest.mark.timeout(900)
def test_one_real_engine_reads_for_another(pulled: Callable[[str], str], own_engines: Path, tmp_path: Path) -> None:
    pulled(NAME)
    texts = [" ".join(f"Box {k * (n + 3)} stands in hall {k % 9}." for k in range(40)) for n in range(4)]
    roles = FleetSettings(instances=2, roles=("prefill", "decode"))
    with real(tmp_path / "engines", ServeSettings(port=0, models=(NAME,), drain=2)) as made:
        with served(made.model_copy(update={"fleet": roles})) as client, ThreadPoolExecutor(4) as threads:
            client.timeout = httpx.Timeout(300)
            answers = [answer.json() for answer in threads.map(lambda text: client.post(CHAT, json=body(text)), texts)]
            assert [answer["usage"]["completion_tokens"] for answer in answers] == [6] * 4
            assert figures(client, "shuntyard_fleet_moves").popitem()[1] >= 1, "reading holds up nobody who writes"
            assert any('role="prefill"' in head for head in figures(client, "shuntyard_fleet_requests"))


def working(engine: supervise.Running) -> bool:
    headers = {"Authorization": f"Bearer {engine.token}"}
    slots = httpx.get(f"{engine.url}/slots", headers=headers, trust_env=False, timeout=60).json()
    return any(slot["is_processing"] for slot in slots)
