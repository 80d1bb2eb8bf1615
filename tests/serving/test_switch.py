from random import Random

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuntyard.errors import ModelUnavailable
from shuntyard.messages import Message, ModelRequest
from shuntyard.protocols import Model
from shuntyard.serving import ScriptedModel
from shuntyard.serving.knobs.speculating import SpeculatingModel
from shuntyard.serving.knobs.switch import NEEDED, PROBE, Switch, class_of
from shuntyard.serving.knobs.texts import Kind


def serve(switch: Switch, ratio: float, calls: int, *, kind: Kind = "plan", noise: float = 0.0, seed: int = 0) -> float:
    """Serve ``calls`` where speculation takes ``ratio`` of the time; returns the time spent over that without."""
    random = Random(seed)
    spent = usual = 0.0
    for _ in range(calls):
        tokens = random.randrange(20, 60)
        wave = 1 + noise * random.uniform(-1, 1)
        on = switch.choose(kind)
        seconds = tokens * 0.1 * wave * (ratio if on else 1.0)
        spent += seconds
        usual += tokens * 0.1 * wave
        switch.note(kind, on=on, tokens=tokens, accepted=tokens // 2 if on else 0, seconds=seconds)
    return spent / usual


def test_it_speculates_where_that_wins_and_only_there() -> None:
    switch = Switch()
    assert serve(switch, 0.6, 100, kind="plan") < 0.7
    assert serve(switch, 1.15, 100, kind="chat") <= 1.03
    known = {item.kind: item for item in switch.figures()}
    assert known["plan"].speculates and not known["chat"].speculates
    assert known["plan"].per_pass == pytest.approx(2.0, abs=0.1)
    assert known["plan"].on == pytest.approx(0.06) and known["plan"].off == pytest.approx(0.1)


@given(ratio=st.floats(0.4, 1.4), calls=st.integers(1, 300), noise=st.floats(0.0, 0.05), seed=st.integers(0, 99))
def test_it_never_costs_more_than_three_in_a_hundred(ratio: float, calls: int, noise: float, seed: int) -> None:
    assert serve(Switch(), ratio, calls, noise=noise, seed=seed) <= 1.03


def test_the_first_calls_go_without_and_a_winner_is_checked_now_and_then() -> None:
    switch = Switch()
    ways = []
    for _ in range(PROBE * 4):
        ways.append(switch.choose("json"))
        switch.note("json", on=ways[-1], tokens=30, accepted=10, seconds=1.5 if ways[-1] else 3.0)
    assert ways[:NEEDED] == [False] * NEEDED
    assert ways[-PROBE:].count(False) == 1


def test_a_class_that_stops_winning_is_switched_off() -> None:
    switch = Switch()
    serve(switch, 0.5, 60)
    (before,) = switch.figures()
    assert before.speculates
    serve(switch, 1.2, 12)
    (after,) = switch.figures()
    assert not after.speculates
    assert serve(switch, 1.2, 200) <= 1.03


def test_short_answers_teach_nothing() -> None:
    switch = Switch()
    for _ in range(50):
        assert not switch.choose("chat")
        switch.note("chat", on=False, tokens=2, accepted=0, seconds=9.0)
    assert switch.figures()[0].off is None


def test_what_one_process_learnt_the_next_one_knows() -> None:
    switch, other = Switch(), Switch()
    serve(switch, 0.6, 60)
    other.load(switch.dump())
    assert other.figures() == switch.figures() and other.dump() == switch.dump()
    for damaged in ("", "{", "[]", '{"plan": {}}', '{"plan": 3}'):
        other.load(damaged)
    assert other.figures() == switch.figures()


def asks(text: str, **more: object) -> ModelRequest:
    return ModelRequest.model_validate({"messages": (Message(role="user", content=text),), **more})


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (asks("Plan this.", role="compile", grammar="root ::= x"), "plan"),
        (asks("Again.", role="repair"), "plan"),
        (asks("Fill this.", json_schema={"type": "object"}), "json"),
        (asks("Choose.", grammar='root ::= "a" | "b"'), "json"),
        (asks("Rename x:\n```python\nx = 1\n```"), "echo"),
        (asks("Summarise: " + "word " * 200, role="join"), "echo"),
        (asks("Hello."), "chat"),
    ],
)
def test_the_class_is_what_the_request_says(request_: ModelRequest, kind: Kind) -> None:
    assert class_of(request_) == kind


@pytest.mark.anyio
@pytest.mark.parametrize("starts", [True, False])
async def test_calls_at_once_open_one_engine_and_none_fails_when_it_does_not_start(starts: bool) -> None:
    opened: list[Model] = []
    switch = Switch()
    serve(switch, 0.5, 40, kind="chat")

    async def second() -> Model:
        await anyio.lowlevel.checkpoint()
        opened.append(ScriptedModel(["guessed"] * 3))
        if not starts:
            raise ModelUnavailable("no memory is left; stop something.")
        return opened[0]

    model = SpeculatingModel(ScriptedModel(["plain"] * 3), second, switch)
    texts: list[str] = []

    async def ask() -> None:
        texts.append((await model.complete(asks("Hello."))).text)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(ask)
    assert len(opened) == 1
    assert texts == ["guessed" if starts else "plain"] * 3
