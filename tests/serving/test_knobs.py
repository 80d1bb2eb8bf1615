import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from shuntyard import settings as settings_module
from shuntyard.errors import SettingsInvalid
from shuntyard.serving.kernels import name_of
from shuntyard.serving.knobs.gate import Compared, Verdict, ensure, judge
from shuntyard.serving.knobs.knobs import Knobs, from_settings
from shuntyard.serving.knobs.profiles import Profile, chosen, host_of, save
from shuntyard.serving.knobs.tune import candidates
from shuntyard.serving.schedule import StateIdentity
from shuntyard.serving.supervise import EngineSpec, spec_of
from shuntyard.settings import EngineSettings, Settings

ME = StateIdentity(model="m", engine="e", kv="q8_0/q8_0")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "some.gguf"
    path.write_bytes(b"GGUF" + bytes(100))
    return path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache=tmp_path / "cache")


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        ('kv_keys = "q5_1"', "engine.kv_keys = 'q5_1'"),
        ('kv_values = "q8_0"\nflash = "off"', "kv_values = 'q8_0' needs flash attention, and flash = 'off'; set flash"),
        ('speculation = "draft"', "speculation = 'draft' with draft = ''; give both or none"),
        ("batch = 0", "engine.batch = 0"),
        ("ubatch = 512", "ubatch = 512 is more than batch = 256; lower it"),
        ('kv_key = "q8_0"', "unknown key 'engine.kv_key'; did you mean 'kv_keys'"),
    ],
)
def test_a_wrong_setting_is_told_with_its_value_and_mend(tmp_path: Path, toml: str, told: str) -> None:
    (tmp_path / "shuntyard.toml").write_text(f"[engine]\n{toml}\n")
    with pytest.raises(SettingsInvalid) as error:
        settings_module.load(folder=tmp_path)
    assert told in error.value.message
    assert "shuntyard.toml" in error.value.message
    assert error.value.exit_code == 2


def test_quantised_values_without_flash_attention_are_no_knobs() -> None:
    with pytest.raises(ValueError, match="needs flash attention; set flash"):
        Knobs(kv_values="q4_0", flash="off")
    assert Knobs(kv_keys="q8_0", flash="off").small, "keys alone do not need it"


@pytest.mark.parametrize(
    "other",
    [{"threads": 2}, {"batch": 64}, {"kv_keys": "q8_0"}, {"flash": "off"}, {"speculation": "ngram_mod"}],
    ids=str,
)
def test_other_knobs_are_another_engine(weights: Path, other: dict[str, object]) -> None:
    plain = Knobs()
    changed = Knobs.model_validate({**plain.model_dump(), **other})
    assert EngineSpec("m", weights, 512, plain).key == EngineSpec("m", weights, 512, Knobs()).key
    assert EngineSpec("m", weights, 512, plain).key != EngineSpec("m", weights, 512, changed).key


def test_saved_states_follow_the_types_and_the_layout() -> None:
    kinds = [Knobs(), Knobs(kv_keys="q8_0"), Knobs(kv_keys="q8_0", kv_values="q8_0"), Knobs(flash="off")]
    assert len({knobs.kv for knobs in kinds}) == len(kinds)
    assert Knobs(speculation="ngram_mod").kv == Knobs(threads=4, batch=32).kv, "states are shared where they can be"


def test_the_settings_become_knobs(weights: Path) -> None:
    asked = Settings(threads=3, engine=EngineSettings(kv_keys="q8_0", batch=64, speculation="auto"))
    knobs = from_settings(asked)
    assert knobs == Knobs(threads=3, kv_keys="q8_0", batch=64), "auto begins without speculation"
    assert spec_of("m", weights, 512, asked).knobs == knobs


def tops(*pairs: tuple[int, float]) -> dict[int, float]:
    return dict(pairs)


def compared(same: Sequence[dict[int, float]], own: Sequence[float] = ()) -> Compared:
    return Compared([(1, tops((1, -0.1), (2, -2.5)))] * len(same), same, own)


def test_the_gate_passes_what_agrees_and_refuses_what_does_not() -> None:
    alike = judge(ME, [compared([tops((1, -0.12), (2, -2.3))] * 50)])
    assert alike.passed and alike.agreement == 1.0 and alike.drift == pytest.approx(0.02)
    swapped = judge(ME, [compared([tops((1, -0.12))] * 47 + [tops((2, -0.3), (1, -0.4))] * 3)])
    assert swapped.agreement == 0.94 and not swapped.passed, "6 of 100 next tokens are others"
    moved = judge(ME, [compared([tops((1, -0.3), (2, -1.2))] * 50)])
    assert moved.agreement == 1.0 and not moved.passed, "the same tokens, but much less sure of them"


def test_the_gate_refuses_one_fluent_but_unlikely_answer_of_many() -> None:
    good = compared([tops((1, -0.1))] * 20)
    odd = compared([tops((1, -0.1))] * 20, own=[-3.0] * 10)
    verdict = judge(ME, [good] * 9 + [odd])
    assert verdict.nonsense == 1 and verdict.agreement == 1.0 and not verdict.passed
    brief = compared([tops((1, -0.1))] * 20, own=[-3.0] * 3)
    assert judge(ME, [good, brief]).passed, "three tokens are too few to call it nonsense"
    other = compared([tops((1, -0.1))] * 20, own=[-0.5] * 10)
    assert judge(ME, [good, other]).passed, "another answer that is as likely is as good"


def test_a_token_that_is_not_among_the_likeliest_counts_as_the_last_of_them() -> None:
    verdict = judge(ME, [compared([tops((2, -0.1), (3, -6.0))])])
    assert verdict.agreement == 0.0 and verdict.drift == pytest.approx(5.9)


def test_a_refused_type_is_told_with_its_figures_and_not_measured_again(weights: Path, settings: Settings) -> None:
    knobs = Knobs(kv_keys="q4_0", kv_values="q4_0")
    identity = StateIdentity(model=host_of(weights).model, engine=name_of(), kv=knobs.kv)
    bad = Verdict(identity=identity, positions=100, agreement=0.4, drift=2.0, nonsense=3, answers=8)
    folder = tmp_cache(settings)
    from shuntyard.serving.knobs import gate

    gate._path(folder, identity).write_text(bad.model_dump_json())
    with pytest.raises(SettingsInvalid, match=r"'q4_0'.*some.gguf.*40.0% of 100.*3 of 8 answers.*take 'q8_0'"):
        ensure(weights, knobs, settings)
    assert gate.known(weights, knobs.model_copy(update={"threads": 2, "batch": 32}), settings) == bad
    weights.write_bytes(b"GGUF" + bytes(200))
    assert gate.known(weights, knobs, settings) is None, "another file has no verdict"


def tmp_cache(settings: Settings) -> Path:
    folder = settings_module.cache(settings) / "knobs"
    folder.mkdir(parents=True)
    return folder


def test_a_profile_is_used_when_nothing_is_set(weights: Path, settings: Settings) -> None:
    told: list[str] = []
    tuned = Knobs(threads=1, batch=64, speculation="ngram_mod")
    assert chosen(weights, settings, draft=None, tell=told.append) == from_settings(settings)
    save(Profile(host=host_of(weights), knobs=tuned, ratio=0.8, tried=9, seconds=60, why="x"), weights, settings)
    assert chosen(weights, settings, draft=None, tell=told.append) == tuned
    for asked in (
        {"threads": 2},
        {"engine": EngineSettings(batch=32)},
        {"engine": EngineSettings(tuned=False)},
    ):
        own = settings.model_copy(update=asked)
        assert chosen(weights, own, draft=None, tell=told.append) == from_settings(own)
    assert told == []


@pytest.mark.parametrize("field", ["model", "engine", "cpu", "cores"])
def test_a_stale_profile_is_not_used_and_says_so(weights: Path, settings: Settings, field: str) -> None:
    host = host_of(weights)
    elsewhere = host.model_copy(update={field: 99 if field == "cores" else "another"})
    tuned = Knobs(threads=1, batch=64)
    path = save(Profile(host=elsewhere, knobs=tuned, ratio=0.8, tried=9, seconds=60, why="x"), weights, settings)
    told: list[str] = []
    assert chosen(weights, settings, draft=None, tell=told.append) == from_settings(settings)
    assert len(told) == 1 and field in told[0] and "shuntyard models tune" in told[0]
    path.write_text(json.dumps({"half": 1}))
    assert chosen(weights, settings, draft=None, tell=told.append) == from_settings(settings)
    assert "cannot be read" in told[1]


def test_candidates_are_single_changes_first_and_all_of_them_start() -> None:
    default = Knobs(threads=1)
    found = candidates(default)
    assert default not in found and len(set(found)) == len(found)

    def changes(knobs: Knobs) -> int:
        names = ("speculation", "threads", "batch", "flash", "kv_keys")
        return sum(getattr(knobs, name) != getattr(default, name) for name in names)

    counts = [min(changes(knobs), 2) for knobs in found]
    assert counts == sorted(counts) and counts[0] == 1 and counts[-1] == 2
