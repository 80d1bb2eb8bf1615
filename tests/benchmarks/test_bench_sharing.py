from shuntyard.benchmarks import sharing
from shuntyard.benchmarks.sharing.engines import completion, fresh, words


def test_the_table_tells_every_figure_with_its_bar() -> None:
    burst = {"cpu": 70.0, "calls_cpu": 69.0, "wall": 80.0, "asked": 10890, "prefilled": 9700, "generated": 216}
    ours = {"cpu": 14.0, "calls_cpu": 13.0, "wall": 20.0, "asked": 10890, "prefilled": 1400, "generated": 216}
    ratios = {"cpu": 5.0, "calls_cpu": 5.3, "prefilled": 6.9, "asked": 7.8}
    result = {
        "model": "m",
        "prefix": 1200,
        "calls": 8,
        "tokens": 24,
        "slots": 8,
        "agents": {
            "burst": burst,
            "cold": ours,
            "saved": ours,
            "ratios": {"cold": ratios, "saved": ratios},
            "warm": {"slots": 10.0, "sequence": 15.0, "wall_ratio": 1.5, "cpu_ratio": 1.2},
        },
        "applications": {"applications": 8, "steps": 3, "predicted": 1.519, "measured": 1.45, "off": -0.045},
        "restart": {"cold": {"ttft": 8.0}, "restored": {"ttft": 0.5}, "ttft_ratio": 16.0, "same_text": False},
        "stall": {
            "defaults": {"long": 8.0, "short": 7.9},
            "ours": {"long": 8.2, "short": 0.5},
            "stall_ratio": 15.8,
            "long_ratio": 1.02,
        },
        "programs": {
            "applications": 4,
            "steps": 3,
            "plain": {"round_trips": 12, "prefilled": 1500, "mean_completion": 9.0},
            "chained": {"round_trips": 4, "prefilled": 1490, "mean_completion": 6.5},
        },
    }
    text = sharing.describe(result)
    for told in (
        "9,700 -> 1,400",
        "7.8 than the 10,890",
        "8 slots against one",
        "5.0 times less, 5.3 without",
        "1.50 times",
        "off by -4%",
        "OTHER TEXT",
        "1.02 (bar",
        "round trips 12 -> 4",
    ):
        assert told in text
    assert sharing.describe({"model": "m", "prefix": 1, "calls": 1, "tokens": 1}).count("\n") == 0


def test_what_was_computed_is_what_was_not_cached() -> None:
    answer = completion({"timings": {"prompt_n": 20, "cache_n": 1180}, "tokens_predicted": 24})
    assert (answer.usage.prompt, answer.usage.cached, answer.usage.completion) == (1200, 1180, 24)
    assert fresh([answer, answer]) == 40


def test_a_catalogue_is_about_as_long_as_asked() -> None:
    """Three characters of it are a token."""
    assert 1000 < len(words(1200)) / 3 < 1400
