"""Statistics against direct slow computations, and the coverage of the intervals on simulated data."""

import random
from fractions import Fraction
from itertools import combinations, product
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shuntyard.evals.stats import calibration, interval, paired, pass_at, quantiles

TENTHS = st.integers(0, 4).map(lambda number: number / 4)


def share(means: list[float], bound: float, *, below: bool) -> float:
    return sum(mean < bound - 1e-9 if below else mean > bound + 1e-9 for mean in means) / len(means)


@given(st.lists(TENTHS, min_size=2, max_size=5).filter(lambda values: len(set(values)) > 1))
@settings(max_examples=30, deadline=None)
def test_the_interval_cuts_the_tails_of_all_possible_resamples(values: list[float]) -> None:
    """Every one of the n**n resamples, instead of some drawn at random."""
    every = [sum(drawn) / len(values) for drawn in product(values, repeat=len(values))]
    found = interval(values, rounds=8000)
    assert found.value == pytest.approx(sum(values) / len(values)) and found.n == len(values)
    assert share(every, found.low, below=True) <= 0.025 + 0.01
    assert share(every, found.high, below=False) <= 0.025 + 0.01
    # Not wider than needed: beyond the next value inside a bound there is more than the tail.
    inside_low = min(mean for mean in every if mean > found.low + 1e-9)
    inside_high = max(mean for mean in every if mean < found.high - 1e-9)
    assert share(every, inside_low, below=True) >= 0.025 - 0.01
    assert share(every, inside_high, below=False) >= 0.025 - 0.01


def test_a_few_cases_of_many_categories_are_no_certainty() -> None:
    one_each = interval([1.0, 0.0, 0.0], strata=["a", "b", "c"])
    assert one_each.low == 0.0 and one_each.high > 0.6
    assert interval([1.0] * 5 + [0.0] * 5, strata=["a"] * 5 + ["b"] * 5).high > 0.6
    chance = random.Random(9)
    rates = {f"c{at}": 0.3 + 0.05 * at for at in range(13)}
    strata = [name for name in rates for _ in range(3)]
    held = 0
    for trial in range(300):
        found = interval(
            [float(chance.random() < rates[name]) for name in strata], strata=strata, seed=trial, rounds=800
        )
        held += found.low <= sum(rates.values()) / 13 <= found.high
    assert held / 300 >= 0.91


def test_strata_take_out_what_categories_differ_by() -> None:
    values, strata = [1.0] * 50 + [0.0] * 50, ["easy"] * 50 + ["hard"] * 50
    mixed = [0.0, 1.0] * 3
    flat = interval([*values, *mixed])
    layered = interval([*values, *mixed], strata=[*strata, *["mixed"] * 6])
    assert flat.value == layered.value == 0.5
    assert flat.high - flat.low > 0.15 and 0 < layered.high - layered.low < 0.06


def test_equal_seeds_give_equal_intervals_and_others_nearly_so() -> None:
    chance = random.Random(1)
    values = [chance.random() for _ in range(200)]
    assert interval(values, seed=3) == interval(values, seed=3) != interval(values, seed=4)
    assert interval(values, seed=3).low == pytest.approx(interval(values, seed=4).low, abs=0.015)


@pytest.mark.parametrize(("size", "rate", "least"), [(40, 0.5, 0.91), (100, 0.7, 0.92), (200, 0.9, 0.91)])
def test_the_interval_holds_the_true_rate_as_often_as_it_says(size: int, rate: float, least: float) -> None:
    chance = random.Random(size)
    held = 0
    for trial in range(400):
        found = interval([float(chance.random() < rate) for _ in range(size)], seed=trial, rounds=1000)
        held += found.low <= rate <= found.high
    assert least <= held / 400 <= 0.98


def test_the_interval_of_a_difference_holds_the_true_one_as_often_as_it_says() -> None:
    chance = random.Random(5)
    held = false_alarms = 0
    for trial in range(300):
        hard = [chance.random() for _ in range(80)]
        first = {str(at): float(chance.random() < 0.3 + 0.5 * each) for at, each in enumerate(hard)}
        second = {str(at): float(chance.random() < 0.4 + 0.5 * each) for at, each in enumerate(hard)}
        other = {str(at): float(chance.random() < 0.3 + 0.5 * each) for at, each in enumerate(hard)}
        found = paired(first, second, seed=trial, rounds=1000)
        held += found.low <= 0.1 <= found.high
        false_alarms += paired(first, other, seed=trial, rounds=1000).p < 0.05
    assert 0.91 <= held / 300 <= 0.98
    assert false_alarms / 300 <= 0.08


def test_all_right_is_no_certainty() -> None:
    few, many = interval([1.0] * 3), interval([1.0] * 100)
    assert few.high == many.high == 1.0
    assert few.low < 0.5 and 0.95 < many.low < 0.97
    none = interval([0.0] * 100)
    assert none.low == 0.0 and none.high == pytest.approx(1 - many.low)


@given(st.lists(st.tuples(TENTHS, TENTHS), min_size=1, max_size=8), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_p_is_the_share_of_all_sign_changes_that_go_as_far(pairs: list[tuple[float, float]], seed: int) -> None:
    first = {str(at): pair[0] for at, pair in enumerate(pairs)}
    second = {str(at): pair[1] for at, pair in enumerate(pairs)}
    found = paired(first, second, seed=seed, rounds=8000)
    moved = [b - a for a, b in pairs]
    every = [
        abs(sum(sign * each for sign, each in zip(signs, moved, strict=True)))
        for signs in product((1, -1), repeat=len(moved))
    ]
    exact = sum(total >= abs(sum(moved)) - 1e-9 for total in every) / len(every)
    assert found.p == pytest.approx(exact, abs=0.03)
    assert found.value == pytest.approx(sum(moved) / len(moved))
    assert (found.better, found.worse) == (sum(each > 0 for each in moved), sum(each < 0 for each in moved))
    assert found.low <= found.value <= found.high


def test_only_cases_of_both_runs_are_compared() -> None:
    found = paired({"a": 0.0, "b": 1.0, "only": 1.0}, {"b": 1.0, "a": 1.0, "other": 0.0})
    assert found.n == 2 and found.value == 0.5
    with pytest.raises(ValueError, match="no cases"):
        paired({"a": 1.0}, {"b": 1.0})


def test_a_paired_interval_is_narrower_than_two_separate_ones() -> None:
    chance = random.Random(2)
    first = {str(at): float(chance.random() < 0.5) for at in range(200)}
    second = {id: max(value, float(chance.random() < 0.2)) for id, value in first.items()}
    found = paired(first, second)
    alone = interval(list(second.values()))
    assert found.low > 0 and found.p < 0.01
    assert found.high - found.low < alone.high - alone.low


@given(st.integers(1, 8), st.data())
def test_pass_at_k_is_the_share_of_all_subsets_with_a_right_one(tried: int, data: st.DataObject) -> None:
    right, k = data.draw(st.integers(0, tried)), data.draw(st.integers(1, tried))
    tries = [True] * right + [False] * (tried - right)
    subsets = list(combinations(tries, k))
    exact = Fraction(sum(any(subset) for subset in subsets), len(subsets))
    assert pass_at(k, tried=tried, right=right) == pytest.approx(float(exact))


@pytest.mark.parametrize(("k", "tried", "right"), [(0, 3, 1), (4, 3, 1), (1, 3, 4), (1, 3, -1)])
def test_pass_at_k_refuses_what_has_no_meaning(k: int, tried: int, right: int) -> None:
    with pytest.raises(ValueError, match="pass@"):
        pass_at(k, tried=tried, right=right)


@given(st.lists(st.tuples(st.integers(0, 100), st.booleans()), min_size=1, max_size=60))
def test_calibration_is_the_weighted_gap_of_the_bins(pairs: list[tuple[int, bool]]) -> None:
    found = calibration([percent / 100 for percent, _ in pairs], [float(right) for _, right in pairs])
    gap = 0.0
    for at in range(10):
        inside = [pair for pair in pairs if max(ceil(pair[0] / 10), 1) - 1 == at]
        gap += abs(sum(percent / 100 - right for percent, right in inside)) / len(pairs)
    assert found.ece == pytest.approx(gap)
    assert sum(each.n for each in found.bins) == found.n == len(pairs)
    assert all(each.low <= each.confidence <= each.high + 1e-9 for each in found.bins)


def test_calibration_of_a_braggart_and_of_a_prophet() -> None:
    assert calibration([1.0] * 10, [0.0] * 10).ece == 1.0
    assert calibration([0.25] * 8, [1.0, 0, 0, 0, 1.0, 0, 0, 0]).ece == 0.0
    with pytest.raises(ValueError, match="one of each"):
        calibration([0.5], [])


def test_quantiles_interpolate() -> None:
    assert quantiles([1.0, 2.0, 3.0, 4.0, 5.0]) == {"p50": 3.0, "p90": pytest.approx(4.6), "p99": pytest.approx(4.96)}
    assert quantiles([]) == {}
