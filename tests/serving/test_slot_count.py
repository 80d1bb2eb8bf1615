from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuntyard.serving.engine import SLOTS
from shuntyard.serving.knobs.knobs import Knobs
from shuntyard.serving.predict import slots as rule
from shuntyard.serving.predict.shape import Shape
from shuntyard.serving.predict.slots import KV_MIB, MOST, more_bytes, slots_of, with_slots
from shuntyard.serving.predict.work import Setup
from shuntyard.settings import EngineSettings, FleetSettings, Settings


def model(layers: int, kv_heads: int, width: int) -> Shape:
    return Shape(
        architecture="llama",
        name="m",
        layers=layers,
        embd=64,
        heads=kv_heads,
        kv_heads=kv_heads,
        key=width,
        value=width,
        ff=64,
        vocab=100,
        context=8192,
        tied=True,
        parameters=1,
        file_bytes=1,
        weights=(),
    )


LARGE, SMALL = model(28, 2, 128), model(30, 3, 64)
"""As Qwen2.5-Coder-1.5B and SmolLM2-135M keep their keys and values."""


@pytest.mark.parametrize(
    ("shape", "context", "kv_type", "slots"),
    [
        (LARGE, 8192, "f16/f16", 4),
        (LARGE, 32768, "f16/f16", SLOTS),
        (LARGE, 8192, "q8_0/q8_0", MOST),
        (SMALL, 4096, "f16/f16", MOST),
    ],
)
def test_an_engine_has_as_many_slots_as_memory_holds(shape: Shape, context: int, kv_type: str, slots: int) -> None:
    assert slots_of(shape, Setup(context, kv_type=kv_type)) == slots


@given(st.integers(0, 100), st.integers(1, 64), st.integers(1, 512), st.integers(1, 1 << 20))
def test_more_slots_than_the_fewest_never_take_more_than_the_bound(
    layers: int, heads: int, width: int, context: int
) -> None:
    shape = model(layers, heads, width)
    slots = slots_of(shape, Setup(context))
    assert SLOTS <= slots <= MOST
    if slots > SLOTS:
        assert slots * context * shape.kv_bytes("f16/f16") <= KV_MIB * 2**20


def test_settings_go_before_and_fleets_and_unknown_files_keep_the_fewest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strange = tmp_path / "strange.gguf"
    strange.write_bytes(b"nothing that a header is made of")
    assert with_slots(Knobs(), strange, 4096, Settings()).slots == SLOTS
    assert more_bytes(strange, 4096, Settings()) == more_bytes(strange, 4096, Settings(engine=EngineSettings(slots=8)))
    monkeypatch.setattr(rule, "read_shape", lambda path: SMALL)
    assert with_slots(Knobs(), strange, 4096, Settings()).slots == MOST
    assert more_bytes(strange, 4096, Settings()) == (MOST - SLOTS) * 4096 * SMALL.kv_bytes("f16/f16")
    assert with_slots(Knobs(), strange, 4096, Settings(engine=EngineSettings(slots=2))).slots == 2
    assert more_bytes(strange, 4096, Settings(engine=EngineSettings(slots=2))) == 0
    assert with_slots(Knobs(), strange, 4096, Settings(fleet=FleetSettings(instances=2))).slots == SLOTS
