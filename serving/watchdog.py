"""The watchdog: owns one engine, so that commands can come and go.

Run detached as ``python -m shuntyard.serving.watchdog`` with its order as one line on stdin. While it lives
it holds ``KEY.owner``; once the engine answers it writes ``KEY.json`` (pid, url, token, model, context). The
file's time is the last use: after ``idle`` seconds without use the engine is stopped. When the engine dies,
or SIGTERM comes, the watchdog removes the file and ends.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .engine import SPIN


def port_file(folder: Path, key: str) -> Path:
    """Return the file that says where the engine ``key`` answers."""
    return folder / f"{key}.json"


def owner_lock(folder: Path, key: str) -> FileLock:
    """Return the lock that a living watchdog holds."""
    return FileLock(str(folder / f"{key}.owner"))


def start_lock(folder: Path, key: str) -> FileLock:
    """Return the lock under which an engine is started, reused or stopped for idleness."""
    return FileLock(str(folder / f"{key}.start"))


def main() -> int:
    """Own an engine until it is idle, dies, or is to stop. 0 when all went well or another watchdog owns it.

    Where the system can fork, the process that was started ends as soon as its child owns the engine, so that
    nobody has to wait for the watchdog.
    """
    order = json.loads(sys.stdin.readline())
    if not hasattr(os, "fork"):
        return _own(order, lambda: None)
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        os.read(reader, 1)
        return 0
    os.close(reader)
    try:
        return _own(order, lambda: os.close(writer))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _own(order: dict[str, Any], ready: Callable[[], None]) -> int:
    folder, key = Path(order["folder"]), str(order["key"])
    lock = owner_lock(folder, key)
    try:
        # Somebody who only asks whether the lock is held has it for a moment.
        lock.acquire(timeout=1.0)
    except Timeout:
        ready()
        return 0
    order_file = folder / f"{key}.order"
    try:
        order_file.write_text(
            json.dumps({"name": order["name"], "model": order["model"], "pid": os.getpid()}), encoding="utf-8"
        )
        ready()
        return Watchdog(folder, key, order).run()
    finally:
        port_file(folder, key).unlink(missing_ok=True)
        order_file.unlink(missing_ok=True)
        lock.release()


class Watchdog:
    """One engine and its end."""

    def __init__(self, folder: Path, key: str, order: dict[str, Any]) -> None:
        """Keep the order; nothing is started."""
        self._order = order
        self._file = port_file(folder, key)
        self._start_lock = start_lock(folder, key)
        self._wake = threading.Event()
        self._stop = False

    def run(self) -> int:
        """Start the engine, announce it, and wait for its end."""
        signal.signal(signal.SIGTERM, self._told_to_stop)
        signal.signal(signal.SIGINT, self._told_to_stop)
        token = secrets.token_urlsafe(24)
        environment = {**os.environ, "GOMP_SPINCOUNT": SPIN}
        engine = subprocess.Popen(
            [sys.executable, "-P", "-m", "shuntyard.serving.engine"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        assert engine.stdin is not None and engine.stdout is not None
        try:
            engine.stdin.write(json.dumps({**self._order, "token": token}).encode() + b"\n")
            engine.stdin.flush()
            threading.Thread(target=self._wait, args=(engine,), daemon=True).start()
            line = self._first_line(engine)
            if not line:
                return 0 if self._stop else 1
            self._announce(json.loads(line)["url"], token, engine.pid)
            self._guard(engine)
            return 0
        finally:
            engine.kill()
            engine.wait()

    def _first_line(self, engine: subprocess.Popen[bytes]) -> bytes:
        lines: list[bytes] = []

        def read() -> None:
            assert engine.stdout is not None
            lines.append(engine.stdout.readline())
            self._wake.set()

        threading.Thread(target=read, daemon=True).start()
        while not lines and not self._stop:
            self._wake.wait()
            self._wake.clear()
            if engine.returncode is not None and not lines:
                break
        return lines[0] if lines else b""

    def _announce(self, url: str, token: str, engine_pid: int) -> None:
        request = urllib.request.Request(f"{url}/props", headers={"Authorization": f"Bearer {token}"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as response:
            props = json.load(response)
        context = int(props["default_generation_settings"].get("n_ctx") or self._order["context"])
        known = {
            "pid": os.getpid(),
            "engine_pid": engine_pid,
            "url": url,
            "token": token,
            "model": self._order["model"],
            "name": self._order["name"],
            "context": context,
            "started": time.time(),
        }
        fresh = self._file.with_suffix(".tmp")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
            json.dump(known, stream)
        os.replace(fresh, self._file)
        self._url, self._token = url, token

    def _guard(self, engine: subprocess.Popen[bytes]) -> None:
        idle = float(self._order["idle"])
        while not self._stop and engine.returncode is None:
            self._wake.wait(min(idle, 5.0) if self._unused() < idle else 0.2)
            self._wake.clear()
            if self._unused() >= idle and not self._busy() and self._retire(idle):
                return

    def _retire(self, idle: float) -> bool:
        """Stop being reachable, unless somebody came in the last moment."""
        try:
            self._start_lock.acquire(timeout=0)
        except Timeout:
            return False
        try:
            if self._unused() < idle:
                return False
            self._file.unlink(missing_ok=True)
            return True
        finally:
            self._start_lock.release()

    def _unused(self) -> float:
        try:
            return time.time() - self._file.stat().st_mtime
        except OSError:
            # Without its file nobody can find the engine.
            return float("inf")

    def _busy(self) -> bool:
        request = urllib.request.Request(f"{self._url}/slots", headers={"Authorization": f"Bearer {self._token}"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as response:
                return any(slot["is_processing"] for slot in json.load(response))
        except OSError:
            return False

    def _wait(self, engine: subprocess.Popen[bytes]) -> None:
        engine.wait()
        self._wake.set()

    def _told_to_stop(self, *_: object) -> None:
        self._stop = True
        self._wake.set()


if __name__ == "__main__":
    sys.exit(main())
