"""The whole road on the real 1.5B model: killed while it speaks, resumed, repeated from memory."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.model, pytest.mark.timeout(400)]

MODEL = "qwen2.5-coder-1.5b"
TASK = "What is the sum of the amounts in the table lamps?"


@pytest.fixture
def workspace(tmp_path: Path, pulled: Callable[[str], str]) -> Path:
    pulled(MODEL)
    pulled("all-minilm-l6-v2")
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "lamps.csv").write_text("room,amount\nhall,1200\nattic,34\ncellar,100\n")
    return folder


def shuntyard(folder: Path, *args: str) -> list[str]:
    return [sys.executable, "-P", "-m", "shuntyard", *args, "--workspace", str(folder)]


def outcome(folder: Path, *args: str) -> Any:
    done = subprocess.run(shuntyard(folder, *args, "--json"), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-500:]
    return json.loads(done.stdout)


def kill_when(folder: Path, event: str, role: str, how: signal.Signals) -> str:
    """Start the task and end its process at the first ``event`` of ``role``; return the run's id."""
    command = shuntyard(folder, "run", TASK, "--model", MODEL, "--events")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            found = json.loads(line)
            if found["type"] == event and found.get("role") == role:
                os.kill(process.pid, how)
                break
        else:
            pytest.fail(f"the run ended before {event} of {role}")
    return str(found["run"])


@pytest.mark.parametrize(
    ("role", "how"),
    [("compile", signal.SIGKILL), ("join", signal.SIGKILL), ("compile", signal.SIGINT)],
    ids=["kill-compile", "kill-join", "interrupt-compile"],
)
def test_a_run_killed_while_the_model_speaks_is_resumed(workspace: Path, role: str, how: signal.Signals) -> None:
    run = kill_when(workspace, "text_delta", role, how)
    result = outcome(workspace, "resume", run)
    assert result["run"] == run
    assert "1334" in result["answer"].replace(",", "")
    shown = json.loads(subprocess.check_output([sys.executable, "-P", "-m", "shuntyard", "show", run, "--json"]))
    finished = [step["path"] for step in shown["steps"] if step["state"] == "done"]
    assert len(finished) == len(set(finished)), "a finished step ran again"


def test_a_repeated_task_is_recalled_and_saves_planner_tokens(workspace: Path) -> None:
    first = outcome(workspace, "run", TASK, "--model", MODEL)
    again = outcome(workspace, "run", TASK, "--model", MODEL)
    assert again["hints"][0]["run"] == first["run"]
    assert again["answer"] == first["answer"]
    assert again["usage"]["prompt"] < first["usage"]["prompt"] / 2
    text = subprocess.check_output([sys.executable, "-P", "-m", "shuntyard", "show", again["run"]], text=True)
    assert first["run"] in text


def test_one_call_at_a_time_comes_to_the_same_sum(workspace: Path) -> None:
    result = outcome(workspace, "run", TASK, "--model", MODEL, "--planner", "react", "--no-memory")
    assert "1334" in result["answer"].replace(",", "")
    assert result["plan"]["nodes"] and all(step["status"] == "done" for step in result["results"].values())
