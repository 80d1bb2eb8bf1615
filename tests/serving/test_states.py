"""Saved prompt states: only the right bytes of the right model are ever used, and they never outgrow their bound."""

import json
import os
import time
from pathlib import Path

import pytest

from shuntyard.errors import StateRefused
from shuntyard.serving.schedule import SavedState, StateIdentity, States, packed
from shuntyard.serving.schedule.states import fingerprint

ME = StateIdentity(model="m1", engine="engine 1", kv="f16/f16")


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def states(tmp_path: Path, told: list[str]) -> States:
    return States(tmp_path, ME, most=10_000, refused=told.append)


def keep(states: States, tokens: list[int], size: int = 1000) -> SavedState:
    name = states.new_name()
    (states.folder / name).write_bytes(os.urandom(size))
    state = states.keep(name, packed(tokens), len(tokens))
    assert state is not None
    return state


def test_the_longest_common_beginning_is_found(states: States) -> None:
    short, long = keep(states, [1, 2]), keep(states, [1, 2, 3, 4])
    assert states.best(packed([1, 2, 3, 9])) == (long, 3)
    assert states.best(packed([1, 5]))[1] == 1
    assert states.best(packed([9])) == (None, 0)
    states.check(short)
    states.check(long)


def test_another_process_finds_what_was_kept(states: States) -> None:
    state = keep(states, [1, 2, 3])
    other = States(states.folder, ME, most=10_000)
    assert other.best(packed([1, 2, 3, 4])) == (state, 3)
    other.check(state)
    later = keep(states, [7, 8])
    assert other.best(packed([7, 8])) == (later, 2)
    states.drop(later)
    assert other.best(packed([7, 8])) == (None, 0)


@pytest.mark.parametrize(
    "other",
    [
        ME.model_copy(update={"model": "m2"}),
        ME.model_copy(update={"engine": "engine 2"}),
        ME.model_copy(update={"kv": "q8_0/q8_0"}),
    ],
)
def test_a_state_of_something_else_is_refused_loudly(states: States, other: StateIdentity, told: list[str]) -> None:
    foreign = keep(States(states.folder, other, most=10_000), [1, 2, 3])
    assert states.best(packed([1, 2, 3])) == (None, 0), "its name already differs"
    with pytest.raises(StateRefused, match="was computed by"):
        states.check(foreign)
    # Somebody renames it so that it looks like ours.
    name = foreign.name.replace(other.key, ME.key)
    (states.folder / foreign.name).rename(states.folder / name)
    note = json.loads((states.folder / foreign.name).with_suffix(".json").read_text())
    (states.folder / name).with_suffix(".json").write_text(json.dumps({**note, "name": name}))
    assert states.best(packed([1, 2, 3])) == (None, 0)
    assert len(told) == 1 and "refused" in told[0] and repr(name) in told[0]


@pytest.mark.parametrize("damage", ["flip", "cut", "grow", "gone"])
def test_a_damaged_state_is_removed(states: States, damage: str) -> None:
    state = keep(states, [1, 2, 3])
    path = states.folder / state.name
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[500] ^= 1
    path.write_bytes({"cut": content[:-1], "grow": content + b"x"}.get(damage, content))
    os.utime(path, ns=(0, time.time_ns() + 1))
    if damage == "gone":
        path.unlink()
    with pytest.raises(StateRefused, match=r"damaged|cannot be read"):
        states.check(state)
    assert states.best(packed([1, 2, 3])) == (None, 0)
    assert list(states.folder.iterdir()) == []


def test_a_note_that_is_cut_is_not_used(states: States, told: list[str]) -> None:
    state = keep(states, [1, 2, 3])
    note = (states.folder / state.name).with_suffix(".json")
    note.write_text(note.read_text()[:50])
    other = States(states.folder, ME, most=10_000, refused=told.append)
    assert other.best(packed([1, 2, 3])) == (None, 0)
    assert "no readable note" in told[0]


def test_the_bound_holds_and_what_was_used_longest_ago_goes(states: States) -> None:
    kept = []
    for n in range(12):
        kept.append(keep(states, [n]))
        os.utime((states.folder / kept[-1].name).with_suffix(".json"), (n, n))
        if n == 9:
            states.check(kept[0])
    sizes = [path.stat().st_size for path in states.folder.glob("*.kv")]
    assert sum(sizes) <= 10_000
    left = {path.name for path in states.folder.glob("*.kv")}
    assert kept[0].name in left, "it was used meanwhile"
    assert kept[1].name not in left
    assert kept[-1].name in left
    for path in states.folder.glob("*.json"):
        assert path.with_suffix(".kv").exists()


def test_a_state_beyond_the_bound_is_not_kept(states: States) -> None:
    (states.folder / "new-1.kv").write_bytes(bytes(10_001))
    assert states.keep("new-1.kv", packed([1]), 1) is None
    assert list(states.folder.iterdir()) == []


def test_what_a_killed_writer_left_goes_in_time(states: States) -> None:
    old, young = states.folder / "new-old.kv", states.folder / "new-young.kv"
    for path in (old, young):
        path.write_bytes(b"x")
    os.utime(old, (1, 1))
    states.sweep()
    assert not old.exists() and young.exists()


def test_a_model_file_is_told_from_another_by_its_ends(tmp_path: Path) -> None:
    model = tmp_path / "a.gguf"
    model.write_bytes(bytes(5 << 20))
    os.utime(model, (1, 1))
    before = fingerprint(model)
    assert fingerprint(model) == before
    with model.open("r+b") as stream:
        stream.write(b"GGUF")
    os.utime(model, (1, 1))
    assert fingerprint(model) != before
