from collections.abc import Iterator
from pathlib import Path

import pytest

from shuntyard.memory.runs import Runs
from shuntyard.memory.store import Store
from shuntyard.protocols import Ctx


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "home")
    yield store
    store.close()


@pytest.fixture
def run(store: Store) -> str:
    return Runs(store).start("a task")


@pytest.fixture
def ctx(run: str, tmp_path: Path) -> Ctx:
    return Ctx(run=run, workspace=tmp_path, emit=lambda event: None)
