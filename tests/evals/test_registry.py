"""Suites by name: ours, and those of installed plugins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shuntyard.errors import UnknownName, UsageError
from shuntyard.evals.registry import TABLE, find, names
from shuntyard.evals.suite import Suite

PLUGIN = """
from contextlib import asynccontextmanager
from shuntyard.evals.case import Case, Output, Score
from shuntyard.evals.suite import Suite, SolverInfo

@asynccontextmanager
async def opened(means):
    async def solve(case, *, seed):
        return Output(text=str(case.input))
    yield solve

async def score(case, output):
    return Score(value=float(output.text == case.target))

SUITE = Suite(
    name="echo", about="says it again", cases=lambda data: [Case(id="a", input="x", target="x")],
    scorer=score, solvers={"echo": SolverInfo(opened, "says it", needs_model=False)}, solver="echo",
)
NONSENSE = 7
"""


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution with two entry points, one of which is no suite."""
    (tmp_path / "echo_suite.py").write_text(PLUGIN)
    info = tmp_path / "echo_suite-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: echo-suite\nVersion: 1.0\n")
    lines = ["[shuntyard.suites]", "echo = echo_suite:SUITE", "nonsense = echo_suite:NONSENSE"]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SHUNTYARD_PLUGINS", "echo,nonsense")


@pytest.mark.parametrize("name", TABLE)
def test_our_suites_are_suites_of_that_name_that_say_how_they_are_solved(name: str) -> None:
    suite = find(name)
    assert isinstance(suite, Suite) and suite.name == name and suite.solver in suite.solvers
    assert suite.about and suite.timeout > 0 and all(info.about for info in suite.solvers.values())
    assert all(source.licence and source.folder for source in suite.sources)


def test_plugins_stand_beside_ours(plugins: None) -> None:
    assert names() == [*TABLE, "echo", "nonsense"]
    assert find("echo").about == "says it again"
    with pytest.raises(UsageError, match=r"'nonsense'.* 7"):
        find("nonsense")


def test_an_unknown_suite_is_told_with_the_near_ones() -> None:
    with pytest.raises(UnknownName, match="did you mean bfcl"):
        find("bcfl")


def test_a_plugin_runs_on_the_command_line_without_any_model(
    plugins: None, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shuntyard.cli.door import main

    monkeypatch.chdir(tmp_path)
    assert main(["eval", "run", "echo", "--json", "--quiet"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["figures"][0]["mean"]["value"] == 1.0 and body["configuration"]["model"] == ""
    assert main(["eval", "run", "echo", "--model", "qwen2.5-coder-0.5b"]) == 2
    assert "uses no model" in capsys.readouterr().err
