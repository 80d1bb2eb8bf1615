"""A build of one's own: used when it writes what the package's engine writes, else told of and left alone."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shuntyard import settings as settings_module
from shuntyard.errors import SettingsInvalid
from shuntyard.serving import fetch, kernels, supervise
from shuntyard.serving.kernels import compare, uses_of
from shuntyard.serving.source import LocalSource

WHEEL = "CPU : SSE3 = 1 | AVX = 1 | AVX2 = 1 | F16C = 1 | FMA = 1 | AVX512 = 0 | OPENMP = 1 | REPACK = 1 | "


def test_the_line_of_the_engine_is_read() -> None:
    assert uses_of(WHEEL) == ("AVX", "AVX2", "FMA", "F16C")
    assert uses_of("CPU : AVX512 = 1 | AVX512_VNNI = 1 | AMX_INT8 = 1 |") == ("AVX512", "AVX512_VNNI", "AMX_INT8")
    assert uses_of("") == ()


@pytest.mark.parametrize(
    ("default", "own", "good"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4], True),
        ([1, 2, 3, 4], [1, 2, 9, 9], True),
        ([1, 2, 3, 4], [1, 9, 9, 9], False),
        ([1, 2, 3, 4], [], False),
        ([1, 2, 3, 4], None, False),
        (None, [1], True),
        (None, None, False),
    ],
)
def test_half_of_the_tokens_must_be_equal(default: list[int] | None, own: list[int] | None, good: bool) -> None:
    checked = compare(default, own)
    assert checked.good is good and checked.why


def test_a_path_without_a_build_is_a_usage_error(tmp_path: Path) -> None:
    model = tmp_path / "m.gguf"
    model.write_bytes(b"GGUF")
    with pytest.raises(SettingsInvalid, match="pip install") as wrong:
        kernels.usable(tmp_path, model, tmp_path, threads=1, tell=lambda text: None)
    assert wrong.value.exit_code == 2 and repr(str(tmp_path)) in str(wrong.value)


def build(folder: Path, code: str) -> Path:
    (folder / "xllamacpp").mkdir(parents=True)
    (folder / "xllamacpp" / "__init__.py").write_text(code)
    return folder


def test_the_outcome_is_kept_until_the_build_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = build(tmp_path / "own", "")
    model = tmp_path / "m.gguf"
    model.write_bytes(b"GGUF")
    written: list[str] = []

    def write(model: Path, threads: int, build: str) -> list[int] | None:
        written.append(build)
        return None if build else [1, 2]

    monkeypatch.setattr(kernels, "_write", write)
    told: list[str] = []
    for _ in range(2):
        assert kernels.usable(own, model, tmp_path / "e", threads=1, tell=told.append) == ""
    assert written == ["", str(own)]
    assert len(told) == 2 and "crashed" in told[0] and repr(str(own)) in told[0]
    (own / "xllamacpp" / "__init__.py").write_text("# mended")
    kernels.usable(own, model, tmp_path / "e", threads=1, tell=told.append)
    assert len(written) == 4


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SHUNTYARD_ENGINES", str(tmp_path / "engines"))
    yield tmp_path
    supervise.stop(settings_module.load())


CRASH = "import os\nos.kill(os.getpid(), 11)\n"
SAME = """
import sys
here = sys.path.pop(0)
del sys.modules["xllamacpp"]
import xllamacpp
sys.modules["xllamacpp"] = xllamacpp
"""


@pytest.mark.small_model
@pytest.mark.anyio
async def test_a_build_that_crashes_is_caught_and_the_package_answers(
    pulled: Callable[[str], str], own_folder: Path
) -> None:
    name = pulled("smollm2-135m")
    (weights,) = fetch.ensure(name, settings_module.load())
    own = build(own_folder / "own", CRASH)
    settings = settings_module.load({"threads": 1, "engine_path": own})
    told: list[str] = []
    _, connection = await LocalSource(settings, lambda event: told.append(getattr(event, "what", ""))).connect(name)
    assert connection.spec.build == ""
    assert [text for text in told if "is not used: it crashed" in text]
    # One that is the package's own by another way passes.
    good = build(own_folder / "good", SAME)
    tokens = kernels._write(weights, 1, str(good))
    assert tokens is not None and len(tokens) == kernels.TOKENS
