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
from shuntyard.serving.knobs.switch import NEEDED, PROBE, Switch, Way, class_of
from shuntyard.serving.knobs.texts import Kind


def serve(
    switch: Switch,
    short: float,
    calls: int,
    *,
    long: float | None = None,
    kind: Kind = "plan",
    noise: float = 0.0,
    seed: int = 0,
) -> float:
    """Serve ``calls`` where speculation takes such shares of the time; returns the time spent over that without."""
    random = Random(seed)
    spent = usual = 0.0
    ratio: dict[Way, float] = {"off": 1.0, "short": short, "long": short if long is None else long}
    for _ in range(calls):
        tokens = random.randrange(20, 60)
        wave = 1 + noise * random.uniform(-1, 1)
        way = switch.choose(kind)
        seconds = tokens * 0.1 * wave * ratio[way]
        spent += seconds
        usual += tokens * 0.1 * wave
        switch.note(kind, way=way, tokens=tokens, accepted=0 if way == "off" else tokens // 2, seconds=seconds)
    return spent / usual


def test_it_speculates_where_that_wins_and_only_there() -> None:
    switch = Switch()
    assert serve(switch, 0.6, 200, kind="plan") < 0.7
    assert serve(switch, 1.15, 100, kind="chat") <= 1.03
    known = {item.kind: item for item in switch.figures()}
    assert known["plan"].way != "off" and known["chat"].way == "off"
    assert known["plan"].per_pass == pytest.approx(2.0, abs=0.1)
    assert known["plan"].seconds == pytest.approx({"off": 0.1, "short": 0.06, "long": 0.06})


@pytest.mark.parametrize(("short", "long", "way"), [(0.8, 0.5, "long"), (0.6, 1.3, "short"), (1.05, 0.7, "long")])
def test_each_class_goes_the_way_that_is_fastest_for_it(short: float, long: float, way: Way) -> None:
    switch = Switch()
    assert serve(switch, short, 300, long=long) < 1
    assert serve(switch, long, 300, long=short, kind="echo") < 1
    assert [item.way for item in switch.figures()] == [way, "short" if way == "long" else "long"]


@given(
    short=st.floats(0.4, 1.4),
    long=st.floats(0.4, 1.7),
    calls=st.integers(1, 300),
    noise=st.floats(0.0, 0.05),
    seed=st.integers(0, 99),
)
def test_it_never_costs_more_than_three_in_a_hundred(
    short: float, long: float, calls: int, noise: float, seed: int
) -> None:
    assert serve(Switch(), short, calls, long=long, noise=noise, seed=seed) <= 1.03


def test_the_first_calls_go_without_and_a_winner_is_checked_now_and_then() -> None:
    switch = Switch()
    ways: list[Way] = []
    took = {"off": 3.0, "short": 1.5, "long": 2.0}
    for _ in range(PROBE * 4):
        ways.append(switch.choose("json"))
        switch.note("json", way=ways[-1], tokens=30, accepted=10, seconds=took[ways[-1]])
    assert ways[:NEEDED] == ["off"] * NEEDED
    assert [ways[-PROBE:].count(way) for way in ("off", "short", "long")] == [1, PROBE - 2, 1]


def test_a_class_that_stops_winning_is_switched_off() -> None:
    switch = Switch()
    serve(switch, 0.5, 60)
    (before,) = switch.figures()
    assert before.way != "off"
    serve(switch, 1.2, 24)
    (after,) = switch.figures()
    assert after.way == "off"
    assert serve(switch, 1.2, 200) <= 1.03


def test_short_answers_teach_nothing() -> None:
    switch = Switch()
    for _ in range(50):
        assert switch.choose("chat") == "off"
        switch.note("chat", way="off", tokens=2, accepted=0, seconds=9.0)
    assert switch.figures()[0].seconds == {}


def test_what_one_process_learnt_the_next_one_knows() -> None:
    switch, other = Switch(), Switch()
    serve(switch, 0.6, 60)
    other.load(switch.dump())
    assert other.figures() == switch.figures() and other.dump() == switch.dump()
    for damaged in ("", "{", "[]", '{"plan": {}}', '{"plan": 3}', '{"plan": {"took": {"off": 1}}}'):
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

    async def second(way: Way) -> Model:
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
