from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuntyard.serving.knobs.tuner import MARGIN, Cost, search

START = 0.5


class Landscape:
    """Costs that say nothing about their neighbours', with noise, in virtual time."""

    def __init__(self, costs: list[float], *, noise: float = 0.0, seed: int = 0) -> None:
        self.costs = costs
        self.spent = 0.0
        self._noise = noise
        self._random = Random(seed)

    def measure(self, setting: int, work: int) -> Cost:
        wall = self.costs[setting] * work * (1 + self._noise * self._random.uniform(-1, 1) / work)
        self.spent += START + wall
        return Cost(wall=wall, cpu=wall, took=START + wall)


def irregular(seed: int) -> list[float]:
    """Most settings are as good as the default (the first), some far worse, one sharp peak."""
    random = Random(seed)
    costs = [1.0, *(random.uniform(0.97, 3.0) for _ in range(30))]
    costs[random.randrange(1, 31)] = 0.6
    return costs


@pytest.mark.parametrize("seed", range(20))
def test_a_sharp_peak_is_found_in_time(seed: int) -> None:
    land = Landscape(irregular(seed), noise=0.1, seed=seed)
    found = search(0, list(range(1, 31)), land.measure, seconds=1000)
    assert land.costs[found.best] == 0.6
    assert found.ratio == pytest.approx(0.6, abs=0.15) and found.tried == 30
    assert land.spent == pytest.approx(found.took) and found.took < 1000


@given(
    costs=st.lists(st.floats(0.2, 5.0), min_size=2, max_size=30),
    seconds=st.floats(1.0, 400.0),
    noise=st.floats(0.0, 0.3),
    seed=st.integers(0, 99),
)
def test_what_is_kept_beats_the_default_or_is_the_default_and_time_is_kept(
    costs: list[float], seconds: float, noise: float, seed: int
) -> None:
    land = Landscape(costs, noise=noise, seed=seed)
    found = search(0, list(range(1, len(costs))), land.measure, seconds=seconds)
    if found.best == 0:
        assert found.ratio == 1.0
    else:
        assert found.ratio <= 1 - MARGIN
        # Noise is all that can make it look better than it is.
        assert costs[found.best] <= costs[0] * (1 - MARGIN) * (1 + noise) / (1 - noise) + 1e-9
    # Over by what was under way, which is a pair of the longest measurements at most.
    assert land.spent <= seconds + 2 * (START + 4 * 1.3 * max(costs)) + START


def test_the_default_stays_when_nothing_beats_it_and_when_the_time_is_short() -> None:
    land = Landscape([1.0, 0.99, 1.2])
    found = search(0, [1, 2], land.measure, seconds=500)
    assert found.best == 0 and "the default is kept" in found.why and found.tried == 2
    short = search(0, [1, 2], Landscape([1.0, 0.1, 0.1]).measure, seconds=10)
    assert short.best == 0 and "too few" in short.why and short.tried == 0


def test_what_does_not_run_or_stalls_answers_is_left_out() -> None:
    costs = {0: (1.0, 0.0), 1: (0.5, 0.9), 2: (inf, 0.0), 3: (0.8, 0.2)}

    def measure(setting: int, work: int) -> Cost:
        wall, gap = costs[setting]
        return Cost(wall=wall * work, cpu=wall * work, took=1.0, gap=gap)

    assert search(0, [1, 2, 3], measure, seconds=500).best == 3
    assert search(0, [2], measure, seconds=500).best == 0
    with pytest.raises(ValueError, match="default does not run"):
        search(2, [0], measure, seconds=500)


def test_two_threads_that_only_burn_the_machine_do_not_win() -> None:
    def measure(setting: int, work: int) -> Cost:
        wall, cpu = (1.0, 1.0) if setting == 0 else (0.9, 2.0)
        return Cost(wall=wall * work, cpu=cpu * work, took=wall * work)

    assert search(0, [1], measure, seconds=500).best == 0


def test_the_time_ends_the_search_also_while_engines_are_started() -> None:
    """A measurement whose engine started too late has no figures; what was found before counts."""
    spent = [0.0]

    def measure(setting: int, work: int, *, limit: float, start: float) -> Cost:
        spent[0] += start
        if spent[0] >= limit:
            return Cost(wall=inf, cpu=inf, took=start)
        spent[0] += work
        return Cost(wall=work, cpu=work, took=start + work)

    late = search(0, [1, 2], lambda setting, work: measure(setting, work, limit=2, start=100), seconds=2)
    assert late.best == 0 and late.tried == 0 and "2 s are too few: an engine was started for 100 s" in late.why
    assert spent[0] == 100
    spent[0] = 0.0
    starts = iter([1.0, *[1000.0] * 9])
    slow = search(0, [1, 2, 3], lambda setting, work: measure(setting, work, limit=50, start=next(starts)), seconds=50)
    assert slow.best == 0 and "50 s were over before a candidate was measured; the default is kept" in slow.why
    assert spent[0] == 1002
