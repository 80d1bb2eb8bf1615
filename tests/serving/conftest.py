from collections.abc import Iterator

import httpx
import pytest
from fake_engine import FakeEngine, running, served


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    """An engine that says what it is told to."""
    with running(FakeEngine()) as fake:
        yield fake


@pytest.fixture
def client(engine: FakeEngine) -> Iterator[httpx.Client]:
    """A client of a server before that engine."""
    with served(engine.settings()) as found:
        yield found
