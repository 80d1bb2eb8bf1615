"""The harness when its process is killed, its disk is full, or another one runs the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import anyio
import pytest
from eval_parts import cases, setup, suite

from shuntyard.errors import UsageError
from shuntyard.evals.harness import run
from shuntyard.evals.log import read

SCRIPT = """
import sys, time
sys.path.insert(0, {parts!r})
import anyio
from eval_parts import cases, double, setup, suite
from pathlib import Path
from shuntyard.evals.harness import run

async def solve(case, seed):
    with open({told!r}, "a") as stream:
        stream.write(case.id + "\\n")
    await anyio.sleep({pause})
    said = ({{"role": "user", "content": "x" * {size}}},)
    return (await double(case, seed)).model_copy(update={{"transcript": said}})

{before}
anyio.run(run, suite(cases({count}), solve), setup(Path({home!r}), concurrency={concurrency}))
"""


def script(tmp_path: Path, **more: object) -> list[str]:
    values = {"pause": 0.05, "size": 10, "before": "", "count": 30, "concurrency": 2, **more}
    values |= {"parts": str(Path(__file__).parent), "told": str(tmp_path / "told"), "home": str(tmp_path / "home")}
    return [sys.executable, "-c", SCRIPT.format(**values)]


def asked(tmp_path: Path) -> Counter[str]:
    return Counter((tmp_path / "told").read_text().split()) if (tmp_path / "told").exists() else Counter()


def test_a_killed_run_goes_on_and_solves_nothing_twice_that_was_finished(tmp_path: Path) -> None:
    for rounds in range(3):
        process = subprocess.Popen(script(tmp_path))
        deadline = time.monotonic() + 30
        while sum(asked(tmp_path).values()) < 6 * (rounds + 1) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    (path,) = (tmp_path / "home" / "evals").glob("*.jsonl")
    finished = {row.id for row in read(path).rows}
    assert not read(path).finished and 6 <= len(finished) < 30
    before = asked(tmp_path)
    subprocess.run(script(tmp_path), check=True)
    after = asked(tmp_path)
    assert all(after[id] == before[id] for id in finished)
    assert set(after) == {f"c{at}" for at in range(30)}
    assert sum(after.values()) <= 30 + 2 * 3, "no more than what was in flight at each kill runs twice"
    log = read(path)
    assert log.finished and len(log.rows) == 30 and all(row.score.value == 1 for row in log.rows)


def test_a_full_disk_is_told_and_the_rows_before_it_are_kept(tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))"
    full = script(tmp_path, before=limit, size=5000, pause=0, concurrency=1)
    done = subprocess.run(full, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "StoreUnwritable" in done.stderr and "rows before it are kept" in done.stderr
    (path,) = (tmp_path / "home" / "evals").glob("*.jsonl")
    raw = path.read_bytes()
    assert raw.endswith(b"\n") and 40_000 < len(raw) <= 60_000
    kept = {row.id for row in read(path).rows}
    assert 5 < len(kept) < 12 and not read(path).finished
    subprocess.run(script(tmp_path, size=5000, pause=0), check=True)
    assert len(read(path).rows) == 30 and all(asked(tmp_path)[id] == 1 for id in kept)


def test_of_two_runs_at_once_the_second_is_refused_and_names_the_first(tmp_path: Path) -> None:
    process = subprocess.Popen(script(tmp_path, pause=0.3))
    try:
        while not asked(tmp_path):
            time.sleep(0.01)
        began = time.monotonic()
        with pytest.raises(UsageError, match=f"process {process.pid}") as caught:
            anyio.run(run, suite(cases(30)), setup(tmp_path / "home"))
        assert time.monotonic() - began < 1 and caught.value.exit_code == 2
        other = anyio.run(run, suite(cases(30)), setup(tmp_path / "home", seed=1))
        assert other.new == 30
    finally:
        process.kill()
        process.wait()
    result = anyio.run(run, suite(cases(30)), setup(tmp_path / "home"))
    assert result.log.finished and len(result.rows) == 30
