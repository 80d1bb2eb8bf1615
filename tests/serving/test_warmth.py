"""Which slot takes which prompt, and which calls wait for a sibling."""

from hypothesis import given
from hypothesis import strategies as st

from shuntyard.serving.schedule import ApplicationFirst, Call, Dispatch, Warmth, packed, shared
from shuntyard.serving.schedule.warmth import WORTH, unpacked

TOKENS = st.lists(st.integers(0, 2**31 - 1), max_size=40)
PREFIX = list(range(1000, 1000 + 2 * WORTH))


def call(*rest: int, prefix: list[int] = PREFIX) -> Call:
    return Call("app", tokens=packed([*prefix, *rest]))


@given(TOKENS, TOKENS, TOKENS)
def test_shared_counts_leading_tokens(head: list[int], a: list[int], b: list[int]) -> None:
    left, right = head + a, head + b
    expected = next(
        (n for n, (x, y) in enumerate(zip(left, right, strict=False)) if x != y), min(len(left), len(right))
    )
    assert shared(packed(left), packed(right)) == expected
    assert unpacked(packed(left)) == left


def test_a_burst_computes_its_prefix_on_one_slot() -> None:
    saved: list[bytes] = []
    warmth = Warmth(3, saved=lambda tokens: max((shared(one, tokens) for one in saved), default=0))
    dispatch = Dispatch(3, ApplicationFirst(), warmth, grace=0)
    calls = [call(n) for n in range(8)]
    for one in calls:
        dispatch.submit(one)
    ((leader, _),) = dispatch.starts(0)
    assert leader is calls[0]
    stranger = call(prefix=list(range(2 * WORTH)))
    dispatch.submit(stranger)
    ((other, _),) = dispatch.starts(0)
    assert other is stranger, "who shares nothing does not wait"
    saved.append(packed(PREFIX))
    ((sibling, _),) = dispatch.starts(1)
    assert sibling is calls[1]


def test_without_saved_states_siblings_follow_one_another_on_one_slot() -> None:
    warmth = Warmth(3)
    dispatch = Dispatch(3, ApplicationFirst(), warmth, grace=0)
    calls = [call(n) for n in range(4)]
    for one in calls:
        dispatch.submit(one)
    used = []
    for now in range(4):
        ((one, slot),) = dispatch.starts(now)
        used.append(slot)
        warmth.note(slot, one.tokens)
        dispatch.end(one, now)
    assert used == [used[0]] * 4


def test_a_failed_leader_blocks_nobody() -> None:
    warmth = Warmth(2)
    dispatch = Dispatch(2, ApplicationFirst(), warmth, grace=0)
    first, second = call(1), call(2)
    dispatch.submit(first)
    dispatch.submit(second)
    assert len(dispatch.starts(0)) == 1
    dispatch.end(first, 1)
    assert [one for one, _ in dispatch.starts(1)] == [second]


def test_short_prompts_never_wait_for_one_another() -> None:
    warmth = Warmth(2)
    same = packed(PREFIX[: WORTH - 1])
    assert warmth.choose(Call("a", tokens=same), [0, 1]) is not None
    assert not warmth.blocked(Call("b", tokens=same))


def test_the_nearest_prompt_wins_then_the_slot_unused_for_longest() -> None:
    warmth = Warmth(3)
    for tokens, slot in (([1, 2], 0), ([3, 4], 1), ([5, 6], 2)):
        assert warmth.choose(Call("a", tokens=packed(tokens)), [slot]) == slot
        warmth.note(slot, packed(tokens))
        warmth.ended(slot)
    assert warmth.choose(Call("a", tokens=packed([3, 9])), [0, 1, 2]) == 1
    warmth.ended(1)
    assert warmth.choose(Call("a", tokens=packed([7])), [0, 1, 2]) == 0


def test_a_slot_is_preferred_for_what_it_knows_only_where_no_saved_state_knows_much_more() -> None:
    warmth = Warmth(2, saved=lambda tokens: len(PREFIX))
    for slot in (0, 1):
        warmth.choose(Call("a", tokens=packed([slot])), [slot])
        warmth.ended(slot)
    warmth.note(1, packed(PREFIX[:WORTH]))
    assert warmth.choose(call(1), [0, 1]) == 0
    warmth.ended(0)
    warmth.note(1, packed(PREFIX))
    assert warmth.choose(call(2), [0, 1]) == 1


def test_a_slot_that_another_process_has_is_passed_over() -> None:
    given_back: list[int] = []
    warmth = Warmth(2, take=lambda slot: slot == 1, give=given_back.append)
    assert warmth.choose(Call("a"), [0]) is None
    assert warmth.choose(Call("a"), [0, 1]) == 1
    warmth.ended(1)
    assert given_back == [1]


def test_a_new_engine_knows_nothing() -> None:
    warmth = Warmth(1)
    warmth.note(0, packed(PREFIX))
    warmth.reset()
    assert warmth.held(0) == b""
