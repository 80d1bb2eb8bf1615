"""The built wheel does its work from an empty folder, without the checkout in sight."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from servers import ScriptedServer

ROOT = Path(__file__).parents[1]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TOOLS = '''
from shuntyard import tool


@tool
def double(number: int) -> int:
    """The number taken twice.

    Args:
        number: What to double.
    """
    return 2 * number
'''


def call(*command: str | Path, folder: Path) -> str:
    environ = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "MYPYPATH"}}
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what is tracked or new, so that the checkout gets no build folder."""
    source = tmp_path_factory.mktemp("source")
    listed = call("git", "ls-files", "--cached", "--others", "--exclude-standard", folder=ROOT).splitlines()
    for name in listed:
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    out = tmp_path_factory.mktemp("wheel")
    call(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", out, source, folder=out)
    (built,) = out.glob("shuntyard-*.whl")
    return built


@pytest.fixture(scope="module")
def binaries(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel; its dependencies are lent by this one, the editable install is not."""
    place = tmp_path_factory.mktemp("venv")
    call(sys.executable, "-m", "venv", "--without-pip", place, folder=place)
    site = Path(
        call(place / "bin/python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=place).strip()
    )
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    call(
        sys.executable,
        "-m",
        "pip",
        "--python",
        place / "bin/python",
        "install",
        "-q",
        "--no-deps",
        "--force-reinstall",
        wheel,
        folder=place,
    )
    return place / "bin"


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


def test_wheel_holds_the_package_and_nothing_beside_it(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "shuntyard/py.typed" in names
    assert "shuntyard/memory/migrations/env.py" in names
    assert any(name.startswith("shuntyard/memory/migrations/versions/0001") for name in names)
    rooms = {name.split("/")[1] for name in names if name.startswith("shuntyard/") and name.count("/") > 1}
    assert rooms == {
        "agents", "benchmarks", "cli", "evals", "guard", "memory", "planner", "router", "serving", "tools",
    }  # fmt: skip
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"shuntyard"}


def test_the_package_comes_from_the_wheel(binaries: Path, empty: Path) -> None:
    place = call(binaries / "python", "-c", "import shuntyard; print(shuntyard.__file__)", folder=empty)
    assert place.startswith(str(binaries.parent))


def test_version(binaries: Path, empty: Path, wheel: Path) -> None:
    version = call(binaries / "shuntyard", "--version", folder=empty).strip()
    assert version == wheel.name.split("-")[1]
    assert call(binaries / "python", "-m", "shuntyard", "--version", folder=empty).strip() == version


def test_tools_of_ones_own_stand_beside_the_built_in_ones(binaries: Path, empty: Path) -> None:
    (empty / "mine.py").write_text(TOOLS)
    listed = call(binaries / "shuntyard", "tools", "list", "--tools", "mine.py", "--json", folder=empty)
    names = {item["name"] for item in json.loads(listed)}
    assert {"double", "query", "calculator", "read_file"} <= names


def test_a_plan_of_ones_own_runs_and_is_journaled(binaries: Path, empty: Path) -> None:
    (empty / "mine.py").write_text(TOOLS)
    (empty / "sizes.csv").write_text("name,size\nsmall,4\nlarge,17\n")
    code = (
        "from shuntyard import Agent, PlanBuilder\n"
        "from shuntyard.serving import ScriptedModel\n"
        "from shuntyard.tools.load import load_tools\n"
        "p = PlanBuilder('double the size of large')\n"
        "size = p.call('query', sql=\"select size from 'sizes.csv' where name = 'large'\")\n"
        "p.call('double', number=size)\n"
        "agent = Agent(load_tools('mine.py'), model=ScriptedModel(lambda request: '34'))\n"
        "result = agent.run_sync('double the size of large', plan=p.build())\n"
        "print(result.status, [r.value for r in result.results.values()])\n"
    )
    assert call(binaries / "python", "-c", code, folder=empty).startswith("done")


def test_words_run_on_a_remote_model_through_litellm(binaries: Path, empty: Path) -> None:
    (empty / "mine.py").write_text(TOOLS)
    (empty / "sizes.csv").write_text("name,size\nsmall,4\nlarge,17\n")
    plan = "1. query(sql=\"SELECT size FROM sizes WHERE name = 'large'\")\n2. double(number=$1)\n"
    with ScriptedServer([plan, "ANSWER: 34"]) as server:
        (empty / "shuntyard.toml").write_text(server.toml("there", through="litellm"))
        words = ("run", "double the size of large", "--model", "there", "--tools", "mine.py", "--json")
        told = call(binaries / "shuntyard", *words, folder=empty)
    result = json.loads(told)
    assert (result["status"], result["answer"]) == ("done", "34")
    assert [item["value"] for item in result["results"].values()] == [17, 34]
    assert len(server.requests) == 2
