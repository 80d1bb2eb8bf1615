import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ["litellm", "chromadb", "langgraph", "sqlalchemy", "pydantic_settings", "duckdb", "networkx", "xllamacpp"]


def children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def python(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONSAFEPATH": "1"}
    return subprocess.run([sys.executable, *args], cwd=cwd, env=env, capture_output=True, text=True, timeout=60)


def test_help_is_quick(tmp_path: Path) -> None:
    python("-m", "shuntyard", "--help", cwd=tmp_path)
    spent = []
    for _ in range(3):
        before = children_cpu()
        done = python("-m", "shuntyard", "--help", cwd=tmp_path)
        spent.append(children_cpu() - before)
        assert done.returncode == 0 and "doctor" in done.stdout
    assert min(spent) < 0.3


@pytest.mark.parametrize("what", ["import shuntyard", "from shuntyard.cli import main; main(['--help'])"])
def test_nothing_heavy_is_imported(what: str, tmp_path: Path) -> None:
    code = f"import sys; {what}; print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    done = python("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip().endswith("[]")


@pytest.mark.parametrize("command", ["resume", "replay", "show"])
def test_an_unknown_run_is_told_before_anything_heavy_is_imported(command: str, tmp_path: Path) -> None:
    later = ["langgraph", "litellm", "chromadb", "duckdb", "shuntyard.agents.agent"]
    code = f"import sys; from shuntyard.cli import main; c = main([{command!r}, 'nope']); "
    code += f"print(c, [m for m in {later!r} if m in sys.modules])"
    done = python("-c", code, cwd=tmp_path)
    assert done.stdout.strip() == "2 []", done.stderr
    assert "unknown run 'nope'" in done.stderr and "starting" not in done.stderr


def test_completion_knows_the_commands_and_imports_none(tmp_path: Path) -> None:
    script = python("-m", "shuntyard", "completion", "bash", cwd=tmp_path)
    assert script.returncode == 0 and "_SHUNTYARD_COMPLETE" in script.stdout
    env = {**os.environ, "_SHUNTYARD_COMPLETE": "complete_bash", "COMP_WORDS": "shuntyard re", "COMP_CWORD": "1"}
    done = subprocess.run([sys.executable, "-m", "shuntyard"], env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["resume", "replay"]


def test_a_closed_pipe_is_quiet(tmp_path: Path) -> None:
    command = f"{sys.executable} -m shuntyard tools list | true"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
