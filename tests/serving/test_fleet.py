"""A fleet: what moves, what stays, and what happens when an engine or a move fails."""

import os
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from shuntyard import settings as settings_module
from shuntyard.benchmarks.sharing.engines import CONTEXT, request, words
from shuntyard.errors import ModelUnavailable, SettingsInvalid, StateRefused
from shuntyard.messages import Completion, Message, ModelInfo, ModelRequest, Place
from shuntyard.serving import supervise
from shuntyard.serving.answer import Answer
from shuntyard.serving.desk import Desk
from shuntyard.serving.fleet import Fleet, Member, Options, Rates, Role, UrgentFirst
from shuntyard.serving.fleet.member import Leaving, Traveller
from shuntyard.serving.prompt import Prompt
from shuntyard.serving.schedule import Call, StateIdentity, States, packed
from shuntyard.serving.source import LocalSource
from shuntyard.serving.supervise import Running

pytestmark = pytest.mark.anyio

INFO = ModelInfo(name="m", context=CONTEXT)
NAME = "smollm2-135m"


async def nowhere(distrust: bool) -> Running:
    raise AssertionError("nothing is connected")


class Played(Member):
    """An instance that writes "0 ", "1 ", … as slowly as told, and knows what it was given."""

    def __init__(self, states: States | None, *, slots: int = 2, pace: float = 0.001, dies_at: int = 10**9) -> None:
        super().__init__(INFO, nowhere, desk=Desk(slots=slots, states=states, order=UrgentFirst(5.0)), slots=slots)
        self.pace = pace
        self.dies_at = dies_at
        self.saves = True
        self.begun: list[tuple[str, int]] = []

    async def serve(self, call: Call, request: ModelRequest, prompt: Prompt, answer: Traveller) -> None:
        await self.desk.scheduler.run(call, lambda slot: self._write(call, request, prompt, answer))

    async def _write(self, call: Call, request: ModelRequest, prompt: Prompt, answer: Traveller) -> None:
        answer.waiting = False
        begun = len(answer.tokens)
        self.begun.append((call.app, begun))
        timings = {"cache_n": begun, "prompt_n": 1}
        for number in range(begun, request.max_tokens):
            await anyio.sleep(self.pace)
            if number >= self.dies_at:
                raise ModelUnavailable("the engine has died")
            event = {"content": f"{number} ", "tokens": [number], "tokens_predicted": number - begun + 1}
            try:
                answer.take(event | {"timings": timings})
            except Leaving:
                answer.left()
                raise Leaving(kept=self.saves) from None
        made = request.max_tokens - begun
        answer.take({"content": "", "stop": True, "stop_type": "limit", "tokens_predicted": made, "timings": timings})


class Stub(Fleet):
    """A fleet whose prompts are given."""

    async def _prompt(self, messages: object, leading: int | None = None) -> Prompt:
        return Prompt(packed(range(100)), 0)


def kept(folder: Path, **other: str) -> States:
    identity = StateIdentity(model="m", engine="e", kv="f16/f16")
    return States(folder, identity.model_copy(update=other), most=1 << 20)


def asked(name: str, tokens: int = 40, *, priority: float = 0.0) -> ModelRequest:
    place = Place(run=name, arrived=1.0, priority=priority)
    return ModelRequest(messages=(Message(role="user", content=name),), max_tokens=tokens, place=place)


async def all_of(fleet: Fleet, requests: list[ModelRequest]) -> tuple[list[Completion], list[list[str]]]:
    answers: dict[int, Completion] = {}
    heard: list[list[str]] = [[] for _ in requests]

    async def ask(n: int, request: ModelRequest) -> None:
        answers[n] = await fleet.complete(request, on_text=heard[n].append)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            for n, one in enumerate(requests):
                group.start_soon(ask, n, one)
    return [answers[n] for n in range(len(requests))], heard


def whole(tokens: int) -> str:
    return "".join(f"{number} " for number in range(tokens))


async def test_answers_move_to_where_room_is_and_stay_whole(tmp_path: Path) -> None:
    members = [Played(kept(tmp_path)) for _ in range(2)]
    fleet = Stub(INFO, members, reuse=False)
    # Long and short ones by turns: the short ones end, and leave one instance empty.
    requests = [asked(f"r{n}", 150 if n in (0, 1) else 20 + n) for n in range(8)]
    members[0].pace = 0.004
    answers, heard = await all_of(fleet, requests)
    for sent, answer, pieces in zip(requests, answers, heard, strict=True):
        assert answer.text == "".join(pieces) == whole(sent.max_tokens)
        assert answer.usage.completion == sent.max_tokens
        assert answer.usage.prompt == 100
        assert answer.finish == "length"
    assert all(not load.held for load in fleet.loads())
    assert all(member.desk.scheduler.running == 0 for member in members)


async def test_a_running_answer_moves_off_a_crowded_instance(tmp_path: Path) -> None:
    members = [Played(kept(tmp_path)), Played(kept(tmp_path))]
    fleet = Stub(INFO, members, reuse=False)
    # The second and fourth go to instance 1 and are short.
    requests = [asked("a", 300), asked("b", 8), asked("c", 300), asked("d", 8)]
    answers, _ = await all_of(fleet, requests)
    assert [answer.text for answer in answers] == [whole(request.max_tokens) for request in requests]
    (journey,) = fleet.journeys
    assert journey.instances == (0, 1)
    assert journey.parts[1].known > 0 and journey.parts[1].computed == 1
    still = Stub(INFO, members, reuse=False, options=Options(migrate=False))
    await all_of(still, requests)
    assert not still.journeys


async def test_an_answer_whose_state_is_not_saved_goes_on_where_it_is(tmp_path: Path) -> None:
    members = [Played(kept(tmp_path)), Played(kept(tmp_path))]
    members[0].saves = members[1].saves = False
    fleet = Stub(INFO, members, reuse=False)
    requests = [asked("a", 200), asked("b", 8), asked("c", 200), asked("d", 8)]
    answers, heard = await all_of(fleet, requests)
    assert ["".join(pieces) for pieces in heard] == [whole(request.max_tokens) for request in requests]
    assert [answer.usage.completion for answer in answers] == [200, 8, 200, 8]
    assert fleet.journeys and all(journey.instances == (0, 0) for journey in fleet.journeys), "one try each"


async def test_answers_of_an_engine_that_dies_go_on_elsewhere(tmp_path: Path) -> None:
    members = [Played(kept(tmp_path), dies_at=5), Played(kept(tmp_path))]
    fleet = Stub(INFO, members, reuse=False)
    answers, heard = await all_of(fleet, [asked("a"), asked("b")])
    assert ["".join(pieces) for pieces in heard] == [answer.text for answer in answers] == [whole(40)] * 2
    assert ("a", 5) in members[1].begun
    # The text of one with a grammar does not follow from its tokens alone.
    drawn = asked("c").model_copy(update={"grammar": "root ::= [0-9 ]+"})
    with pytest.raises(ModelUnavailable):
        await fleet.complete(drawn)
    members[1].dies_at = 3
    with pytest.raises(ModelUnavailable):
        await fleet.complete(asked("d"))
    assert all(not load.held for load in fleet.loads())


async def test_a_waiting_call_goes_where_a_slot_gets_free(tmp_path: Path) -> None:
    members = [Played(kept(tmp_path), slots=1, pace=0.005), Played(kept(tmp_path), slots=1, pace=0.0005)]
    fleet = Stub(INFO, members, reuse=False)
    drawn = {"grammar": "root ::= [0-9 ]+"}
    requests = [asked(f"r{n}", 40).model_copy(update=drawn) for n in range(6)]
    answers, _ = await all_of(fleet, requests)
    assert {answer.text for answer in answers} == {whole(40)}
    assert len(members[1].begun) > len(members[0].begun)
    assert len(members[0].begun) + len(members[1].begun) == 6, "each was begun once"
    assert not fleet.journeys


async def test_an_urgent_call_overtakes_those_that_wait(tmp_path: Path) -> None:
    member = Played(kept(tmp_path), slots=1)
    fleet = Stub(INFO, [member], reuse=False, options=Options(urgent=5.0))
    await all_of(fleet, [asked("a"), asked("b"), asked("c"), asked("urgent", priority=5)])
    order = [name for name, _ in member.begun]
    assert order.index("urgent") <= 1


def test_an_answer_leaves_only_where_no_text_is_held_back() -> None:
    heard: list[str] = []
    answer = Traveller(Answer(0.0, heard.append), most=20, movable=True)

    def take(text: str, tokens: list[int], told: int) -> None:
        answer.take({"content": text, "tokens": tokens, "tokens_predicted": told})

    take("a", [1], 1)
    answer.leave = True
    # What may become a stop word is held back, though its token is told.
    take("", [2], 2)
    with pytest.raises(Leaving):
        take("bc", [3], 3)
    answer.left()
    answer.leave = True
    # Half a character: nothing comes for its first token, not even the token.
    take("ë", [5], 2)
    take("d", [6], 3)
    assert "".join(heard) == "abcëd"
    assert not answer.resumable, "a token of it is not known"
    still = Traveller(Answer(0.0, None), most=20, movable=False)
    still.leave = True
    still.take({"content": "a", "tokens": [1], "tokens_predicted": 1})
    last = Traveller(Answer(0.0, None), most=1, movable=True)
    last.leave = True
    last.take({"content": "a", "tokens": [1], "tokens_predicted": 1})


async def test_an_engine_that_cannot_be_had_is_passed_over(tmp_path: Path) -> None:
    async def broken(distrust: bool) -> Running:
        raise ModelUnavailable("it does not start")

    found = object()

    async def there(distrust: bool) -> object:
        return found

    members = [Played(kept(tmp_path)), Played(kept(tmp_path))]
    members[0]._connect = broken
    members[1]._connect = there  # type: ignore[assignment]
    fleet = Fleet(INFO, members)
    assert await fleet._connect(False) is found
    members[1]._connect = broken
    with pytest.raises(ModelUnavailable):
        await fleet._connect(False)


async def test_calls_may_be_sent_off_before_an_engine_is_stopped(tmp_path: Path) -> None:
    members = [Played(kept(tmp_path)), Played(kept(tmp_path))]
    fleet = Stub(INFO, members, reuse=False, options=Options(migrate=False))
    sent: list[int] = []

    async def send() -> None:
        await anyio.sleep(0.02)
        sent.append(fleet.send(1))

    async with anyio.create_task_group() as group:
        group.start_soon(send)
        answers, _ = await all_of(fleet, [asked("a", 100), asked("b", 100), asked("c", 100)])
    assert [answer.text for answer in answers] == [whole(100)] * 3
    assert sent == [2] and {journey.instances for journey in fleet.journeys} == {(0, 1)}


async def test_giving_a_call_up_leaves_nothing_behind(tmp_path: Path) -> None:
    members = [Played(kept(tmp_path)), Played(kept(tmp_path))]
    fleet = Stub(INFO, members, reuse=False)
    with anyio.move_on_after(0.02):
        await fleet.complete(asked("a", 1900))
    assert all(not load.held for load in fleet.loads())
    assert [member.desk.scheduler.running for member in members] == [0, 0]


@pytest.mark.parametrize("other", [{"model": "n"}, {"engine": "f"}, {"kv": "q8_0/q8_0"}])
def test_instances_that_cannot_read_each_other_are_refused(tmp_path: Path, other: dict[str, str]) -> None:
    with pytest.raises(StateRefused, match="instance 1") as refused:
        Fleet(INFO, [Played(kept(tmp_path)), Played(kept(tmp_path, **other))])
    assert repr(next(iter(other.values()))) in str(refused.value)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"instances": 0}, "fleet.instances = 0"),
        ({"instances": 2, "roles": ["prefill"]}, "name one for each"),
        ({"instances": 1, "roles": ["prefill"]}, "nobody writes answers"),
        ({"urgent": -1}, "fleet.urgent = -1"),
        ({"roles": ["reader"]}, "'reader'"),
    ],
)
def test_wrong_settings_name_the_field_and_the_value(table: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsInvalid) as wrong:
        settings_module.load({"fleet": table})
    assert words in str(wrong.value)
    assert wrong.value.exit_code == 2


@pytest.mark.small_model
async def test_answers_of_real_engines_move_and_their_text_does_not_change(
    pulled: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHUNTYARD_ENGINES", str(tmp_path))
    settings = settings_module.load({"threads": 2, "fleet": {"instances": 2}, "reuse_answers": False})
    try:
        fleet = await LocalSource(settings).open(pulled(NAME))
        assert isinstance(fleet, Fleet) and len(supervise.running(settings)) == 2
        await _moves(fleet)
        assert not any(name.endswith(".kv") for name in os.listdir(tmp_path / "states")), "what was carried is gone"
        await _is_handed_over(fleet)
    finally:
        assert len(supervise.stop(settings)) == 2


async def _moves(fleet: Fleet) -> None:
    one = request(words(60), "Tell a long story about a bird.", 16)
    # Alone, on an engine that is as cold as the other one: how a prompt was read moves the last bits of its floats.
    expected = await Fleet(fleet.info, [again(fleet.members[1])], reuse=False).complete(one)
    heard: list[str] = []

    def hear(text: str) -> None:
        heard.append(text)
        if len(heard) == 6:
            assert fleet.send(1) == 1

    answer = await fleet.complete(one, on_text=hear)
    assert answer.text == expected.text == "".join(heard)
    assert answer.usage.completion == 16
    (journey,) = fleet.journeys
    assert journey.instances == (0, 1)
    assert journey.parts[1].computed == 1, "what was computed is not computed again"
    assert journey.parts[1].known >= answer.usage.prompt


async def _is_handed_over(fleet: Fleet) -> None:
    """A prompt is read by one engine and answered by the other, also with a grammar."""
    one = request("", words(60, seed="book"), 8).model_copy(update={"json_schema": {"enum": ["bird", "fish"]}})
    expected = await Fleet(fleet.info, [again(fleet.members[1])], reuse=False).complete(one)
    reader, writer = again(fleet.members[0], "prefill"), again(fleet.members[1], "decode")
    writer.costs = Rates(prefill_rate=1)
    split = Fleet(fleet.info, [reader, writer], reuse=False)
    answer = await split.complete(one)
    (journey,) = split.journeys
    assert journey.instances == (0, 1)
    assert journey.parts[1].computed == 1 and journey.parts[1].known == answer.usage.prompt - 1
    assert answer.text == expected.text


def again(member: Member, role: Role = "mixed") -> Member:
    """The same engine, of which nothing is known."""
    return Member(member.info, member._connect, desk=Desk(slots=3, states=member.desk.states), slots=3, role=role)
