import os
import secrets
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_ray() -> Iterator[None]:
    """Clusters of the tests have a folder and a token of their own and phone nobody; nothing of them is left behind.

    Ray reads all this when it is imported, so it must be there before.
    """
    # Not a folder of pytest's: paths of Ray's sockets must be short.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as place:
        mine = {
            "RAY_TMPDIR": place,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_prestart_worker_first_driver": "0",
        }
        before = {name: os.environ.get(name) for name in mine}
        os.environ |= mine
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
            end_all(place)


def end_all(place: str) -> None:
    """Kill every process that names the folder ``place``; Ray takes up to a minute to end after a killed driver."""
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if place.encode() in each.read_bytes():
                os.kill(int(each.parent.name), signal.SIGKILL)


@pytest.fixture(scope="session")
def cluster(own_ray: None) -> Iterator[str]:
    """Address of a cluster that all tests share, on first use."""
    from shuntyard.benchmarks.crash import ray_cluster

    with ray_cluster(cpus=4) as found:
        yield found.address


@pytest.fixture
def address(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Returns where an executor finds its cluster: Ray the one that all tests share, others none."""
    return lambda executor: str(request.getfixturevalue("cluster")) if executor == "ray" else ""
