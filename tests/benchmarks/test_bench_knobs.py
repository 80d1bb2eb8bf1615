import pytest

from shuntyard.benchmarks import knobs
from shuntyard.errors import UnknownName


def test_the_table_tells_every_figure_with_its_bar() -> None:
    turn = {
        "speedup": 1.11,
        "wall": 1.31,
        "per_pass": 2.5,
        "guessed": 50,
        "right": 30,
        "off_cpu": 2.0,
        "on_cpu": 1.5,
        "same_text": True,
    }
    verdict = {"positions": 192, "drift": 0.02, "answers": 8}
    text = knobs.describe(
        {
            "model": "m",
            "memory": {"q8_0/q8_0": {"tokens_per_mib": 83.1, "ratio": 1.88}},
            "gate": {
                "q8_0/q8_0": {**verdict, "passed": True, "agreement": 0.984, "nonsense": 0},
                "q4_0/q4_0": {**verdict, "passed": False, "agreement": 0.9, "nonsense": 1},
            },
            "speculation": {
                "kind": "ngram_mod",
                "guess": 3,
                "classes": {"plan": {"first": turn, "repeated": {**turn, "same_text": False}}, "chat": {"first": turn}},
            },
            "stall": {"128": {"gap": 0.99, "long": 5.0}},
        }
    )
    for told in (
        "1.88 of f16 (bar 1.8)",
        "gate q8_0/q8_0  passes: 98.4% of 192",
        "REFUSED: 90.0%",
        "1 of 8 answers nonsense",
        "of 3, plan first    2.50 tokens per pass, 30 of 50 guesses right, 1.31 times sooner (bar 1.25), 1.11 ",
        "(bar 1.6), 1.11 times less CPU, OTHER TEXT",
        "chat first    2.50 tokens per pass, 30 of 50 guesses right, 1.31 times sooner, 1.11 times less CPU, same",
        "batch  128: a running answer waits 0.99",
    ):
        assert told in text
    assert knobs.describe({"model": "m"}) == "m"


def test_an_unknown_part_is_told_before_anything_is_measured() -> None:
    with pytest.raises(UnknownName, match="did you mean stall"):
        knobs.run(parts="stal")
