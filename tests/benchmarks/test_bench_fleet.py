import pytest

from shuntyard.benchmarks import fleet
from shuntyard.errors import UnknownName


@pytest.mark.anyio
async def test_the_simulations_tell_what_they_found() -> None:
    result = await fleet.run(parts="tails,urgent,split", requests=100, seeds=1)
    assert result["tails"]["widened"] == 0
    assert result["tails"]["answers"] == result["tails"]["requests"] == 100
    assert result["split"]["split"]["mean"] < result["split"]["mixed"]["mean"]
    text = fleet.describe(result)
    for told in ("with moves", "0 widened", "first token of urgent", "a fast reader"):
        assert told in text


def test_real_figures_are_told_with_whether_the_text_is_the_same() -> None:
    move = {"same_text": True, "prompt": 300, "known": 310, "computed": 1, "cpu": 0.5}
    handoff = {"same_text": False, "prompt": 300, "computed": 1, "alone_cpu": 3.0, "writer_cpu": 0.8}
    text = fleet.describe({"model": "m", "move": move, "handoff": handoff})
    assert "310 tokens taken over, 1 computed again, same text" in text
    assert "OTHER TEXT" in text and "3.00 -> 0.80" in text


@pytest.mark.anyio
async def test_an_unknown_part_is_named() -> None:
    with pytest.raises(UnknownName, match="'speed'"):
        await fleet.run(parts="speed")
