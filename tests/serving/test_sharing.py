"""Prefixes, saved states and equal calls on a real engine: counts and texts, never times."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import pytest

from shuntyard import settings as settings_module
from shuntyard.benchmarks.sharing.engines import engine, model, states_in
from shuntyard.events import Event, Progress
from shuntyard.messages import Completion, Message, ModelRequest, Place
from shuntyard.serving import fetch, supervise
from shuntyard.serving.desk import Desk
from shuntyard.serving.leases import Leases
from shuntyard.serving.local import LocalModel
from shuntyard.serving.prompt import Prompt
from shuntyard.serving.schedule.dispatch import Call
from shuntyard.serving.schedule.states import StateIdentity, States
from shuntyard.serving.schedule.warmth import packed
from shuntyard.serving.source import LocalSource
from shuntyard.serving.supervise import Running
from shuntyard.settings import Settings

pytestmark = pytest.mark.anyio

NAME = "smollm2-135m"
RULES = "You are a careful agent.\n" + "\n".join(f"Tool {n}: reads table {n * 7}." for n in range(30))


def asked(task: str, tokens: int = 6) -> ModelRequest:
    said = (Message(role="system", content=RULES), Message(role="user", content=task))
    return ModelRequest(messages=said, max_tokens=tokens)


@pytest.fixture
def alone(pulled: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings whose engines and saved states no other test sees."""
    settings = settings_module.load({"threads": 2, "idle_minutes": 2})
    assert callable(pulled)
    pulled(NAME)
    monkeypatch.setenv("SHUNTYARD_ENGINES", str(tmp_path / "engines"))
    yield settings
    supervise.stop(settings)


async def together(model: LocalModel, requests: list[ModelRequest]) -> list[Completion]:
    answers: dict[int, Completion] = {}

    async def ask(n: int, request: ModelRequest) -> None:
        answers[n] = await model.complete(request)

    async with anyio.create_task_group() as group:
        for n, request in enumerate(requests):
            group.start_soon(ask, n, request)
    return [answers[n] for n in range(len(requests))]


def computed(answers: list[Completion]) -> int:
    return sum(answer.usage.prompt - answer.usage.cached for answer in answers)


@pytest.mark.small_model
async def test_a_prefix_is_computed_once_and_outlives_its_engine(alone: Settings) -> None:
    told: list[Event] = []
    first = await LocalSource(alone, told.append).open(NAME)
    answers = await together(first, [asked(f"What does tool {n} do?") for n in range(4)])
    total = answers[0].usage.prompt
    assert total > 300
    assert computed(answers) < total + 4 * 30, "four siblings compute their prefix once"
    assert len({answer.text for answer in answers}) > 1
    supervise.stop(alone)
    (state,) = (supervise.engines_folder(alone) / "states").glob("*.kv")
    assert state.parent.stat().st_mode & 0o077 == 0

    # A new engine and a new process's view of it.
    again = await (await LocalSource(alone, told.append).open(NAME)).complete(asked("What does tool 1 do?"))
    assert again.usage.prompt - again.usage.cached < 30
    assert again.text == answers[1].text
    assert not again.cached, "it was generated, on a state that was not computed"
    supervise.stop(alone)

    # Bytes that the engine would believe, and answer nonsense from.
    content = bytearray(state.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    state.write_bytes(content)
    mended = await (await LocalSource(alone, told.append).open(NAME)).complete(asked("What does tool 1 do?"))
    assert mended.usage.cached < 30
    assert mended.text == answers[1].text
    whats = [event.what for event in told if isinstance(event, Progress)]
    assert [what for what in whats if "damaged" in what]


async def test_what_waiting_siblings_have_in_common_is_computed_with_their_prefix() -> None:
    desk = Desk(slots=1, grace=0.0)
    prefix = list(range(300))
    first, *siblings = (Call(app="a", tokens=packed([*prefix, 7, 8, 9, n])) for n in range(3))
    stranger = Call(app="b", tokens=packed([1, 2, 3]))

    async def wait(call: Call) -> None:
        async with desk.scheduler.slot(call):
            pass

    async with anyio.create_task_group() as group, desk.scheduler.slot(first):
        assert desk.apart(first.tokens, 300) == 300, "nobody waits"
        for call in (*siblings, stranger, Call(app="c", tokens=packed([*prefix, 7, 8, 5]))):
            group.start_soon(wait, call)
            await anyio.wait_all_tasks_blocked()
            assert desk.apart(first.tokens, 300) == (302 if call.app == "c" else 303)


async def test_siblings_that_come_while_a_prefix_is_read_share_what_they_have_in_common(tmp_path: Path) -> None:
    identity = StateIdentity(model="m", engine="e", kv="f16/f16")
    desk = Desk(slots=1, grace=0.0, states=States(tmp_path, identity, most=1 << 20), piece=128)
    prefix = list(range(300))
    prompts = [Prompt(packed([*prefix, 7, 8, 9, n]), 300) for n in range(3)]
    first, *siblings = (Call(app="a", tokens=prompt.tokens) for prompt in prompts)
    reads: list[tuple[int, int]] = []

    async def wait(call: Call) -> None:
        async with desk.scheduler.slot(call):
            pass

    async def read(begin: int, end: int) -> None:
        if not reads:
            for call in siblings:
                group.start_soon(wait, call)
            await anyio.wait_all_tasks_blocked()
        reads.append((begin, end))

    engine = Running("k", "m", "m", "http://127.0.0.1:1", "", 512, 1, 1, 1.0, tmp_path)
    unsaved = httpx.MockTransport(lambda request: httpx.Response(500, text="no room"))
    async with (
        httpx.AsyncClient(transport=unsaved, base_url=engine.url) as client,
        anyio.create_task_group() as group,
        desk.scheduler.slot(first) as slot,
    ):
        assert await desk.prepare(client, engine, slot, prompts[0], read=read) == 303
    assert reads == [(0, 256), (256, 303)]


async def test_a_piece_lets_in_who_comes_but_waits_for_nobody_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shuntyard.serving.desk.SPAN", 5.0)
    desk, done = Desk(slots=2), list[str]()

    async def piece() -> None:
        await desk.let_in()
        done.append("piece")

    await piece()
    async with anyio.create_task_group() as group:
        with desk.entering() as begins:
            group.start_soon(piece)
            await anyio.wait_all_tasks_blocked()
            done.append("first token")
            begins()
            await anyio.wait_all_tasks_blocked()
            assert done == ["piece", "first token", "piece"]
    monkeypatch.setattr("shuntyard.serving.desk.SPAN", 0.01)
    with desk.entering():
        await piece()
    assert done[-1] == "piece"


def test_a_piece_is_halved_where_reading_it_takes_long() -> None:
    desk = Desk(slots=1, piece=256)
    assert desk.piece == 256
    for _ in range(20):
        desk.speeds.read(128, 128 * 0.016)
    assert desk.piece == 128
    for _ in range(20):
        desk.speeds.read(128, 128 * 0.004)
    assert desk.piece == 256


@pytest.mark.small_model
async def test_equal_calls_are_computed_once_and_survive_their_leader(alone: Settings) -> None:
    model = await LocalSource(alone).open(NAME)
    request = ModelRequest(messages=(Message(role="user", content="Say hello."),), max_tokens=8)
    answers = await together(model, [request] * 3)
    assert sorted(answer.cached for answer in answers) == [False, True, True]
    assert len({answer.text for answer in answers}) == 1
    shared = next(answer for answer in answers if answer.cached)
    assert shared.usage.cached == shared.usage.prompt and shared.usage.completion == 8
    pieces: list[str] = []
    kept = await model.complete(request.model_copy(update={"place": Place(run="r")}), on_text=pieces.append)
    assert kept.cached and kept.text == "".join(pieces) == answers[0].text
    other = await model.complete(request.model_copy(update={"max_tokens": 9}))
    assert not other.cached
    warm = await model.complete(request.model_copy(update={"temperature": 0.1}))
    assert not warm.cached

    long = ModelRequest(messages=(Message(role="user", content="Tell a story."),), max_tokens=40)
    got: list[Completion] = []
    leader = anyio.CancelScope()
    begun = anyio.Event()

    async def lead() -> None:
        with leader:
            await model.complete(long, on_text=lambda text: begun.set())

    async def follow() -> None:
        got.append(await model.complete(long))

    async with anyio.create_task_group() as group:
        group.start_soon(lead)
        await begun.wait()
        group.start_soon(follow)
        await anyio.sleep(0.3)
        leader.cancel()
    assert leader.cancelled_caught
    assert got[0].cached and got[0].usage.completion == 40


@pytest.mark.small_model
async def test_without_saved_states_siblings_share_a_slot(alone: Settings) -> None:
    settings = alone.model_copy(update={"state_mib": 0, "reuse_answers": False})
    model = await LocalSource(settings).open(NAME)
    answers = await together(model, [asked("What does tool 1 do?", 3)] * 3)
    assert computed(answers) < answers[0].usage.prompt + 3 * 30
    assert [answer.cached for answer in answers] == [False] * 3
    assert list((supervise.engines_folder(settings) / "states").iterdir()) == []


@pytest.mark.small_model
async def test_a_long_prompt_lets_an_earlier_application_pass_and_goes_on(alone: Settings, tmp_path: Path) -> None:
    (weights,) = fetch.ensure(NAME, alone)
    long = asked("What does tool 2 do?").model_copy(update={"place": Place(run="late", arrived=2.0)})
    short = ModelRequest(
        messages=(Message(role="user", content="Hi."),), max_tokens=2, place=Place(run="early", arrived=1.0)
    )
    with engine(weights, 2, str(tmp_path)) as one:
        opened = model(one, slots=1, states=states_in(tmp_path, weights))
        order: list[str] = []
        answers: list[Completion] = []

        async def ask() -> None:
            answers.append(await opened.complete(long))
            order.append("late")

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            begin = one.cpu()
            while one.cpu() - begin < 0.3:  # noqa: ASYNC110 - the engine's clock
                await anyio.sleep(0.02)
            await opened.complete(short)
            order.append("early")
        assert order == ["early", "late"]
        assert answers[0].usage.cached < 30, "all of it was computed, part of it before it was put off"
        assert (await opened.complete(long)).text == answers[0].text


async def test_a_slot_belongs_to_one_at_a_time(tmp_path: Path) -> None:
    mine, theirs = Leases(tmp_path, "k", 2), Leases(tmp_path, "k", 2)
    assert mine.take(0) and not theirs.take(0) and theirs.take(1)
    mine.give(0)
    assert theirs.take(0)
    theirs.give(0)
    theirs.give(1)
    assert mine.take(0), "its own again"
    (tmp_path / "k.slot0").unlink()
    assert theirs.take(0), "one that is not found any more keeps nobody out"
    mine.give(0)
    assert not mine.take(0)
    gone = Leases(tmp_path / "gone" / "file", "k", 1)
    (tmp_path / "gone").write_text("in the way")
    assert gone.take(0), "a call must not hang for a lock that cannot be made"
    gone.give(0)


def test_a_slot_is_free_when_its_holder_was_killed(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from shuntyard.serving.leases import Leases; "
    code += "print(Leases(Path(sys.argv[1]), 'k', 1).take(0), flush=True); input()"
    words = [sys.executable, "-P", "-c", code, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "True\n"
        mine = Leases(tmp_path, "k", 1)
        assert not mine.take(0)
        holder.kill()
        holder.wait()
        assert mine.take(0)
        mine.give(0)
