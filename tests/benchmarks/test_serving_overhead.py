import pytest

from shuntyard.benchmarks import serving

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


async def test_the_server_costs_little_beside_a_stub() -> None:
    result = await serving.run(model="stub", tokens=20, rounds=1, requests=2, leak=80)
    for row in result["clients"].values():
        # Loose: this says that the measurement works, not how fast this machine is today.
        assert 0 < row["cpu_us_per_token"] < 3000 and all(
            0 < value < 1500 for value in row["floors_us_per_token"].values()
        )
        assert 0 < row["cpu_ms_per_request"] < 50
    assert result["leak"]["files_after"] <= result["leak"]["files_before"] + 4
    assert "cpu_us_per_token" in serving.describe(result)


@pytest.mark.small_model
async def test_what_a_call_takes_stands_beside_what_was_predicted() -> None:
    result = await serving.run(model="smollm2-135m", tokens=4, rounds=1, requests=1)
    assert [row["batch"] for row in result["foretold"]] == [1, 1, 3]
    for row in result["foretold"]:
        for predicted, measured in (row["ttft"], row["itl"], row["seconds"]):
            # Loose: other programs run beside; an error of units or of the batch would be larger.
            assert measured / 8 < predicted < 8 * measured
    assert "expected error" in serving.describe(result)
