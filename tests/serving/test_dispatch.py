"""The queue in virtual time: order, bounds, and that no slot is idle or lost."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shuntyard.serving.schedule import AnySlot, App, ApplicationFirst, Call, Dispatch, RequestFifo, simulate

TIMES = st.integers(1, 20).map(float)
APPS = st.lists(
    st.builds(
        App,
        st.integers(0, 40).map(float),
        st.lists(st.lists(TIMES, min_size=1, max_size=4), min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=8,
)


def equal(apps: int, steps: int) -> list[App]:
    return [App(0.0, [[1.0]] * steps) for _ in range(apps)]


@pytest.mark.parametrize(("apps", "steps"), [(8, 3), (2, 5), (5, 1), (20, 4)])
def test_equal_applications_follow_the_formula(apps: int, steps: int) -> None:
    first = simulate(equal(apps, steps), slots=1, order=ApplicationFirst())
    fifo = simulate(equal(apps, steps), slots=1, order=RequestFifo())
    assert first.mean == steps * (apps + 1) / 2
    assert fifo.mean == (steps - 1) * apps + (apps + 1) / 2


@given(st.integers(1, 10), st.integers(1, 6), st.integers(1, 4))
def test_application_first_is_never_worse_for_equal_steps(apps: int, steps: int, slots: int) -> None:
    first = simulate(equal(apps, steps), slots=slots, order=ApplicationFirst())
    fifo = simulate(equal(apps, steps), slots=slots, order=RequestFifo())
    assert first.mean <= fifo.mean + 1e-9
    assert max(first.completions) <= max(fifo.completions) + steps


@given(APPS, st.integers(1, 3), st.sampled_from([ApplicationFirst, RequestFifo]))
@settings(deadline=None)
def test_work_is_conserved_and_all_of_it_done(
    apps: list[App], slots: int, order: type[ApplicationFirst | RequestFifo]
) -> None:
    played = simulate(apps, slots=slots, order=order())
    calls = [took for app in apps for stage in app.stages for took in stage]
    assert len(played.starts) == len(calls)
    assert all(completion > 0 for completion in played.completions)
    ends: list[float] = []
    for app, completion in zip(apps, played.completions, strict=True):
        assert completion >= sum(max(stage) for stage in app.stages) - 1e-9
        ends.append(app.arrives + completion)
    # One server that is never idle with work before it: busy from any arrival until all that came is done.
    if slots == 1:
        free = 0.0
        for app in sorted(apps, key=lambda app: app.arrives):
            free = max(free, app.arrives) + sum(map(sum, app.stages))
        assert max(ends) == free


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=60),
    st.integers(1, 2),
    st.integers(0, 5),
)
def test_no_call_is_overtaken_more_often_than_stated(
    arrivals: list[tuple[int, int]], slots: int, overtakes: int
) -> None:
    """An adversary submits calls of ever earlier applications while slots come free one by one."""
    dispatch = Dispatch(slots, ApplicationFirst(overtakes=overtakes), grace=0)
    turns: dict[Call, int] = {}
    started: list[Call] = []
    running: list[Call] = []

    def pump(now: float) -> None:
        for call, _ in dispatch.starts(now):
            started.append(call)
            running.append(call)

    for turn, (gap, app) in enumerate(arrivals):
        call = Call(f"app{app}", arrived=app)
        turns[call] = turn
        dispatch.submit(call)
        pump(turn)
        if gap == 0 and running:
            dispatch.end(running.pop(0), turn)
            pump(turn)
    while running:
        dispatch.end(running.pop(0), 1000)
        pump(1000)
    assert len(started) == len(turns)
    for place, call in enumerate(started):
        assert sum(turns[earlier] > turns[call] for earlier in started[:place]) <= overtakes


@given(st.lists(st.sampled_from(["submit", "end", "drop"]), max_size=60), st.integers(1, 3), st.data())
def test_withdrawing_anywhere_loses_no_slot(actions: list[str], slots: int, data: st.DataObject) -> None:
    dispatch = Dispatch(slots, ApplicationFirst(), grace=0)
    alive: list[Call] = []
    running: set[Call] = set()
    for now, action in enumerate(actions):
        if action == "submit":
            call = Call(f"app{data.draw(st.integers(0, 3))}", arrived=now)
            dispatch.submit(call)
            alive.append(call)
        else:
            pool = [call for call in alive if (call in running) == (action == "end")]
            if not pool:
                continue
            call = data.draw(st.sampled_from(pool))
            dispatch.end(call, now)
            alive.remove(call)
            running.discard(call)
        started = dispatch.starts(now)
        running.update(call for call, _ in started)
        assert len({slot for _, slot in started}) == len(started)
        assert dispatch.running == len(running) <= slots
        assert dispatch.waiting == 0 or dispatch.running == slots
    for call in alive:
        dispatch.end(call, 0)
    probes = [Call(f"probe{n}") for n in range(slots)]
    for probe in probes:
        dispatch.submit(probe)
    assert sorted(slot for _, slot in dispatch.starts(0)) == list(range(slots))


def test_within_an_application_the_critical_path_goes_first() -> None:
    dispatch = Dispatch(1, ApplicationFirst(), grace=0)
    busy = Call("other", arrived=0)
    leaf, path = Call("app", arrived=1, priority=1), Call("app", arrived=1, priority=5)
    dispatch.submit(busy)
    assert [call for call, _ in dispatch.starts(0)] == [busy]
    dispatch.submit(leaf)
    dispatch.submit(path)
    dispatch.end(busy, 1)
    assert [call for call, _ in dispatch.starts(1)] == [path]


def test_a_join_is_not_behind_the_waiting_calls_of_later_applications() -> None:
    apps = [App(0.0, [[1.0], [1.0]]), *(App(0.5, [[10.0] * 5]) for _ in range(4))]
    fifo = simulate(apps, slots=1, order=RequestFifo())
    first = simulate(apps, slots=1, order=ApplicationFirst(), grace=0.1)
    assert first.completions[0] == 2.0
    assert fifo.completions[0] > 200.0


def test_an_application_that_had_its_share_lets_others_pass() -> None:
    apps = [App(0.0, [[10.0] * 60]), App(1.0, [[10.0]])]
    fair = simulate(apps, slots=1, order=ApplicationFirst(quantum=100.0))
    greedy = simulate(apps, slots=1, order=ApplicationFirst(quantum=1e9, overtakes=10**6))
    assert greedy.completions[1] > 590
    assert fair.completions[1] <= 100 + 2 * 10
    assert fair.completions[0] == 610


def test_a_slot_waits_a_moment_for_the_next_step() -> None:
    """With a client in between, application-first is worth nothing unless slots wait for it."""
    deceived = simulate(equal(8, 3), slots=1, order=ApplicationFirst(), think=0.01, grace=0.0)
    waited = simulate(equal(8, 3), slots=1, order=ApplicationFirst(), think=0.01, grace=0.03)
    assert waited.mean < 1.02 * 13.5
    assert deceived.mean >= 14.5, "two applications take turns"


def test_a_slot_is_not_held_for_one_that_never_comes_nor_against_one_that_goes_first() -> None:
    dispatch = Dispatch(1, ApplicationFirst(), grace=0.5)
    first, later = Call("first", arrived=0, follows=True), Call("later", arrived=1)
    dispatch.submit(first)
    dispatch.starts(0.0)
    dispatch.submit(later)
    dispatch.end(first, 1.0)
    assert dispatch.starts(1.0) == []
    assert dispatch.wakes(1.0) == 1.5
    earlier = Call("earlier", arrived=-1)
    dispatch.submit(earlier)
    assert dispatch.starts(1.1) == [(earlier, 0)]
    dispatch.end(earlier, 1.2)
    assert dispatch.starts(1.5) == [(later, 0)]
    assert dispatch.wakes(1.5) is None


def test_a_slot_is_held_while_the_next_call_is_being_prepared() -> None:
    dispatch = Dispatch(1, ApplicationFirst(), grace=0.1)
    first, later = Call("first", arrived=0, follows=True), Call("later", arrived=1)
    dispatch.submit(first)
    dispatch.submit(later)
    dispatch.starts(0.0)
    dispatch.end(first, 1.0)
    dispatch.expect("first")
    assert dispatch.starts(2.0) == []
    assert dispatch.wakes(2.0) is None, "it is told when that ends"
    dispatch.expected("first")
    assert dispatch.starts(2.0) == [(later, 0)]


def test_a_call_is_outranked_by_earlier_applications_only_and_only_without_a_free_slot() -> None:
    dispatch = Dispatch(1, ApplicationFirst(), grace=0)
    late, later, early = Call("late", arrived=5), Call("later", arrived=6), Call("early", arrived=1)
    dispatch.submit(late)
    dispatch.starts(0)
    assert not dispatch.outranked(late)
    dispatch.submit(later)
    assert not dispatch.outranked(late)
    dispatch.submit(early)
    assert dispatch.outranked(late)
    dispatch.end(early, 1)
    assert not dispatch.outranked(late)


class Stubborn(AnySlot):
    """Slots that others have for a while."""

    def __init__(self) -> None:
        self.taken = {0, 1}

    def choose(self, call: Call, free: object) -> int | None:
        return next((slot for slot in itertools.chain(free) if slot not in self.taken), None)  # type: ignore[call-overload]


def test_slots_that_others_have_are_asked_for_again() -> None:
    placement = Stubborn()
    dispatch = Dispatch(2, ApplicationFirst(), placement, grace=0)
    call = Call("app")
    dispatch.submit(call)
    assert dispatch.starts(0.0) == []
    wakes = dispatch.wakes(0.0)
    assert wakes is not None and 0 < wakes <= 0.1
    placement.taken = {0}
    assert dispatch.starts(wakes) == [(call, 1)]
    assert dispatch.wakes(wakes) is None
