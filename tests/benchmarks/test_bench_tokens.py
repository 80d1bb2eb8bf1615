from shuntyard.benchmarks import tokens
from shuntyard.benchmarks.tokens.measure import _stopped
from shuntyard.serving.tokens.abort import AbortRule


def test_the_figures_tell_what_they_are_compared_with() -> None:
    run = {"seconds": 1.31, "cpu": 1.12, "per_pass": 2.25, "passes": 28, "drafted": 90, "accepted": 36, "same": True}
    row = {"completion": 100, "large_tokens": 20, "large_prompt": 50, "large_catch_up": 30, "small_catch_up": 9}
    row |= {"switches": 6, "right": 9, "of": 12, "share": 0.2}
    whole = {**row, "large_tokens": 150, "large_catch_up": 0}
    text = tokens.describe(
        {"model": "m", "large": "l", "tokens": 64}
        | {"lookahead": {"echo": {"first": run, "again": {**run, "same": False, "tie": 0.007}}}}
        | {"entropy": {"0.6": row, "large": whole}}
    )
    assert "first  1.31, 1.12; 2.25 (36 of 90 guesses right, same tokens)" in text
    assert "OTHER TOKENS from a tie of 0.007 logits on)" in text
    assert "20 of 100 (20%), catch-up 30 (small 9), prompts 50, 6 changes, 0.50 of the large one's tokens, 9 of" in text


def test_an_early_stop_is_counted_with_what_it_saves() -> None:
    loop = {"tokens": [1, 2] * 40, "logs": [-0.1] * 80}
    text = {"tokens": list(range(80)), "logs": [-0.1] * 80}
    assert _stopped(AbortRule(loop=20), [loop, text]) == {"answers": 2, "stopped": 1, "tokens": 160, "saved": 60}
