"""A build of one's own: used when it writes what the package's engine writes, else told of and left alone."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shuntyard import settings as settings_module
from shuntyard.errors import SettingsInvalid, StateRefused
from shuntyard.messages import Message, ModelRequest
from shuntyard.serving import fetch, kernels, supervise
from shuntyard.serving.kernels import Trial, compare, name_of, uses_of
from shuntyard.serving.knobs.knobs import Knobs
from shuntyard.serving.schedule import SavedState
from shuntyard.serving.source import LocalSource

OWN = "SHUNTYARD_OWN_ENGINE"
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
    checked = compare(default and Trial(default, True), None if own is None else Trial(own, True))
    assert checked.good is good and checked.why


def test_a_build_that_enforces_no_schema_is_refused_with_the_mend() -> None:
    checked = compare(Trial([1, 2], True), Trial([1, 2], False))
    assert not checked.good and "llguidance" in checked.why


def test_a_build_has_its_own_version_and_is_another_one_when_its_files_change(tmp_path: Path) -> None:
    own = build(tmp_path / "own", "")
    assert name_of(str(own)).startswith("xllamacpp of unknown version, own build ")
    (own / "xllamacpp-1.2.3.dist-info").mkdir()
    (own / "xllamacpp-1.2.3.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: xllamacpp\nVersion: 1.2.3\n"
    )
    model = tmp_path / "m.gguf"
    model.write_bytes(b"GGUF")
    spec = supervise.EngineSpec("m", model, 512, Knobs(), build=str(own))
    name, key = name_of(str(own)), spec.key
    assert name.startswith("xllamacpp 1.2.3, own build ")
    # Python's bytecode is no change.
    (own / "xllamacpp" / "__pycache__").mkdir()
    assert (name_of(str(own)), spec.key) == (name, key)
    (own / "xllamacpp" / "__init__.py").write_text("# made again")
    assert name_of(str(own)) != name and spec.key != key


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

    def attempt(model: Path, threads: int, build: str) -> Trial | None:
        written.append(build)
        return None if build else Trial([1, 2], obeys=True)

    monkeypatch.setattr(kernels, "_try", attempt)
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
# Numbers come out wrong, as with a broken kernel: positions turn a hundred times faster than the model was taught.
WRONG = (
    SAME
    + """
class CommonParams(xllamacpp.CommonParams):
    def __init__(self):
        super().__init__()
        self.rope_freq_scale = 100.0
xllamacpp.CommonParams = CommonParams
"""
)


@pytest.mark.small_model
@pytest.mark.anyio
@pytest.mark.parametrize(("code", "why"), [(CRASH, "it crashed"), (WRONG, "tokens are right")], ids=["crash", "wrong"])
async def test_a_bad_build_is_caught_and_the_package_answers(
    pulled: Callable[[str], str], own_folder: Path, code: str, why: str
) -> None:
    name = pulled("smollm2-135m")
    own = build(own_folder / "own", code)
    settings = settings_module.load({"threads": 1, "engine_path": own})
    told: list[str] = []
    _, connection = await LocalSource(settings, lambda event: told.append(getattr(event, "what", ""))).connect(name)
    assert connection.spec.build == ""
    assert [text for text in told if "is not used: " in text and why in text]


@pytest.mark.small_model
def test_a_build_that_writes_the_same_passes(pulled: Callable[[str], str], own_folder: Path) -> None:
    (weights,) = fetch.ensure(pulled("smollm2-135m"), settings_module.load())
    good = build(own_folder / "good", SAME)
    told: list[str] = []
    assert kernels.usable(good, weights, own_folder, threads=1, tell=told.append) == str(good) and not told


@pytest.mark.small_model
@pytest.mark.anyio
@pytest.mark.skipif(OWN not in os.environ, reason=f"{OWN} names no folder with a build of the engine")
async def test_a_real_build_proves_itself_and_answers(pulled: Callable[[str], str], own_folder: Path) -> None:
    """With what docs/kernels.md says how to make: same answers, and no state of the package's engine is read."""
    name = pulled("smollm2-135m")
    lines = "\n".join(f"row {n} of the table has the value {n * 7}" for n in range(40))
    said = (Message(role="system", content=lines), Message(role="user", content="Choose one."))
    asked = ModelRequest(messages=said, max_tokens=8, json_schema={"enum": ["a b", "c d"]})
    told: list[str] = []
    answers, states = [], []
    for more in ({}, {"engine_path": Path(os.environ[OWN])}):
        settings = settings_module.load({"threads": 1, **more})
        source = LocalSource(settings, lambda event: told.append(getattr(event, "what", "")))
        answers.append(await (await source.open(name)).complete(asked))
        _, connection = await source.connect(name)
        states.append((await source.desk(connection)).states)
    package, own = states
    assert package is not None and own is not None
    assert answers[0].text == answers[1].text and not [text for text in told if "is not used" in text]
    # Both computed the prompt, though a state of it lay there.
    assert answers[0].usage.cached == answers[1].usage.cached
    notes = [SavedState.model_validate_json(path.read_bytes()) for path in own.folder.glob("*.json")]
    assert {note.identity for note in notes} == {package.identity, own.identity}
    (foreign,) = (note for note in notes if note.identity == package.identity)
    with pytest.raises(StateRefused, match="was computed by"):
        own.check(foreign)
