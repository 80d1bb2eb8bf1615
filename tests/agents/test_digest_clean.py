"""The digest that tells a changed call from the same one, where nothing in the call may be a secret."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shuntyard.guard.redact import Redactor
from shuntyard.memory.journal import SqlJournal
from shuntyard.memory.store import Store
from shuntyard.steps import Bound, Step, StepKey

SECRET = "hunter2-hunter2-é"
REDACTOR = Redactor({"DOOR_PASSWORD": SECRET})
TEXTS = st.text(max_size=30) | st.sampled_from([SECRET, f"x{SECRET}y", "4111 1111 1111 1111", "sk-" + "a1" * 12])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8
)
BOUNDS = st.builds(Bound, TEXTS, st.dictionaries(st.sampled_from(["$1", "$2_rows"]), VALUES, max_size=2))


@pytest.fixture(scope="module")
def place() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(Path(folder))
        yield store
        store.close()


@given(st.dictionaries(st.text(max_size=8), VALUES | BOUNDS | st.tuples(VALUES), max_size=4))
@example({"a": SECRET})
@example({"a": [{"b": 1.5}], "sql": Bound("$1", {"$1": "4111 1111 1111 1111"})})
def test_the_digest_is_the_same_with_and_without_a_look_for_secrets(place: Store, args: dict[str, Any]) -> None:
    step = Step(StepKey("r", 0, "n1"), "tool", "t", args)
    fast = SqlJournal(place, REDACTOR.value, suspects=REDACTOR.suspects).digest(step)
    slow = SqlJournal(place, REDACTOR.value).digest(step)
    assert fast == slow
