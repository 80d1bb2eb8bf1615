"""Whether saved states pay, which of them go first, and that the desk keeps to it."""

import os
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from shuntyard.benchmarks.sharing.engines import request, words
from shuntyard.benchmarks.states import Asked, made_up, read_trace, replay, run
from shuntyard.errors import UsageError
from shuntyard.serving import supervise
from shuntyard.serving.local import LocalModel
from shuntyard.serving.schedule import StateIdentity, States, packed
from shuntyard.serving.schedule.worth import MIB, Speeds, credit, worth_keeping
from shuntyard.serving.source import LocalSource
from shuntyard.settings import Settings, load

ME = StateIdentity(model="m1", engine="engine 1", kv="f16/f16")
OTHER = StateIdentity(model="m2", engine="engine 1", kv="f16/f16")
NAME = "smollm2-135m"


def test_a_state_pays_where_reading_takes_longer_than_saving_and_restoring() -> None:
    speeds = Speeds(token=1e-3, token_bytes=20_000, write=1e-8, restore=5e-9)
    worth = worth_keeping(1000, speeds)
    assert worth.computing == pytest.approx(1.0) and worth.saving == pytest.approx(0.2)
    assert worth.gain == pytest.approx(0.9) and worth.pays()
    fast = Speeds(token=1e-4, token_bytes=20_000, write=1e-8, restore=5e-9)
    assert not worth_keeping(1000, fast).pays(), "0.1 s to read, 0.2 s to save, 0.1 s to restore"
    slow_save = Speeds(token=2e-4, token_bytes=20_000, write=1e-8, restore=5e-9)
    assert not worth_keeping(1000, slow_save).pays() and worth_keeping(1000, slow_save).pays(uses=3)
    assert worth_keeping(1000, speeds, size=1).saving == 1e-8


def test_speeds_follow_what_was_measured() -> None:
    speeds = Speeds()
    for _ in range(40):
        speeds.read(100, 0.5)
        speeds.saved(100, 4_600_000, 0.46)
        speeds.restored(1000, 1e-4)
    assert speeds.token == pytest.approx(5e-3, rel=0.01) and speeds.token_bytes == pytest.approx(46_000, rel=0.01)
    assert speeds.write == pytest.approx(1e-7, rel=0.01) and speeds.restore == pytest.approx(1e-7, rel=0.01)
    stalled = Speeds()
    stalled.restored(1000, 1.0)
    stalled.saved(1, 1000, 1.0)
    assert not worth_keeping(1000, stalled).pays()
    for _ in range(60):
        stalled.declined()
    assert worth_keeping(1000, stalled).pays(), "a stall is not believed for ever"
    before = Speeds()
    before.read(0, 1.0)
    before.saved(0, 0, 1.0)
    before.restored(0, 1.0)
    assert before == Speeds()


def test_credit_adds_uses_up_and_is_overtaken() -> None:
    once = credit(1.0, MIB)
    assert once == 1000.0 and credit(1.0, MIB, had=once) == 2000.0
    assert credit(1.0, 2 * MIB) == 500.0 and credit(-1.0, MIB) == 0.0
    assert credit(0.1, MIB, had=once, level=5000.0) > credit(1.0, MIB, had=once), "what stays unused is overtaken"


def keep(states: States, token: int, gain: float, size: int = 1000) -> str:
    name = states.new_name()
    (states.folder / name).write_bytes(os.urandom(size))
    state = states.keep(name, packed([token] * 10), 10, gain=gain)
    assert state is not None
    return state.name


def test_states_of_least_worth_go_first_whoever_kept_them(tmp_path: Path) -> None:
    mine, other = States(tmp_path, ME, most=4_500), States(tmp_path, OTHER, most=4_500)
    dear = [keep(other, n, 1.0) for n in range(2)]
    cheap = [keep(mine, n, 0.001) for n in range(6)]
    left = {path.name for path in tmp_path.glob("*.kv")}
    assert set(dear) <= left, "they are older, and dearer to compute"
    assert len(left & set(cheap)) == 2
    used = next(state for state in (mine.best(packed([n] * 10))[0] for n in range(6)) if state is not None)
    for _ in range(5):
        mine.check(used)
    keep(mine, 7, 0.001)
    keep(mine, 8, 0.001)
    assert used.name in {path.name for path in tmp_path.glob("*.kv")}, "it is used again and again"


def test_notes_with_dates_go_before_all_others(tmp_path: Path) -> None:
    states = States(tmp_path, ME, most=3_500)
    names = [keep(states, n, 0.001) for n in range(3)]
    os.utime((tmp_path / names[1]).with_suffix(".json"), (1.7e9, 1.7e9))
    keep(states, 9, 0.001)
    left = {path.name for path in tmp_path.glob("*.kv")}
    assert names[1] not in left and {names[0], names[2]} <= left


def test_a_trace_is_replayed_exactly() -> None:
    speeds = {"": Speeds(token=1.0, token_bytes=1.0, write=0.0, restore=0.0)}
    trace = [Asked([1, 2]), Asked([1, 3]), Asked([1, 2, 4])]
    found = replay(trace, 10**6, "recent", speeds=speeds, block=10)
    assert (found.tokens, found.hits, found.seconds) == (70, 10 + 20, 30.0)
    assert replay(trace, 15, "recent", speeds=speeds, block=10).hits == 0, "nothing has room"
    assert replay(trace, 20, "recent", speeds=speeds, block=10).hits == 20, "one has"


@pytest.mark.parametrize("mib", [512, 2048, 8192])
def test_least_credit_saves_more_seconds_where_models_share_the_room(mib: int) -> None:
    rows = anyio.run(lambda: run(mib=str(mib)))["rows"]
    one, three = rows
    assert one["hits_per_mib_credit"] > 0.99 * one["hits_per_mib_recent"], "one model: about the same"
    assert three["seconds_per_mib_credit"] > three["seconds_per_mib_recent"]
    assert len(made_up(models=["a"])) == one["prompts"]


def test_a_file_that_is_no_trace_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"timestamp": 0}\n')
    with pytest.raises(UsageError, match="hash_ids"):
        read_trace(path, models=["m"], limit=3)
    path.write_text('{"hash_ids": [1, 2]}\n{"hash_ids": []}\n{"hash_ids": [1, 3]}\n')
    assert [asked.blocks for asked in read_trace(path, models=["m"], limit=9)] == [
        [("m", 1), ("m", 2)],
        [("m", 1), ("m", 3)],
    ]


@pytest.mark.small_model
@pytest.mark.anyio
async def test_a_real_engine_saves_only_what_pays(
    pulled: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHUNTYARD_ENGINES", str(tmp_path))
    settings: Settings = load({"threads": 2})
    try:
        model = await LocalSource(settings).open(pulled(NAME))
        assert isinstance(model, LocalModel)
        desk = model._desk
        await model.complete(request(words(400), "Say one.", 2))
        (state,) = (tmp_path / "states").glob("*.kv")
        assert desk.speeds.token != Speeds().token, "it was measured"
        assert desk.speeds.token_bytes != Speeds().token_bytes
        # An engine that reads this fast has no use for files.
        desk.speeds.token = 1e-9
        await model.complete(request(words(400, seed="other"), "Say two.", 2))
        assert list((tmp_path / "states").glob("*.kv")) == [state]
    finally:
        supervise.stop(settings)
