import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has a home of its own; model files stay in the shared cache, which only grows."""
    monkeypatch.setenv("SHUNTYARD_HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("SHUNTYARD_PLUGINS", "")
