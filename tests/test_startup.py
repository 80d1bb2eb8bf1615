"""What costs time is loaded when it is needed, and not before."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "litellm", "chromadb", "langgraph", "sqlalchemy", "xllamacpp", "networkx", "duckdb", "onnxruntime", "ray", "rich",
)  # fmt: skip
ROOMS = ("agents", "benchmarks", "cli", "evals", "guard", "memory", "planner", "router", "serving", "tools")
HELP_SECONDS = 0.3


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONSAFEPATH": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environ)


def loaded(code: str) -> list[str]:
    done = run(sys.executable, "-c", f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))")
    assert done.returncode == 0, done.stderr
    names = {name.partition(".")[0] for name in json.loads(done.stdout)}
    return sorted(names & set(HEAVY))


@pytest.mark.parametrize("module", ["shuntyard", *(f"shuntyard.{room}" for room in ROOMS), "shuntyard.plugins"])
def test_import_loads_nothing_heavy(module: str) -> None:
    assert loaded(f"import {module}") == []


def test_a_tool_of_ones_own_loads_nothing_heavy() -> None:
    code = "from shuntyard import tool\n@tool\ndef twice(x: int) -> int:\n    'Twice x.'\n    return 2 * x"
    assert loaded(f"exec({code!r})") in ([], ["rich"])


def cpu_seconds(*command: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run(*command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_is_quick() -> None:
    shuntyard = str(Path(sys.executable).with_name("shuntyard"))
    assert min(cpu_seconds(shuntyard, "--help") for _ in range(5)) < HELP_SECONDS
