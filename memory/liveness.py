"""Which process executes a run, and whether it still lives: by process id and start time, against reuse of ids."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def me() -> str:
    """Return this process as ``pid:start``."""
    return f"{os.getpid()}:{_start(os.getpid())}"


def pid_of(owner: str) -> int:
    """Return the process id in ``owner``, 0 when there is none."""
    head = owner.partition(":")[0]
    return int(head) if head.isdigit() else 0


def alive(owner: str) -> bool:
    """Return whether ``owner`` (from ``me``) is running now; where that cannot be known, False."""
    pid, start = pid_of(owner), owner.partition(":")[2]
    # On Windows os.kill would end the process instead of asking after it.
    if pid == 0 or sys.platform == "win32":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return _start(pid) == start


def executing(status: str, owner: str, *, here: bool) -> bool:
    """Return whether a run is under way; ``here`` says so of a run that this process owns."""
    return status == "running" and (here if owner == me() else alive(owner))


def _start(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    # The name in parentheses may hold anything; the 20th field after it is the start in clock ticks.
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]
