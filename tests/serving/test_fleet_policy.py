"""Where requests of a fleet go, in plain values and in virtual time with simulated engines."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuntyard.serving.fleet import (
    Asked,
    Held,
    Load,
    Machine,
    Played,
    Rates,
    UrgentFirst,
    dispatch,
    gap,
    migration,
    moved,
    simulate,
    weigh,
)
from shuntyard.serving.schedule import Call, Dispatch

CONTEXT = 1000


@st.composite
def fleets(draw: st.DrawFn) -> list[Load]:
    loads, number = [], 0
    for _ in range(draw(st.integers(2, 5))):
        slots = draw(st.integers(1, 4))
        held = []
        for at in range(draw(st.integers(0, 7))):
            number += 1
            held.append(
                Held(
                    id=number,
                    tokens=draw(st.integers(1, CONTEXT)),
                    running=at < slots,
                    urgent=draw(st.booleans()),
                    movable=draw(st.integers(0, 4)) > 0,
                )
            )
        role = draw(st.sampled_from(["mixed", "decode", "prefill"]))
        loads.append(Load(slots, CONTEXT, tuple(held), role))
    return loads


@given(fleets())
def test_a_move_narrows_the_gap_loses_nothing_and_moves_come_to_an_end(loads: list[Load]) -> None:
    everybody = sorted(item.id for load in loads for item in load.held)
    for _ in range(200):
        move = migration(loads)
        if move is None:
            return
        before = loads
        item = next(item for item in before[move.source].held if item.id == move.id)
        loads = moved(before, move)
        assert item.movable
        assert sorted(item.id for load in loads for item in load.held) == everybody
        assert gap(loads) <= gap(before)
        pair = before[move.source], before[move.target]
        assert gap([loads[move.source], loads[move.target]]) < gap(pair)
        assert loads[move.target].open >= 0, "it can run there at once"
        assert "prefill" not in (pair[0].role, pair[1].role)
    raise AssertionError("moves go on for ever")


@given(fleets(), st.integers(1, CONTEXT))
def test_a_request_goes_where_it_leaves_most_room(loads: list[Load], tokens: int) -> None:
    item = Held(0, tokens)
    at = dispatch(loads, item)
    if any(load.open > 0 for load in loads):
        assert loads[at].open > 0
        assert loads[at].plus(item).freedom == max(load.plus(item).freedom for load in loads if load.open > 0)
    wanted = dispatch(loads, item, roles=("decode",))
    if any(load.role == "decode" for load in loads):
        assert loads[wanted].role == "decode"


def test_of_equal_instances_the_one_that_knows_the_prompt_is_taken() -> None:
    loads = [Load(3, CONTEXT)] * 3
    assert dispatch(loads, Held(0, 100), known=(0, 50, 20)) == 1
    busy = [Load(3, CONTEXT), Load(3, CONTEXT, (Held(1, 300),)), Load(3, CONTEXT)]
    assert dispatch(busy, Held(0, 100), known=(0, 50, 20)) == 2


def test_an_urgent_request_keeps_others_away() -> None:
    calm = Load(3, CONTEXT, (Held(1, 300),))
    urgent = Load(3, CONTEXT, (Held(2, 300, urgent=True),))
    assert urgent.freedom < calm.freedom
    assert dispatch([urgent, calm], Held(0, 100)) == 1
    waiting = Load(1, CONTEXT, (Held(1, 300), Held(2, 10, running=False)))
    assert waiting.freedom < 0, "one that waits uses a slot that is not there"


def test_urgent_calls_start_first_but_starve_nobody() -> None:
    dispatch = Dispatch(1, UrgentFirst(3.0), grace=0)
    calls = {name: Call(name, arrived=at, priority=p) for name, at, p in [("a", 1, 1), ("b", 2, 2), ("c", 3, 3)]}
    for call in calls.values():
        dispatch.submit(call)
    order = []
    while started := dispatch.starts(0.0):
        order.append(started[0][0].app)
        dispatch.end(started[0][0], 0.0)
    assert order == ["c", "a", "b"]
    old = Call("old", arrived=0, priority=1)
    dispatch.submit(old)
    for number in range(200):
        dispatch.submit(Call(f"urgent{number}", arrived=9.0 + number, priority=5))
    started_at = 0
    while started := dispatch.starts(0.0):
        if started[0][0] is old:
            break
        started_at += 1
        dispatch.end(started[0][0], 0.0)
    assert started_at == 128


def trace(seed: int, *, requests: int = 300, rate: float = 1.0, urgent: float = 0.1) -> list[Asked]:
    """Poisson arrivals, answers with a heavy tail."""
    chance, now, found = random.Random(seed), 0.0, []
    for _ in range(requests):
        now += chance.expovariate(rate)
        prompt, answer = (int(chance.paretovariate(1.1) * 60), int(chance.paretovariate(0.9) * 10))
        found.append(Asked(now, min(1500, prompt), min(1500, answer), urgent=chance.random() < urgent))
    return found


def p99(values: list[float]) -> float:
    return sorted(values)[int(0.99 * len(values))]


def seconds(played: Played, *, urgent: bool | None = None) -> list[float]:
    return [one.seconds for one in played.outcomes if urgent in (None, one.asked.urgent)]


@pytest.mark.parametrize("seed", range(2))
def test_the_tail_is_shorter_than_by_turns(seed: int) -> None:
    asked, machines = trace(seed, rate=1.5), [Machine()] * 4
    turns, moving = (simulate(asked, machines, way=way) for way in ("round_robin", "migrate"))
    assert p99(seconds(moving)) < 0.85 * p99(seconds(turns))
    assert sum(seconds(moving)) < 0.85 * sum(seconds(turns))
    for played in (turns, moving):
        assert [one.answers for one in played.outcomes] == [1] * len(asked)
    assert sum(one.moves for one in moving.outcomes) > 10
    assert all(after <= before for before, after in moving.gaps)


@pytest.mark.parametrize("seed", range(2))
def test_urgent_requests_of_a_busy_fleet_wait_less_than_they_would_as_ordinary_ones(seed: int) -> None:
    asked = trace(seed, rate=2.0)
    means = []
    for one in (asked, [replace(item, urgent=False) for item in asked]):
        played = simulate(one, [Machine()] * 4, way="migrate")
        firsts = [out.first for out, item in zip(played.outcomes, asked, strict=True) if item.urgent]
        means.append(sum(firsts) / len(firsts))
    assert means[0] < 0.8 * means[1]


def test_an_urgent_arrival_overtakes_the_queue() -> None:
    asked = [Asked(0.0, 100, 400) for _ in range(4)] + [Asked(0.1, 100, 50), Asked(0.2, 100, 50, urgent=True)]
    ordinary, urgent = simulate(asked, [Machine(slots=1)] * 2).outcomes[-2:]
    assert urgent.first < ordinary.first
    turns = simulate(asked, [Machine(slots=1)] * 2, way="round_robin").outcomes[-1]
    assert urgent.first < 0.6 * turns.first


def test_reading_apart_from_writing_is_better_for_unequal_machines_only() -> None:
    fast, cheap = Rates(prefill_rate=600, step=0.04, each=0.01), Rates(prefill_rate=80, step=0.02, each=0.002)
    asked = trace(1, requests=150, rate=0.7, urgent=0)
    mixed = simulate(asked, [Machine(6, costs=fast), Machine(6, costs=cheap)], way="dispatch")
    split = simulate(asked, [Machine(6, role="prefill", costs=fast), Machine(6, role="decode", costs=cheap)])
    assert sum(seconds(split)) < 0.5 * sum(seconds(mixed))
    assert p99([one.first for one in split.outcomes]) < 0.5 * p99([one.first for one in mixed.outcomes])
    assert p99([one.pace for one in split.outcomes]) < 0.5 * p99([one.pace for one in mixed.outcomes])
    assert [one.answers for one in split.outcomes] == [1] * len(asked)


@given(st.integers(1, 4000), st.integers(0, 3), st.floats(10, 1000), st.floats(10, 1000))
def test_a_transfer_is_weighed_by_what_it_takes_and_what_it_holds_up(
    tokens: int, running: int, here: float, there: float
) -> None:
    mine, theirs = Rates(prefill_rate=here), Rates(prefill_rate=there)
    weighed = weigh(tokens, here=mine, there=theirs, running=running)
    if running == 0 and there <= here:
        assert not weighed.pays, "with nobody to hold up, a transfer to a slower reader never pays"
    assert weighed.there >= theirs.prefill(tokens)
    more = weigh(tokens, here=mine, there=theirs, running=running + 1)
    assert more.pays or not weighed.pays
    queued = weigh(tokens, here=mine, there=theirs, running=running, ahead=1000)
    assert weighed.pays or not queued.pays
