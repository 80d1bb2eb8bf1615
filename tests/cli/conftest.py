import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_parts import Call, Outcome

from shuntyard.cli.door import main

sys.path.insert(0, str(Path(__file__).parents[1]))

from servers import ScriptedServer


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, far from the checkout, its settings and every installed model."""
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("SHUNTYARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SHUNTYARD_ENGINES", str(tmp_path / "engines"))
    for name in ("SHUNTYARD_MODEL", "SHUNTYARD_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    return place


@pytest.fixture
def call(folder: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """Call the command line in this process; no typer machinery in between."""

    def run(*args: str) -> Outcome:
        capsys.readouterr()
        code = main(list(args))
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def serve(folder: Path) -> Iterator[Callable[..., ScriptedServer]]:
    """Start a scripted server and write shuntyard.toml so that it is the model in force."""
    started: list[ScriptedServer] = []

    def start(answers: Any, *, toml: str = "", **options: Any) -> ScriptedServer:
        server = ScriptedServer(answers, **options).__enter__()
        started.append(server)
        text = f'model = "scripted"\nmemory = false\n{toml}\n{server.toml(input_price=0, output_price=0)}'
        (folder / "shuntyard.toml").write_text(text)
        return server

    yield start
    for server in started:
        server.__exit__()
