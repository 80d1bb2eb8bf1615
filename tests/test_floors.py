"""Imports run only downwards, and a heavy library is known to one module."""

import ast
import functools
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text())
ASIDE = {"tests", "examples", "docs", "build", "dist"}
HOMES = {
    "aiohttp": ("serving/upstream.py",),
    "chromadb": ("memory/index.py",),
    "httptools": ("serving/wire.py",),
    "langgraph": ("agents/graph.py", "benchmarks/scheduler/ways.py"),
    "litellm": ("router/remote.py",),
    "networkx": ("planner/dag.py",),
    "onnxruntime": ("serving/embed.py",),
    "prometheus_client": ("serving/server/metrics.py",),
    "ray": ("agents/executors/ray.py", "benchmarks/crash/cluster.py"),
    "rich": ("cli/", "agents/board.py", "agents/live.py"),
    "sqlalchemy": ("memory/",),
    "starlette": ("serving/server/",),
    "tokenizers": ("serving/embed.py",),
    "typer": ("cli/",),
    "uvicorn": ("serving/server/outlet.py", "serving/server/run.py"),
    "xllamacpp": ("serving/",),
}


@functools.cache
def modules() -> tuple[tuple[str, ast.Module], ...]:
    return tuple(parsed())


def parsed() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        place = path.relative_to(ROOT)
        if place.parts[0] not in ASIDE and not any(part.startswith(".") for part in place.parts):
            yield place.as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").partition(".")[0])
    return names


def test_imports_run_only_downwards() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--config", "pyproject.toml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr


@pytest.mark.parametrize("library", HOMES)
def test_heavy_library_has_one_home(library: str) -> None:
    users = [place for place, tree in modules() if library in imported(tree)]
    assert [place for place in users if not place.startswith(HOMES[library])] == []
    assert users, f"{library} is a dependency that nothing imports"


def test_inside_the_package_imports_are_relative() -> None:
    # __main__ may be started as a file, where nothing is relative.
    assert [place for place, tree in modules() if "shuntyard" in imported(tree)] in ([], ["__main__.py"])


def test_packages_are_the_folders() -> None:
    folders = {
        ".".join(("shuntyard", *Path(place).parent.parts)) for place, _ in modules() if Path(place).suffix == ".py"
    }
    assert sorted(folders) == sorted(CONFIG["tool"]["setuptools"]["packages"])
