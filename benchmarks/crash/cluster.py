"""A small Ray cluster on this machine that outlives the drivers that are killed, held by a process of its own."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ...errors import UsageError

_STORE = 80 * 2**20
"""Bytes of object memory; Ray wants no less."""
_FAREWELL = 60.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where a cluster is, and what it asks for."""

    address: str
    token: str

    @property
    def env(self) -> dict[str, str]:
        """What a process that connects needs in its environment."""
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token, "RAY_USAGE_STATS_ENABLED": "0"}


_LEAN = {"RAY_prestart_worker_first_driver": "0"}
"""No worker before it is asked for."""


@contextmanager
def ray_cluster(cpus: int = 2) -> Iterator[Cluster]:
    """Yield a cluster with ``cpus`` CPUs; nothing of it is left behind, its processes also when this one is killed.

    Raises UsageError when Ray is not installed or does not start.
    """
    token = os.environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(32)
    # Ray's sockets lie in it, and their paths must be short.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as place:
        env = {**os.environ, **Cluster("", token).env, **_LEAN, "RAY_TMPDIR": place}
        command = [sys.executable, "-m", __name__, str(cpus)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True) as holder:
            assert holder.stdin is not None and holder.stdout is not None
            try:
                address = holder.stdout.readline().strip()
                if not address:
                    raise UsageError("no Ray cluster starts here; install it with: pip install 'shuntyard[ray]'")
                yield Cluster(address, token)
            finally:
                holder.stdin.close()
                try:
                    holder.wait(_FAREWELL)
                except subprocess.TimeoutExpired:
                    holder.kill()


def hold(cpus: int) -> None:
    """Start a cluster, print its address, and end it when stdin closes."""
    import ray

    # What Ray prints is not the address, and no worker of it may wait for what the line never says.
    line, out = os.dup(0), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    found = ray.init(
        address="local", num_cpus=cpus, include_dashboard=False, object_store_memory=_STORE, log_to_driver=False,
        logging_level="ERROR",
    )  # fmt: skip
    os.write(out, f"{found.address_info['gcs_address']}\n".encode())
    os.read(line, 1)
    ray.shutdown()


if __name__ == "__main__":
    hold(int(sys.argv[1]))
