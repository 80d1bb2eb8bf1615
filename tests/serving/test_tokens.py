"""The token-level engine without a model: its rules, its trie, its texts, and what it refuses."""

import json
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shuntyard.errors import ModelUnavailable, SettingsInvalid, UsageError
from shuntyard.serving.engines import Call
from shuntyard.serving.tokens import layout
from shuntyard.serving.tokens.abort import AbortRule
from shuntyard.serving.tokens.decode import Sampler, Want, divergence, entropy
from shuntyard.serving.tokens.engine import TokenEngine, order_of
from shuntyard.serving.tokens.entropy import Switch, SwitchRule
from shuntyard.serving.tokens.extend import Extended, Group
from shuntyard.serving.tokens.pace import Pace
from shuntyard.serving.tokens.text import Speech
from shuntyard.serving.tokens.trie import Trie
from shuntyard.settings import RemoteModel, TokenSettings, load

CYCLES = st.integers(1, 10).flatmap(lambda size: st.lists(st.integers(0, 3), min_size=size, max_size=size))


def test_a_release_that_is_not_known_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "version", lambda name: "2027.1.1")
    assert "'2027.1.1'" in layout.unavailable()
    with pytest.raises(ModelUnavailable, match=r"xllamacpp==2026"):
        TokenEngine("m", lambda: pytest.fail("started"), TokenSettings())


def test_a_field_that_has_moved_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    import ctypes

    if layout.unavailable():
        pytest.skip(layout.unavailable())
    lib = ctypes.CDLL(str(layout.library()))
    layout.check(lib)
    with monkeypatch.context() as patch:
        patch.setitem(layout.CONTEXT_DEFAULTS, "n_ubatch", 513)
        with pytest.raises(ModelUnavailable, match="n_ubatch is 512 and not 513"):
            layout.check(lib)
    with monkeypatch.context() as patch:
        patch.setitem(layout.WRITTEN, "llama_context_default_params", 160)
        with pytest.raises(ModelUnavailable, match="writes 168 bytes and not 160"):
            layout.check(lib)


def test_the_pinned_release_is_known() -> None:
    pytest.importorskip("xllamacpp")
    assert version("xllamacpp") in layout.KNOWN


def test_switch_waits_for_the_run_and_goes_back() -> None:
    switch = Switch(SwitchRule(at=1.0, window=2, run=3))
    spoken = []
    for uncertainty in (5, 5, 5, 5, 5, 0, 0, 0, 0):
        spoken.append(switch.large)
        switch.see(uncertainty)
    assert spoken == [False, False, False, True, True, True, True, False, False]


@settings(max_examples=30)
@given(st.lists(st.floats(0, 5), max_size=60), st.floats(0, 2), st.floats(0, 2))
def test_a_higher_threshold_never_makes_the_first_change_earlier(values: list[float], low: float, more: float) -> None:
    def first(at: float) -> int:
        switch = Switch(SwitchRule(at=at, window=3, run=1))
        return next((index for index, value in enumerate(values) if switch.see(value)), len(values))

    assert first(low) <= first(low + more)


@settings(max_examples=30)
@given(CYCLES, st.lists(st.integers(4, 9), max_size=20))
def test_a_loop_is_stopped_within_its_window_and_a_text_is_not(cycle: list[int], before: list[int]) -> None:
    rule = AbortRule(loop=30)
    watch = rule.watch()
    tokens = [*before, *(cycle * 60)]
    stopped = next(index for index, token in enumerate(tokens) if watch.see(token, 0.0))
    assert stopped < len(before) + rule.loop
    steady = rule.watch()
    assert not any(steady.see(token, -0.1) for token in range(500))


def test_a_fitted_floor_keeps_the_good_and_stops_the_lost() -> None:
    generator = np.random.default_rng(1)
    good = [list(generator.normal(-0.4, 0.2, 80)) for _ in range(50)]
    lost = [list(generator.normal(-2.5, 0.5, 80)) for _ in range(50)]
    rule = AbortRule(loop=0, window=16)

    def stopped(rule: AbortRule, answers: list[list[float]]) -> int:
        watches = [rule.watch() for _ in answers]
        return sum(any(watch.see(0, log) for log in answer) for watch, answer in zip(watches, answers, strict=True))

    assert stopped(rule, lost) == 0
    strict = rule.fitted(good, margin=0)
    assert stopped(strict, good) == 0 and stopped(strict, lost) == 50
    assert rule.fitted(good).floor == pytest.approx(strict.floor - 0.5)
    assert 0 < stopped(rule.fitted(good, rate=0.1, margin=0), good) <= 5


@settings(max_examples=30)
@given(st.lists(st.integers(0, 5), min_size=3, max_size=60), st.integers(1, 12), st.integers(1, 4))
def test_a_draft_was_seen_before_and_keeps_to_its_bounds(tokens: list[int], most: int, width: int) -> None:
    trie = Trie(match=5)
    trie.add(tokens)
    draft = trie.draft(tokens, most=most, width=width)
    assert len(draft.tokens) <= most and len(draft.leaves()) <= width
    said = ",".join(map(str, tokens)) + ","
    for leaf in draft.leaves():
        run = [*tokens[-2:], *(draft.tokens[index] for index in draft.path(leaf))]
        for begin in range(len(run) - 2):
            assert ",".join(map(str, run[begin : begin + 3])) + "," in said


def test_a_trie_forgets_what_came_once() -> None:
    trie = Trie(depth=3, match=2, most=300)
    for _ in range(20):
        trie.add([1, 2, 3])
    trie.add(list(range(10, 400)))
    assert len(trie) < 300
    assert trie.draft([1, 2], most=1, width=1).tokens == [3]


def test_guesses_go_as_far_as_they_pay() -> None:
    once = list(range(100, 200))
    text = [*once, *once]
    trie = Trie()

    def guesses(cost: float) -> int:
        return len(trie.draft(text[:140], most=20, width=1, cost=lambda count: 1 + cost * count).tokens)

    trie.add(text[:140])
    unsure = guesses(0.5)
    for end in range(140, len(text)):
        trie.see(text[: end + 1])
    assert unsure < 15 < guesses(0.5), "what was right so far is trusted further"
    assert guesses(1.0) == 0, "a pass that costs as much as its tokens alone is left alone"
    for turn in range(60):
        # The same beginning, and after it never what came before.
        trie.see([*text[:140], 500 + turn])
    assert guesses(0.5) == 0, "and what was wrong lately no more"


def test_a_pass_costs_what_was_measured_and_more_far_in() -> None:
    pace = Pace((1, 2, 4), (0.1, 0.2, 0.3))
    assert [round(pace.at(0)(guesses), 3) for guesses in range(6)] == [1.0, 2.0, 2.5, 3.0, 3.5, 4.0]
    for _ in range(100):
        pace.note(0, 1000, 0.2)
        pace.note(3, 1000, 9.0)
    assert pace.at(1000)(3) == pytest.approx((0.3 + 4 * 0.1) / 0.2, rel=0.01)
    assert pace.at(0)(3) == pytest.approx(3.0)


@settings(max_examples=30)
@given(st.text(max_size=40), st.text(alphabet="abc", min_size=1, max_size=3))
def test_speech_says_everything_up_to_the_stop(text: str, stop: str) -> None:
    speech = Speech([stop])
    said = ""
    for byte in text.encode():
        said += speech.take(bytes([byte]))
        if speech.stopped:
            break
    assert said + speech.rest() == text.partition(stop)[0]


class Positions:
    """A memory of one sequence that only knows where each token is."""

    load = SimpleNamespace(batch=32)

    def __init__(self) -> None:
        self.at: list[int] = []

    def feed(self, ids: list[int], at: int) -> np.ndarray:
        assert not self.at or at == max(self.at) + 1
        self.at.extend(range(at, at + len(ids)))
        return np.zeros(1, np.float32)

    def shift(self, sequence: int, begin: int, end: int, by: int) -> None:
        self.at = [place + by if place >= begin and (end < 0 or place < end) else place for place in self.at]

    def divide(self, sequence: int, begin: int, end: int, by: int) -> None:
        self.at = [place // by if begin <= place < end else place for place in self.at]


@settings(max_examples=30)
@given(st.integers(1, 300), st.sampled_from([1, 2, 4]), st.sampled_from([8, 32, 64]))
def test_far_tokens_share_positions_and_near_ones_do_not(count: int, group: int, width: int) -> None:
    memory = Positions()
    extended = Extended(memory, Group(group, width))
    extended.read(list(range(count)))
    done = extended.last - count
    full = -done // (width - width // group) * width if group > 1 else 0
    assert memory.at == [index // group if index < full else index + done for index in range(count)]
    assert group == 1 or count - full < 2 * width
    assert extended.last == max(memory.at) + 1


def test_sampler_keeps_to_the_nucleus_and_to_its_seed() -> None:
    row = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    drawn = [Sampler(Want(temperature=1, top_p=0.75, seed=seed))(row) for seed in range(200)]
    assert set(drawn) == {0, 1}
    one, two = Sampler(Want(temperature=1, seed=7)), Sampler(Want(temperature=1, seed=7))
    assert [one(row) for _ in range(20)] == [two(row) for _ in range(20)]
    assert Sampler(Want())(row) == 0
    assert entropy(np.zeros(8, np.float32)) == pytest.approx(np.log(8), abs=1e-5)
    assert divergence(row, row) == pytest.approx(0, abs=1e-9) and divergence(row, row[::-1]) > 0.5


@pytest.mark.parametrize(
    ("field", "value"), [("tools", [{}]), ("presence_penalty", 0.5), ("grammar", "root ::= x"), ("n", 2)]
)
def test_a_field_that_is_not_offered_is_named(field: str, value: Any) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}], "presence_penalty": 0, field: value}
    with pytest.raises(UsageError, match=repr(field)):
        order_of(Call("/chat/completions", body), TokenSettings())


@pytest.mark.parametrize(
    ("model", "mend"),
    [
        ({"engine": "tokens"}, "needs 'model'"),
        ({"engine": "token", "model": "smollm2-135m"}, "engine"),
        ({"engine": "tokens", "model": "smollm2-135m", "url": "http://x"}, "leave out 'url'"),
        ({"engine": "tokens", "model": "smollm2-135m", "tokens": {"method": "entropy"}}, "'large' go together"),
        ({"engine": "tokens", "model": "smollm2-135m", "tokens": {"drafts": 0}}, "drafts"),
        ({"model": "x", "tokens": {"method": "plain"}}, "needs engine"),
    ],
)
def test_wrong_settings_are_refused_with_a_mend(
    model: dict[str, Any], mend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHUNTYARD_MODELS", "{x = " + _toml(model) + "}")
    with pytest.raises(SettingsInvalid, match=mend) as raised:
        load()
    assert raised.value.exit_code == 2


def test_each_source_has_its_own_models() -> None:
    from shuntyard.router.source import RemoteSource
    from shuntyard.serving import LocalSource

    some = SimpleNamespace(
        models={"near": RemoteModel(model="smollm2-135m", engine="tokens"), "far": RemoteModel(url="http://x")},
        model="",
        fallback=(),
    )
    local = {info.name: info for info in LocalSource(some).infos()}
    assert [info.name for info in RemoteSource(some).infos()] == ["far"]
    assert "far" not in local and not local["near"].grammar and local["smollm2-135m"].grammar


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)
