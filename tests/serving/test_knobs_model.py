"""Knobs on the real engine."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import anyio
import pytest

from shuntyard import settings as settings_module
from shuntyard.cli.door import main
from shuntyard.errors import ModelUnavailable, SettingsInvalid
from shuntyard.events import Progress
from shuntyard.messages import Message, ModelRequest
from shuntyard.serving import fetch, supervise
from shuntyard.serving.knobs import gate, profiles
from shuntyard.serving.knobs.knobs import Knobs, from_settings
from shuntyard.serving.knobs.lone import lone
from shuntyard.serving.knobs.speculating import SpeculatingModel
from shuntyard.serving.knobs.texts import TEXTS
from shuntyard.serving.source import LocalSource
from shuntyard.settings import EngineSettings, Settings

pytestmark = [pytest.mark.anyio, pytest.mark.small_model]

NAME = "smollm2-135m"


@pytest.fixture
def settings(pulled: Callable[[str], str]) -> Settings:
    pulled(NAME)
    return settings_module.load({"threads": 2, "idle_minutes": 2})


@pytest.fixture
def weights(settings: Settings) -> Path:
    return fetch.ensure(NAME, settings)[0]


@pytest.fixture
def alone(settings: Settings, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings with engines, verdicts and profiles that no other test sees."""
    monkeypatch.setenv("SHUNTYARD_ENGINES", str(tmp_path / "engines"))
    models = tmp_path / "cache" / "models"
    models.mkdir(parents=True)
    (models / weights.name).symlink_to(weights)
    yield settings.model_copy(update={"cache": tmp_path / "cache"})
    supervise.stop(settings)


def test_guessing_changes_no_token_and_saves_passes(weights: Path) -> None:
    with (
        lone(weights, Knobs(threads=2), context=512) as off,
        lone(weights, Knobs(threads=2, speculation="ngram_mod"), context=512) as on,
    ):
        prompt = off.read(TEXTS[0].said)
        usual, guessed, again = off.answer(prompt, 24), on.answer(prompt, 24), on.answer(prompt, 24)
        assert guessed["content"] == again["content"] == usual["content"]
        assert again["timings"]["draft_n_accepted"] >= 5, "what was said before is guessed"
        assert "draft_n" not in usual["timings"]


def test_eight_bits_hold_more_tokens(weights: Path) -> None:
    density = {}
    for kv in ("f16", "q8_0"):
        with lone(weights, Knobs.model_validate({"kv_keys": kv, "kv_values": kv}), context=256) as engine:
            density[kv] = engine.tokens_of_kv / engine.kv_mib
    assert density["q8_0"] >= 1.8 * density["f16"]


async def test_a_type_is_gated_when_it_is_asked_for_and_its_states_are_its_own(
    alone: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "measure", partial(gate.measure, texts=TEXTS[:1], tokens=6))
    asked = alone.model_copy(update={"engine": EngineSettings(kv_keys="q8_0", kv_values="q8_0")})
    weights = fetch.ensure(NAME, alone)[0]
    system = Message(role="system", content="You plan. " + "Rule: be brief. " * 56)
    request = ModelRequest(messages=(system, Message(role="user", content="Hello.")), max_tokens=4)
    said: list[Progress] = []
    eight = await LocalSource(asked, emit=lambda event: said.append(event)).open(NAME)
    assert any("comparing" in event.what for event in said), "the gate ran"
    verdict = gate.known(weights, from_settings(asked), asked)
    assert verdict is not None and verdict.passed and verdict.identity.kv == "q8_0/q8_0"
    assert verdict.positions == 6 and 0 < verdict.drift < 0.1, "another type, and nearly the same"
    first = await eight.complete(request)
    monkeypatch.setattr(gate, "AGREEMENT", 2.0)
    with pytest.raises(SettingsInvalid, match="not offered"):
        await LocalSource(asked).open(NAME)
    sixteen = await LocalSource(alone).open(NAME)
    answer = await sixteen.complete(request)
    assert first.usage.prompt > 256 and answer.usage.cached == 0, "a state of another type is no use"
    assert len(supervise.running(alone)) == 2, "other knobs are another engine"


async def test_auto_opens_a_second_engine_only_for_a_trial(alone: Settings) -> None:
    asked = alone.model_copy(update={"engine": EngineSettings(speculation="auto"), "reuse_answers": False})
    model = await LocalSource(asked).open(NAME)
    assert isinstance(model, SpeculatingModel)
    request = ModelRequest(messages=(Message(role="user", content="Count from one to thirty."),), max_tokens=8)
    texts = set()
    with anyio.fail_after(60):
        while len(supervise.running(alone)) < 2:
            texts.add((await model.complete(request)).text)
    assert len(texts) == 1, "the same answer on both engines"
    (known,) = model.figures()
    assert known.kind == "chat" and "off" in known.seconds
    reopened = await LocalSource(asked).open(NAME)
    assert isinstance(reopened, SpeculatingModel)
    assert reopened.figures()[0].seconds == known.seconds, "what was learnt outlives the process"


def test_what_the_engine_refuses_is_told(weights: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(ModelUnavailable, match="no engine starts"),
        lone(weights, Knobs(speculation="draft", draft=str(tmp_path / "none.gguf"))),
    ):
        raise AssertionError


def test_a_search_without_time_keeps_the_default_and_is_remembered(
    alone: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHUNTYARD_CACHE", str(alone.cache))
    assert main(["models", "tune", NAME, "--seconds", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tried"] == 0 and found["ratio"] == 1.0 and "the default is kept" in found["why"]
    profile = profiles.load(fetch.ensure(NAME, alone)[0], alone, tell=pytest.fail)
    assert profile is not None and profile.knobs.order() == found["knobs"]
    assert main(["models", "tune", "all-minilm-l6-v2"]) == 2
