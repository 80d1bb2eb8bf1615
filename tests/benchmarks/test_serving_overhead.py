import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shuntyard.benchmarks import serving

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


async def test_the_server_costs_little_beside_a_stub() -> None:
    said: list[str] = []
    result = await serving.run(model="stub", tokens=20, rounds=1, requests=2, leak=80, say=said.append)
    begun = [
        "starting the engine",
        "1 clients: 1 rounds",
        "1 clients: {",
        "8 clients: 1",
        "8 clients: {",
        "80 requests",
    ]
    assert all(text.startswith(begin) for text, begin in zip(said, begun, strict=True)), said
    for row in result["clients"].values():
        # Loose: this says that the measurement works, not how fast this machine is today.
        assert 0 < row["cpu_us_per_token"] < 3000 and all(
            0 < value < 1500 for value in row["floors_us_per_token"].values()
        )
        assert 0 < row["cpu_ms_per_request"] < 50
    assert result["leak"]["files_after"] <= result["leak"]["files_before"] + 4
    assert "cpu_us_per_token" in serving.describe(result)


def test_nothing_outlives_a_measurement_that_is_killed() -> None:
    program = """
import time
from shuntyard.benchmarks.serving.places import engine_of, relay_before, server_before
with engine_of("stub") as stub, relay_before(stub, "asyncio") as relay, server_before(stub) as ours:
    print(stub.pid, relay.pid, ours.pid, flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-P", "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        children = process.stdout.readline().split()
        process.kill()
    assert len(children) == 3
    end = time.monotonic() + 20
    while (left := [pid for pid in children if _runs(pid)]) and time.monotonic() < end:
        time.sleep(0.05)
    for pid in left:
        os.kill(int(pid), signal.SIGKILL)
    assert not left


def _runs(pid: str) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


@pytest.mark.small_model
async def test_what_a_call_takes_stands_beside_what_was_predicted() -> None:
    result = await serving.run(model="smollm2-135m", tokens=4, rounds=1, requests=1)
    assert [row["batch"] for row in result["foretold"]] == [1, 1, 3]
    for row in result["foretold"]:
        for predicted, measured in (row["ttft"], row["itl"], row["seconds"]):
            # Loose: other programs run beside; an error of units or of the batch would be larger.
            assert measured / 8 < predicted < 8 * measured
    assert "expected error" in serving.describe(result)
