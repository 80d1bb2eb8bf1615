"""What ``models predict`` prints of figures beyond the engine's slots and context."""

import pytest

from shuntyard.cli.predict import _fits, _text
from shuntyard.serving.predict import Asked, Predictor
from shuntyard.serving.predict.pace import Pace
from shuntyard.serving.predict.shape import Shape, Weights
from shuntyard.serving.predict.work import Setup

SHAPE = Shape(
    architecture="llama", name="made", layers=4, embd=256, heads=8, kv_heads=8, key=32, value=32, ff=1024, vocab=4096,
    context=8192, tied=True, parameters=4_000_000, file_bytes=2_000_000,
    weights=(Weights(operator="ffn", type="Q4_K", elements=3_000_000, bytes=1_700_000),),
)  # fmt: skip


@pytest.mark.parametrize(("slots", "context", "beyond"), [(2, 1024, True), (64, 8192, False)], ids=["small", "large"])
def test_a_figure_beyond_the_engine_says_so(slots: int, context: int, beyond: bool) -> None:
    predictor = Predictor(SHAPE, Pace(), Setup(context, slots=slots))
    asked = Asked(64, 16)
    fits = _fits(predictor, asked, None, 100.0, 1e6)
    assert (fits["slots"], fits["context"]) == (slots, context)
    assert (fits["largest_batch"], fits["longest_context"]) == (64, 8192)
    text = _text({**predictor.predict(asked).model_dump(), "fits": fits})
    assert (f"had it so many slots: it has {slots}, further calls wait" in text) is beyond
    assert (f"were it started with so many: it has {context}" in text) is beyond
    assert (f"the engine has {slots} slots" in text) is (fits["knee"] > slots)
